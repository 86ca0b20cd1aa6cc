"""Functions of one operand, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aten.registry import (
    Tensor,
    aten,
    floating,
    is_float,
    numpy_type,
    tensor,
)

#: Functions that take integers as float32.
_FLOAT_UNARY = {
    "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "sin": "Sin", "cos": "Cos", "tan": "Tan", "asin": "Asin",
    "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "asinh": "Asinh", "acosh": "Acosh",
    "atanh": "Atanh", "tanh": "Tanh", "sigmoid": "Sigmoid", "erf": "Erf", "reciprocal": "Reciprocal",
    "special_erf": "Erf", "special_expit": "Sigmoid", "arctan": "Atan", "arcsinh": "Asinh",
    "arccosh": "Acosh", "arctanh": "Atanh", "arcsin": "Asin", "arccos": "Acos",
}
#: Functions that keep the type; integers stay as they are under rounding.
_UNARY = {"abs": "Abs", "neg": "Neg", "sign": "Sign", "sgn": "Sign", "negative": "Neg", "absolute": "Abs"}
_ROUNDING = {"floor": "Floor", "ceil": "Ceil"}
def _enter() -> None:
    def unary(op: str, prepare: Any) -> Any:
        return lambda b, self: b.op(op, [prepare(b, self)])

    def keep(b: GraphBuilder, value: Tensor) -> Tensor:
        return value

    for name, op in _FLOAT_UNARY.items():
        aten(name)(unary(op, floating))
    for name, op in _UNARY.items():
        aten(name)(unary(op, keep))

    def rounding(op: str) -> Any:
        return lambda b, self: b.op(op, [self]) if is_float(b.dtype(self)) else self

    for name, op in _ROUNDING.items():
        aten(name)(rounding(op))


_enter()


@aten("trunc", "fix")
def trunc(b: GraphBuilder, self: Tensor) -> Tensor:
    if not is_float(b.dtype(self)):
        return self
    return b.op("Mul", [b.op("Sign", [self]), b.op("Floor", [b.op("Abs", [self])])])


@aten("frac")
def frac(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("Sub", [self, trunc(b, self)])


@aten("round")
def rounded(b: GraphBuilder, self: Tensor, decimals: int = 0) -> Tensor:
    if not is_float(b.dtype(self)):
        return self
    if not decimals:
        return b.op("Round", [self])
    factor = tensor(b, 10.0 ** abs(decimals), b.dtype(self))
    there, back = ("Mul", "Div") if decimals > 0 else ("Div", "Mul")
    return b.op(back, [b.op("Round", [b.op(there, [self, factor])]), factor])


@aten("rsqrt")
def rsqrt(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("Reciprocal", [b.op("Sqrt", [floating(b, self)])])


@aten("square")
def square(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("Mul", [self, self])


@aten("exp2", "special_exp2")
def exp2(b: GraphBuilder, self: Tensor) -> Tensor:
    x = floating(b, self)
    return b.op("Pow", [tensor(b, 2.0, b.dtype(x)), x])


@aten("expm1", "special_expm1")
def expm1(b: GraphBuilder, self: Tensor) -> Tensor:
    """exp(x) - 1 as tanh(x/2) (exp(x) + 1), which keeps small x exact; exp(x) - 1 elsewhere."""
    x = floating(b, self)
    one, half = tensor(b, 1.0, b.dtype(x)), tensor(b, 0.5, b.dtype(x))
    grown = b.op("Exp", [x])
    small = b.op("Mul", [b.op("Tanh", [b.op("Mul", [x, half])]), b.op("Add", [grown, one])])
    return b.op("Where", [b.op("Less", [b.op("Abs", [x]), one]), small, b.op("Sub", [grown, one])])


@aten("log1p", "special_log1p")
def log1p(b: GraphBuilder, self: Tensor) -> Tensor:
    """log(1 + x) as 2 atanh(x / (2 + x)) near zero, which keeps small x exact."""
    x = floating(b, self)
    one, two = tensor(b, 1.0, b.dtype(x)), tensor(b, 2.0, b.dtype(x))
    near = b.op("Less", [b.op("Abs", [x]), tensor(b, 0.5, b.dtype(x))])
    inside = b.op("Where", [near, x, tensor(b, 0.0, b.dtype(x))])
    small = b.op("Mul", [two, b.op("Atanh", [b.op("Div", [inside, b.op("Add", [inside, two])])])])
    return b.op("Where", [near, small, b.op("Log", [b.op("Add", [x, one])])])


def _log_to(b: GraphBuilder, self: Tensor, base: float) -> Tensor:
    x = b.op("Log", [floating(b, self)])
    return b.op("Mul", [x, tensor(b, 1.0 / np.log(base), b.dtype(x))])


@aten("log2")
def log2(b: GraphBuilder, self: Tensor) -> Tensor:
    return _log_to(b, self, 2.0)


@aten("log10")
def log10(b: GraphBuilder, self: Tensor) -> Tensor:
    return _log_to(b, self, 10.0)


@aten("erfc", "special_erfc")
def erfc(b: GraphBuilder, self: Tensor) -> Tensor:
    x = b.op("Erf", [floating(b, self)])
    return b.op("Sub", [tensor(b, 1.0, b.dtype(x)), x])


@aten("isnan")
def isnan(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("IsNaN", [floating(b, self)])


@aten("isinf")
def isinf(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("IsInf", [floating(b, self)])


@aten("isfinite")
def isfinite(b: GraphBuilder, self: Tensor) -> Tensor:
    x = floating(b, self)
    return b.op("Not", [b.op("Or", [b.op("IsNaN", [x]), b.op("IsInf", [x])])])


@aten("isposinf")
def isposinf(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("IsInf", [floating(b, self)], detect_negative=0)


@aten("isneginf")
def isneginf(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("IsInf", [floating(b, self)], detect_positive=0)


@aten("nan_to_num")
def nan_to_num(b: GraphBuilder, self: Tensor, nan: float | None = None, posinf: float | None = None,
               neginf: float | None = None) -> Tensor:
    dtype = b.dtype(self)
    if not is_float(dtype):
        return self
    import ml_dtypes

    most = float(ml_dtypes.finfo(numpy_type(dtype)).max)
    x = b.op("Where", [b.op("IsNaN", [self]), tensor(b, nan or 0.0, dtype), self])
    x = b.op("Where", [b.op("IsInf", [x], detect_negative=0), tensor(b, most if posinf is None else posinf, dtype), x])
    return b.op("Where", [b.op("IsInf", [x], detect_positive=0), tensor(b, -most if neginf is None else neginf, dtype),
                          x])
