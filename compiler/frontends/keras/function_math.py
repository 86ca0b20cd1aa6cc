"""Functions of one and two tensors, and products."""

from __future__ import annotations

import math

import numpy as np

from compiler.frontends.keras.activations import TABLE as ACTIVATIONS
from compiler.frontends.keras.call import Tensor, tensors
from compiler.frontends.keras.core import cast
from compiler.frontends.keras.functions import Arguments
from compiler.frontends.keras.registry import FunctionBuilder, function, operation
from compiler.frontends.onnx.types import tensor_type

#: Operator -> names in keras.ops, names in TensorFlow.
_UNARY = {
    "Abs": (("Absolute", "Abs"), ("math.abs", "abs")),
    "Acos": (("Arccos",), ("math.acos",)), "Acosh": (("Arccosh",), ("math.acosh",)),
    "Asin": (("Arcsin",), ("math.asin",)), "Asinh": (("Arcsinh",), ("math.asinh",)),
    "Atan": (("Arctan",), ("math.atan",)), "Atanh": (("Arctanh",), ("math.atanh",)),
    "Ceil": (("Ceil",), ("math.ceil",)), "Cos": (("Cos",), ("math.cos", "cos")),
    "Cosh": (("Cosh",), ("math.cosh",)), "Erf": (("Erf",), ("math.erf",)),
    "Exp": (("Exp",), ("math.exp", "exp")), "Floor": (("Floor",), ("math.floor", "floor")),
    "IsInf": (("Isinf",), ("math.is_inf",)), "IsNaN": (("Isnan",), ("math.is_nan",)),
    "Log": (("Log",), ("math.log",)), "Neg": (("Negative",), ("math.negative", "negative", "__operators__.neg")),
    "Not": (("LogicalNot",), ("math.logical_not", "logical_not", "__operators__.invert")),
    "Reciprocal": (("Reciprocal",), ("math.reciprocal",)),
    "Round": (("Round",), ("math.round", "round")), "Sign": (("Sign",), ("math.sign", "sign")),
    "Sin": (("Sin",), ("math.sin", "sin")), "Sinh": (("Sinh",), ("math.sinh",)),
    "Sqrt": (("Sqrt",), ("math.sqrt", "sqrt")), "Tan": (("Tan",), ("math.tan",)),
    "Tanh": (("Tanh",), ("math.tanh", "tanh", "nn.tanh")),
    "Sigmoid": (("Sigmoid",), ("math.sigmoid", "sigmoid", "nn.sigmoid")),
    "Relu": (("Relu",), ("nn.relu",)),
    "Selu": (("Selu",), ("nn.selu",)), "Softplus": (("Softplus",), ("math.softplus", "nn.softplus")),
    "Softsign": (("Softsign",), ("math.softsign", "nn.softsign")),
    "Identity": (("Identity", "StopGradient", "Copy"), ("identity", "stop_gradient", "convert_to_tensor")),
}
_WHOLE = ("Abs", "Neg", "Sign", "Identity", "Not", "Relu", "IsNaN", "IsInf")


def _one(op: str) -> FunctionBuilder:
    def build(a: Arguments) -> str:
        if "decimals" in a and a.get("decimals") != 0:
            raise a.c.refuse("rounding to decimals is not supported")
        x = a.first
        return a.c.op(op, [x if op in _WHOLE else real(a, x)])

    return build


def real(a: Arguments, x: str) -> str:
    """x, as float32 where it is a whole number."""
    return x if a.c.b.dtype(x).startswith("float") else cast(a.c, x, "float32")


for _op, (_ops, _functions) in _UNARY.items():
    operation(*_ops, params="x")(_one(_op))
    function(*_functions, params="x name")(_one(_op))

_BINARY = {
    "Add": (("Add",), ("math.add", "add", "__operators__.add", "__operators__.radd")),
    "Sub": (("Subtract",), ("math.subtract", "subtract", "__operators__.sub")),
    "Mul": (("Multiply",), ("math.multiply", "multiply", "__operators__.mul", "__operators__.rmul")),
    "Max": (("Maximum",), ("math.maximum", "maximum")), "Min": (("Minimum",), ("math.minimum", "minimum")),
    "Pow": (("Power",), ("math.pow", "pow", "__operators__.pow")),
    "Greater": (("Greater",), ("math.greater", "greater", "__operators__.gt")),
    "GreaterOrEqual": (("GreaterEqual",), ("math.greater_equal", "greater_equal", "__operators__.ge")),
    "Less": (("Less",), ("math.less", "less", "__operators__.lt")),
    "LessOrEqual": (("LessEqual",), ("math.less_equal", "less_equal", "__operators__.le")),
    "Equal": (("Equal",), ("math.equal", "equal", "__operators__.eq")),
    "And": (("LogicalAnd",), ("math.logical_and", "logical_and", "__operators__.and_")),
    "Or": (("LogicalOr",), ("math.logical_or", "logical_or", "__operators__.or_")),
    "Xor": (("LogicalXor",), ("math.logical_xor",)),
}


