"""Elementwise arithmetic, with the meaning that TensorFlow gives it (math_ops.cc, cwise_ops.h)."""
from __future__ import annotations

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import CONVERTERS, Converter, converter

_BINARY = {
    "Add": "Add", "AddV2": "Add", "Sub": "Sub", "Mul": "Mul", "RealDiv": "Div", "Div": "Div", "TruncateDiv": "Div",
    "Pow": "Pow", "Maximum": "Max", "BitwiseAnd": "BitwiseAnd", "BitwiseOr": "BitwiseOr",
    "BitwiseXor": "BitwiseXor",
}
_UNARY = {
    "Abs": "Abs", "Neg": "Neg", "Exp": "Exp", "Log": "Log", "Sqrt": "Sqrt", "Reciprocal": "Reciprocal",
    "Inv": "Reciprocal", "Sign": "Sign", "Floor": "Floor", "Ceil": "Ceil", "Round": "Round", "Rint": "Round",
    "Sin": "Sin", "Cos": "Cos", "Tan": "Tan", "Asin": "Asin", "Acos": "Acos", "Atan": "Atan", "Sinh": "Sinh",
    "Cosh": "Cosh", "Asinh": "Asinh", "Acosh": "Acosh", "Atanh": "Atanh", "Erf": "Erf", "Invert": "BitwiseNot",
}
#: Operators that leave whole numbers as they are.
_ROUNDING = frozenset({"Floor", "Ceil", "Round", "Rint"})


def _binary(onnx_op: str) -> Converter:
    return lambda c: c.op(onnx_op, c.xs(0, 2))


def _unary(op: str, onnx_op: str) -> Converter:
    def convert(c: Call) -> str:
        return c.x() if op in _ROUNDING and not c.is_float() else c.op(onnx_op, [c.x()])

    return convert


CONVERTERS.update({op: _binary(to) for op, to in _BINARY.items()})
CONVERTERS.update({op: _unary(op, to) for op, to in _UNARY.items()})


@converter("Minimum")
def minimum(c: Call) -> str:
    """The smaller one; a known one where the other is known not to be below it (`bincount` limits sizes so)."""
    for k in (0, 1):
        most, producer = c.known(k), c.b.graph.producer(c.x(1 - k))
        if most is None or most.size != 1 or producer is None or producer.op != "Max" or c.shape(1 - k) != most.shape:
            continue
        least = [c.b.const(i) for i in producer.inputs]
        if any(v is not None and v.size == 1 and v.reshape(-1)[0] >= most.reshape(-1)[0] for v in least):
            return c.x(k)
    return c.op("Min", c.xs(0, 2))


@converter("AddN", "AccumulateNV2")
def add_n(c: Call) -> str:
    """The sum of all operands."""
    total = c.x()
    for other in c.xs(1):
        total = c.op("Add", [total, other])
    return total


@converter("Square")
def square(c: Call) -> str:
    """x times x."""
    return c.op("Mul", [c.x(), c.x()])


@converter("Rsqrt")
def rsqrt(c: Call) -> str:
    """1 / sqrt(x)."""
    return c.op("Reciprocal", [c.op("Sqrt", [c.x()])])


@converter("Expm1")
def expm1(c: Call) -> str:
    """exp(x) - 1."""
    return c.op("Sub", [c.op("Exp", [c.x()]), c.number(1, c.x())])


@converter("Log1p")
def log1p(c: Call) -> str:
    """log(1 + x)."""
    return c.op("Log", [c.op("Add", [c.x(), c.number(1, c.x())])])


@converter("Erfc")
def erfc(c: Call) -> str:
    """1 - erf(x); of -z as 1 + erf(z), which is how an exact GELU is written."""
    one, negated = c.number(1, c.x()), _negated(c, c.x())
    if negated:
        return c.op("Add", [c.op("Erf", [negated]), one])
    return c.op("Sub", [one, c.op("Erf", [c.x()])])


def _negated(c: Call, x: str) -> str:
    """What a value is the negative of, "" for a value that is not made as one."""
    before = c.b.graph.producer(x)
    if before is None or before.op not in ("Neg", "Mul"):
        return ""
    if before.op == "Neg":
        return before.inputs[0]
    for factor, other in (before.inputs, before.inputs[::-1]):
        made = c.b.graph.producer(factor)
        if made is not None and made.op == "Neg":
            return c.op("Mul", [made.inputs[0], other])
    return ""


@converter("SquaredDifference")
def squared_difference(c: Call) -> str:
    """(x - y) squared."""
    difference = c.op("Sub", c.xs(0, 2))
    return c.op("Mul", [difference, difference])


