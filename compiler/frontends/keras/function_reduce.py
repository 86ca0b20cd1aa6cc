"""Functions that sum up: over axes, and along one."""

from __future__ import annotations

import numpy as np

from compiler.frontends.keras.core import cast
from compiler.frontends.keras.function_math import real
from compiler.frontends.keras.functions import Arguments
from compiler.frontends.keras.registry import FunctionBuilder, function, operation

_REDUCED = {
    "ReduceSum": (("Sum",), ("math.reduce_sum", "reduce_sum")),
    "ReduceMean": (("Mean",), ("math.reduce_mean", "reduce_mean")),
    "ReduceMax": (("Max", "Amax"), ("math.reduce_max", "reduce_max")),
    "ReduceMin": (("Min", "Amin"), ("math.reduce_min", "reduce_min")),
    "ReduceProd": (("Prod",), ("math.reduce_prod", "reduce_prod")),
    "ReduceLogSumExp": (("Logsumexp",), ("math.reduce_logsumexp", "reduce_logsumexp")),
}


def _reduced(op: str) -> FunctionBuilder:
    def build(a: Arguments) -> str:
        x = a.value("x")
        x = real(a, x) if op in ("ReduceMean", "ReduceLogSumExp") else x
        return a.c.op(op, [x, np.array(a.axes(x))], keepdims=int(a.settings.flag("keepdims")))

    return build


def _tf_reduced(build: FunctionBuilder) -> FunctionBuilder:
    return lambda a: build(Arguments(a.c, {**a.values, "x": a.get("input_tensor", a.get("x"))}))


for _op, (_ops, _functions) in _REDUCED.items():
    operation(*_ops, params="x axis keepdims")(_reduced(_op))
    function(*_functions, params="input_tensor axis keepdims name")(_tf_reduced(_reduced(_op)))


@operation("Var", "Std", params="x axis keepdims")
def _spread(a: Arguments) -> str:
    return _variance(a, a.c.layer.kind == "Std")


@function("math.reduce_variance", "math.reduce_std", params="input_tensor axis keepdims name")
def _tf_spread(a: Arguments) -> str:
    return _variance(Arguments(a.c, {**a.values, "x": a.get("input_tensor")}),
                     a.c.config.word("function").endswith("std"))


def _variance(a: Arguments, root: bool) -> str:
    x = real(a, a.value("x"))
    axes = np.array(a.axes(x))
    away = a.c.op("Sub", [x, a.c.op("ReduceMean", [x, axes], keepdims=1)])
    y = a.c.op("ReduceMean", [a.c.op("Mul", [away, away]), axes], keepdims=int(a.settings.flag("keepdims")))
    return a.c.op("Sqrt", [y]) if root else y


@operation("All", "Any", params="x axis keepdims")
def _every(a: Arguments) -> str:
    x = cast(a.c, a.value("x"), "float32")
    op = "ReduceMin" if a.c.layer.kind == "All" else "ReduceMax"
    return cast(a.c, a.c.op(op, [x, np.array(a.axes(x))], keepdims=int(a.settings.flag("keepdims"))), "bool")


@operation("Argmax", "Argmin", params="x axis keepdims")
@function("math.argmax", "argmax", "math.argmin", "argmin", params="x axis output_type name")
def _arg(a: Arguments) -> str:
    x = a.value("x" if "x" in a else "input")
    name = str(a.c.config.get("function", a.c.layer.kind)).lower()
    if "axis" not in a and not name.startswith(("math", "arg")) and a.c.b.rank(x) > 1:
        raise a.c.refuse("the place of an extreme among all axes is not supported", "state the axis")
    axis = a.numbers("axis", [0])[0]
    y = a.c.op("ArgMax" if name.endswith("argmax") else "ArgMin", [x], axis=axis,
               keepdims=int(a.settings.flag("keepdims")))
    modern = a.c.layer.kind in ("Argmax", "Argmin")
    return cast(a.c, y, "int32" if modern else str(a.get("output_type", "int64")))


@operation("Cumsum", "Cumprod", params="x axis")
@function("math.cumsum", "cumsum", params="x axis exclusive reverse name")
def _running(a: Arguments) -> str:
    op = "CumProd" if a.c.layer.kind == "Cumprod" else "CumSum"
    attrs = {"exclusive": int(a.settings.flag("exclusive")), "reverse": int(a.settings.flag("reverse"))}
    return a.c.op(op, [a.value("x"), np.int64(a.numbers("axis", [0])[0])], **attrs)