def _two(op: str) -> FunctionBuilder:
    def build(a: Arguments) -> str:
        left, right = ("x1", "x2") if "x1" in a or "x2" in a else ("x", "y")
        return a.c.op(op, list(a.pair(left, right)))

    return build


for _op, (_ops, _functions) in _BINARY.items():
    operation(*_ops, params="x1 x2")(_two(_op))
    function(*_functions, params="x y name")(_two(_op))


@function("nn.bias_add", params="value bias data_format name")
def _bias_add(a: Arguments) -> str:
    if str(a.get("data_format", "NHWC")) not in ("NHWC", "N...C"):
        raise a.c.refuse("only the NHWC form of this function is supported")
    return a.c.op("Add", list(a.pair("value", "bias")))


@operation("NotEqual", params="x1 x2")
@function("math.not_equal", "not_equal", "__operators__.ne", params="x y name")
def _not_equal(a: Arguments) -> str:
    return a.c.op("Not", [_two("Equal")(a)])


@operation("Divide", "TrueDivide", "DivideNoNan", params="x1 x2")
@function("math.divide", "divide", "realdiv", "math.truediv", "truediv", "__operators__.truediv", "math.divide_no_nan",
          params="x y name")
def _divide(a: Arguments) -> str:
    x, y = (real(a, v) for v in a.pair(*(("x1", "x2") if "x1" in a or "x2" in a else ("x", "y"))))
    found = a.c.op("Div", [x, y])
    if "o_nan" not in a.c.layer.kind.lower() and "no_nan" not in str(a.c.config.get("function")):
        return found
    return a.c.op("Where", [a.c.op("Equal", [y, a.c.like(0, y)]), a.c.like(0, y), found])


@operation("FloorDivide", params="x1 x2")
@function("math.floordiv", "floordiv", "__operators__.floordiv", params="x y name")
def _floor_divide(a: Arguments) -> str:
    x, y = a.pair(*(("x1", "x2") if "x1" in a or "x2" in a else ("x", "y")))
    found = a.c.op("Floor", [a.c.op("Div", [real(a, x), real(a, y)])])
    return cast(a.c, found, a.c.b.dtype(x))


@operation("Mod", "Remainder", params="x1 x2")
@function("math.mod", "math.floormod", "floormod", "__operators__.mod", params="x y name")
def _mod(a: Arguments) -> str:
    """The remainder with the divisor's sign: x - floor(x / y) * y."""
    x, y = a.pair(*(("x1", "x2") if "x1" in a or "x2" in a else ("x", "y")))
    if not a.c.b.dtype(x).startswith("float"):
        return a.c.op("Mod", [x, y])
    return a.c.op("Sub", [x, a.c.op("Mul", [a.c.op("Floor", [a.c.op("Div", [x, y])]), y])])


@operation("SquaredDifference", params="x1 x2")
@function("math.squared_difference", "squared_difference", params="x y name")
def _squared_difference(a: Arguments) -> str:
    d = _two("Sub")(a)
    return a.c.op("Mul", [d, d])


@operation("Square", params="x")
@function("math.square", "square", params="x name")
def _square(a: Arguments) -> str:
    x = a.value("x")
    return a.c.op("Mul", [x, x])


@operation("Rsqrt", params="x")
@function("math.rsqrt", params="x name")
def _rsqrt(a: Arguments) -> str:
    return a.c.op("Reciprocal", [a.c.op("Sqrt", [real(a, a.value("x"))])])


@operation("Log1p", "Log2", "Log10", "Expm1", params="x")
@function("math.log1p", "math.expm1", params="x name")
def _shifted(a: Arguments) -> str:
    name = a.c.layer.kind if "function" not in a.c.config else a.c.config.word("function").split(".")[-1]
    x = real(a, a.value("x"))
    if name.lower() == "expm1":
        return a.c.op("Sub", [a.c.op("Exp", [x]), a.c.like(1, x)])
    if name.lower() == "log1p":
        return a.c.op("Log", [a.c.op("Add", [x, a.c.like(1, x)])])
    return a.c.op("Mul", [a.c.op("Log", [x]), a.c.like(1 / math.log(2 if name == "Log2" else 10), x)])


@operation("Clip", params="x x_min x_max")
@function("clip_by_value", params="t clip_value_min clip_value_max name")
def _clip(a: Arguments) -> str:
    x, low, high = ("x", "x_min", "x_max") if "x" in a else ("t", "clip_value_min", "clip_value_max")
    value = a.value(x)
    bounds = [a.value(name, x) if name in a else "" for name in (low, high)]
    return a.c.op("Min", [a.c.op("Max", [value, bounds[0]]), bounds[1]])