@converter("FloorDiv")
def floor_div(c: Call) -> str:
    """The quotient rounded down, of whole numbers as well."""
    x, y = c.xs(0, 2)
    if c.is_float():
        return c.op("Floor", [c.op("Div", [x, y])])
    if c.dtype().startswith("u"):
        return c.op("Div", [x, y])
    return c.op("Div", [c.op("Sub", [x, c.op("Mod", [x, y])]), y])


@converter("FloorMod")
def floor_mod(c: Call) -> str:
    """The rest of a division rounded down: it has the sign of the divisor."""
    x, y = c.xs(0, 2)
    if not c.is_float():
        return c.op("Mod", [x, y])
    rest, zero = c.op("Mod", [x, y], fmod=1), c.number(0, x)
    apart = c.op("Less", [c.op("Mul", [rest, y]), zero])
    return c.op("Where", [apart, c.op("Add", [rest, y]), rest])


@converter("Mod", "TruncateMod")
def truncate_mod(c: Call) -> str:
    """The rest of a division rounded towards zero: it has the sign of the dividend."""
    return c.op("Mod", c.xs(0, 2), fmod=1)


def _unless_zero(c: Call, decides: str, result: str) -> str:
    zero = c.number(0, result)
    return c.op("Where", [c.op("Equal", [decides, zero]), zero, result])


@converter("DivNoNan")
def div_no_nan(c: Call) -> str:
    """x / y, 0 where y is 0."""
    return _unless_zero(c, c.x(1), c.op("Div", c.xs(0, 2)))


@converter("MulNoNan")
def mul_no_nan(c: Call) -> str:
    """x * y, 0 where y is 0 whatever x is."""
    return _unless_zero(c, c.x(1), c.op("Mul", c.xs(0, 2)))


@converter("Xdivy")
def xdivy(c: Call) -> str:
    """x / y, 0 where x is 0."""
    return _unless_zero(c, c.x(0), c.op("Div", c.xs(0, 2)))


@converter("Xlogy")
def xlogy(c: Call) -> str:
    """x * log(y), 0 where x is 0."""
    return _unless_zero(c, c.x(0), c.op("Mul", [c.x(0), c.op("Log", [c.x(1)])]))


@converter("Xlog1py")
def xlog1py(c: Call) -> str:
    """x * log(1 + y), 0 where x is 0."""
    log = c.op("Log", [c.op("Add", [c.x(1), c.number(1, c.x(1))])])
    return _unless_zero(c, c.x(0), c.op("Mul", [c.x(0), log]))


@converter("Atan2")
def atan2(c: Call) -> str:
    """The angle of (x, y), from the arc tangent of y / x and the signs."""
    y, x = c.xs(0, 2)
    zero, pi = c.number(0, x), c.number(np.pi, x)
    plain = c.op("Atan", [c.op("Div", [y, x])])
    turned = c.op("Where", [c.op("Less", [y, zero]), c.op("Sub", [plain, pi]), c.op("Add", [plain, pi])])
    upright = c.op("Mul", [c.op("Sign", [y]), c.number(np.pi / 2, x)])
    found = c.op("Where", [c.op("Less", [x, zero]), turned, plain])
    return c.op("Where", [c.op("Equal", [x, zero]), upright, found])


@converter("LeftShift", "RightShift")
def shift(c: Call) -> str:
    """x times, or divided (rounded down) by, a power of two."""
    x, by = c.xs(0, 2)
    left = c.node.op == "LeftShift"
    if c.dtype().startswith("u"):
        return c.op("BitShift", [x, by], direction="LEFT" if left else "RIGHT")
    factor = c.cast(c.op("Pow", [c.number(2, x), by]), c.dtype())
    if left:
        return c.op("Mul", [x, factor])
    return c.op("Div", [c.op("Sub", [x, c.op("Mod", [x, factor])]), factor])


@converter("ClipByValue")
def clip_by_value(c: Call) -> str:
    """At least one bound, at most the other."""
    return c.op("Min", [c.op("Max", [c.x(0), c.x(1)]), c.x(2)])


@converter("Cast")
def cast(c: Call) -> str:
    """Another element type; real numbers lose what is behind the point."""
    return c.cast(c.x(), c.kind("DstT"))


@converter("L2Loss")
def l2_loss(c: Call) -> str:
    """Half the sum of squares."""
    total = c.op("ReduceSumSquare", [c.x()], keepdims=0)
    return c.op("Mul", [total, c.number(0.5, c.x())])