_ACTIVATIONS = {
    "Relu6": "relu6", "Silu": "silu", "LeakyRelu": "leaky_relu", "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu",
    "Elu": "elu", "Gelu": "gelu", "Celu": "celu", "Glu": "glu", "HardTanh": "hard_tanh", "TanhShrink": "tanh_shrink",
    "SoftShrink": "soft_shrink", "HardShrink": "hard_shrink", "Squareplus": "squareplus", "SparsePlus": "sparse_plus",
    "SparseSigmoid": "sparse_sigmoid", "Sparsemax": "sparsemax", "LogSigmoid": "log_sigmoid", "Mish": "mish",
    "Softmax": "softmax", "LogSoftmax": "log_softmax", "Threshold": "threshold", "ReLU": "relu",
}
def _activated(name: str) -> FunctionBuilder:
    return lambda a: ACTIVATIONS[name](a.c, real(a, a.first), a.settings)


for _name, _activation in _ACTIVATIONS.items():
    operation(_name, params="x")(_activated(_activation))
_TF_ACTIVATIONS = {
    "nn.relu6": "relu6", "nn.silu": "silu", "nn.swish": "silu", "nn.leaky_relu": "leaky_relu", "nn.elu": "elu",
    "nn.gelu": "gelu", "nn.softmax": "softmax", "nn.log_softmax": "log_softmax", "math.log_sigmoid": "log_sigmoid",
    "math.log_softmax": "log_softmax", "math.softmax": "softmax",
}
_TF_PARAMS = {"softmax": "x axis name", "log_softmax": "x axis name", "leaky_relu": "x alpha name",
              "gelu": "x approximate name"}


def _tf_activation(name: str) -> FunctionBuilder:
    def build(a: Arguments) -> str:
        slope = {"negative_slope": a.get("alpha")} if name == "leaky_relu" and "alpha" in a else {}
        return ACTIVATIONS[name](a.c, a.first, Arguments(a.c, {**a.values, **slope}).settings)

    return build


for _name, _activation in _TF_ACTIVATIONS.items():
    function(_name, params=_TF_PARAMS.get(_activation, "x name"))(_tf_activation(_activation))

# ---- products --------------------------------------------------------------------------------------------------------


@operation("Matmul", params="x1 x2")
def _matmul(a: Arguments) -> str:
    return a.c.op("MatMul", list(a.pair("x1", "x2")))


@function("linalg.matmul", "matmul", "__operators__.matmul", params="a b transpose_a transpose_b")
def _tf_matmul(a: Arguments) -> str:
    x, y = a.pair("a", "b") if "a" in a else a.pair("x", "y")
    for flag in ("transpose_a", "transpose_b"):
        if a.settings.flag(flag):
            v = x if flag == "transpose_a" else y
            rank = a.c.b.rank(v)
            v = a.c.op("Transpose", [v], perm=[*range(rank - 2), rank - 1, rank - 2])
            x, y = (v, y) if flag == "transpose_a" else (x, v)
    return a.c.op("MatMul", [x, y])


@operation("Einsum", params="a b c d e f")
def _einsum(a: Arguments) -> str:
    text = a.c.config.word("subscripts", "") or str(a.get("subscripts"))
    operands = [t.value for t in tensors([*a.c.args, *a.c.kwargs.values()])]
    return a.c.op("Einsum", operands, equation=text.replace(" ", ""))


@operation("Dot", params="x1 x2")
def _dot(a: Arguments) -> str:
    x, y = a.pair("x1", "x2")
    if a.c.b.rank(y) > 2:
        raise a.c.refuse("a dot of tensors of more than two axes is not supported", "use matmul or einsum")
    return a.c.op("Mul" if 0 in (a.c.b.rank(x), a.c.b.rank(y)) else "MatMul", [x, y])


@operation("Norm", params="x")
def _norm(a: Arguments) -> str:
    x = real(a, a.value("x"))
    if a.get("ord") not in (None, 2, "euclidean", "fro"):
        raise a.c.refuse("only the Euclidean norm is supported")
    return a.c.op("ReduceL2", [x, np.array(a.axes(x))], keepdims=int(a.settings.flag("keepdims")))


@operation("Normalize", params="x")
def _normalize(a: Arguments) -> str:
    if a.get("order", 2) != 2:
        raise a.c.refuse("only the Euclidean norm is supported")
    return _unit(a, a.value("x"), a.axes(a.value("x")), a.settings.real("epsilon", 1e-12))


@function("math.l2_normalize", "nn.l2_normalize", params="x axis epsilon name")
def _l2_normalize(a: Arguments) -> str:
    return _unit(a, a.value("x"), a.axes(a.value("x")), a.settings.real("epsilon", 1e-12))


def _unit(a: Arguments, x: str, axes: list[int], epsilon: float) -> str:
    from compiler.frontends.keras.merging import normalised

    return normalised(a.c, x, axes, epsilon)


@operation("Cast", params="x dtype")
@function("cast", params="x dtype name")
def _cast(a: Arguments) -> str | Tensor:
    dtype = a.get("dtype")
    dtype = dtype.get("config", "") if isinstance(dtype, dict) else dtype
    dtype = {"float16": "float32", "bfloat16": "float32", "float64": "float32"}.get(str(dtype), str(dtype))
    try:
        number = tensor_type(dtype)
    except (KeyError, TypeError, ValueError):
        raise a.c.refuse(f"a cast to {dtype[:30]!r} is not supported") from None
    return a.c.op("Cast", [a.value("x")], to=number)
