"""Operators that work element by element, and the normalisations along one axis."""

from __future__ import annotations

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.layout import channels_first, channels_last
from compiler.frontends.onnx.types import tensor_type
from compiler.frontends.tflite import quantised
from compiler.frontends.tflite.convert import Call, activated, converter

_UNARY = {
    "ABS": "Abs", "CEIL": "Ceil", "COS": "Cos", "ELU": "Elu", "EXP": "Exp", "FLOOR": "Floor", "HARD_SWISH": "HardSwish",
    "LOG": "Log", "LOGISTIC": "Sigmoid", "NEG": "Neg", "ROUND": "Round", "SIGN": "Sign", "SIN": "Sin", "SQRT": "Sqrt",
    "TANH": "Tanh",
}
_BINARY = {"ADD": "Add", "DIV": "Div", "MAXIMUM": "Max", "MINIMUM": "Min", "MUL": "Mul", "POW": "Pow", "SUB": "Sub"}
_COMPARED = {"EQUAL": "Equal", "GREATER": "Greater", "GREATER_EQUAL": "GreaterOrEqual", "LESS": "Less",
             "LESS_EQUAL": "LessOrEqual"}
_LOGICAL = {"LOGICAL_AND": "And", "LOGICAL_OR": "Or", "BITWISE_XOR": "BitwiseXor"}
#: limits of activations that are operators
_LIMITS = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}


def number(value: float, b: GraphBuilder, like: str) -> np.ndarray:
    """A constant of the element type of another value."""
    return np.array(value, b.dtype(like))


@converter(*_UNARY)
def _unary(c: Call) -> None:
    c.give(c.b.op(_UNARY[c.op.type], [c.real(0)]))


@converter("RELU")
def _relu(c: Call) -> None:
    c.give(activated(c.b, c.real(0), 1))


@converter(*_LIMITS)
def _limited(c: Call) -> None:
    x = c.real(0)
    c.give(c.b.op("Clip", [x, *(number(v, c.b, x) for v in _LIMITS[c.op.type])]))


@converter("RSQRT")
def _rsqrt(c: Call) -> None:
    c.give(c.b.op("Reciprocal", [c.b.op("Sqrt", [c.real(0)])]))


@converter("SQUARE")
def _square(c: Call) -> None:
    c.give(c.b.op("Mul", [c.real(0), c.real(0)]))


@converter("GELU")
def _gelu(c: Call) -> None:
    c.give(c.b.op("Gelu", [c.real(0)], approximate="tanh" if c.option("approximate", False) else "none"))


@converter("LEAKY_RELU")
def _leaky_relu(c: Call) -> None:
    c.give(c.b.op("LeakyRelu", [c.real(0)], alpha=float(c.option("alpha", 0.0))))


@converter("PRELU")
def _prelu(c: Call) -> None:
    c.give(c.b.op("PRelu", [c.real(0), c.real(1)]))


@converter("SOFTMAX")
def _softmax(c: Call) -> None:
    """Along the last axis, of beta times the operand."""
    x, beta = c.real(0), float(c.option("beta", 1.0))
    if beta != 1.0:
        x = c.b.op("Mul", [x, number(beta, c.b, x)])
    c.give(c.b.op("Softmax", [x], axis=-1))


@converter("LOG_SOFTMAX")
def _log_softmax(c: Call) -> None:
    c.give(c.b.op("LogSoftmax", [c.real(0)], axis=-1))


@converter("L2_NORMALIZATION")
def _l2_normalisation(c: Call) -> None:
    """The last axis over its norm, or over 1e-6 where that is larger (as the reference kernel has it)."""
    x, last = c.real(0), np.array([-1], np.int64)
    norm = c.b.op("Sqrt", [c.b.op("ReduceSumSquare", [x, last], keepdims=1)])
    c.give(c.b.op("Div", [x, c.b.op("Max", [norm, number(1e-6, c.b, x)])]))


@converter("LOCAL_RESPONSE_NORMALIZATION")
def _local_response(c: Call) -> None:
    """x / (bias + alpha * sum of squares of channels up to `radius` away) ** beta; ONNX's alpha is of their mean."""
    size = 2 * int(c.option("radius", 0)) + 1
    c.give(channels_last(c.b, c.b.op(
        "LRN", [channels_first(c.b, c.real(0))], size=size, alpha=float(c.option("alpha", 0.0)) * size,
        beta=float(c.option("beta", 0.0)), bias=float(c.option("bias", 0.0)))))


# ---- two operands --------------------------------------------------------------------------------------------------


@converter(*_BINARY)
def _binary(c: Call) -> None:
    c.give(c.b.op(_BINARY[c.op.type], [c.real(0), c.real(1)]))


@converter("ADD_N")
def _add_n(c: Call) -> None:
    c.give(c.b.op("Sum", [c.real(k) for k in range(len(c))]))


@converter("SQUARED_DIFFERENCE")
def _squared_difference(c: Call) -> None:
    difference = c.b.op("Sub", [c.real(0), c.real(1)])
    c.give(c.b.op("Mul", [difference, difference]))


@converter(*_COMPARED)
def _compare(c: Call) -> None:
    c.store(c.b.op(_COMPARED[c.op.type], [c.real(0), c.real(1)]))


@converter("NOT_EQUAL")
def _not_equal(c: Call) -> None:
    c.store(c.b.op("Not", [c.b.op("Equal", [c.real(0), c.real(1)])]))


@converter(*_LOGICAL)
def _logical(c: Call) -> None:
    kind = "Xor" if c.op.type == "BITWISE_XOR" and c.b.dtype(c.stored(0)) == "bool" else _LOGICAL[c.op.type]
    c.store(c.b.op(kind, [c.stored(0), c.stored(1)]))


@converter("LOGICAL_NOT")
def _logical_not(c: Call) -> None:
    c.store(c.b.op("Not", [c.stored(0)]))


@converter("FLOOR_DIV")
def _floor_div(c: Call) -> None:
    c.give(floor_div(c.b, c.real(0), c.real(1)))


def floor_div(b: GraphBuilder, x: str, y: str) -> str:
    """x / y, rounded down."""
    if b.dtype(x).startswith("float"):
        return b.op("Floor", [b.op("Div", [x, y])])
    whole = b.op("Div", [x, y])  # towards zero: one too large where signs differ and something is left over
    left = b.op("Not", [b.op("Equal", [b.op("Mul", [whole, y]), x])])
    differ = b.op("Xor", [b.op("Less", [x, number(0, b, x)]), b.op("Less", [y, number(0, b, y)])])
    return b.op("Sub", [whole, b.op("Cast", [b.op("And", [left, differ])], to=tensor_type(b.dtype(x)))])


@converter("FLOOR_MOD")
def _floor_mod(c: Call) -> None:
    """The remainder with the divisor's sign."""
    x, y = c.real(0), c.real(1)
    if not c.b.dtype(x).startswith("float"):
        c.give(c.b.op("Mod", [x, y]))
        return
    rest = c.b.op("Mod", [x, y], fmod=1)
    zero = number(0, c.b, x)
    differ = c.b.op("Less", [c.b.op("Mul", [rest, y]), zero])
    c.give(c.b.op("Where", [differ, c.b.op("Add", [rest, y]), rest]))


@converter("RIGHT_SHIFT")
def _right_shift(c: Call) -> None:
    """Arithmetic: copies of the sign bit come in."""
    x, y, dtype = c.stored(0), c.stored(1), c.b.dtype(c.stored(0))
    if dtype.startswith("uint"):
        c.store(c.b.op("BitShift", [x, y], direction="RIGHT"))
        return
    wide = [c.b.op("Cast", [v], to=tensor_type("int32")) for v in (x, y)]
    power = c.b.op("Pow", [np.array(2, np.int32), c.b.op("Min", [wide[1], np.array(30, np.int32)])])
    c.store(c.b.op("Cast", [floor_div(c.b, wide[0], power)], to=tensor_type(dtype)))


@converter("ATAN2")
def _atan2(c: Call) -> None:
    """atan(y / x), moved to the quadrant of (x, y)."""
    b, y, x = c.b, c.real(0), c.real(1)
    zero, pi = number(0, b, x), number(np.pi, b, x)
    up = b.op("GreaterOrEqual", [y, zero])
    turn = b.op("Where", [up, pi, number(-np.pi, b, x)])
    flat = b.op("Equal", [x, zero])
    angle = b.op("Atan", [b.op("Div", [y, b.op("Where", [flat, number(1, b, x), x])])])
    angle = b.op("Where", [b.op("Less", [x, zero]), b.op("Add", [angle, turn]), angle])
    upright = b.op("Where", [b.op("Equal", [y, zero]), zero, b.op("Div", [turn, number(2, b, x)])])
    c.give(b.op("Where", [flat, upright, angle]))


# ---- selection and types -------------------------------------------------------------------------------------------


@converter("SELECT", "SELECT_V2")
def _select(c: Call) -> None:
    """Where the condition holds the second operand, else the third; SELECT's condition may choose rows."""
    condition, rank = c.stored(0), len(c.shape(1))
    if c.op.type == "SELECT" and len(c.shape(0)) == 1 and rank > 1:
        condition = c.b.op("Reshape", [condition, np.array([-1, *[1] * (rank - 1)], np.int64)])
    c.store(c.b.op("Where", [condition, *(c.requantised(k, c.result()) for k in (1, 2))]))


@converter("CAST")
def _cast(c: Call) -> None:
    c.store(c.b.op("Cast", [c.stored(0)], to=tensor_type(quantised.kept(c.result()))))


@converter("QUANTIZE")
def _quantize(c: Call) -> None:
    c.store(c.requantised(0, c.result()))


@converter("DEQUANTIZE")
def _dequantize(c: Call) -> None:
    c.store(c.b.op("Cast", [c.real(0)], to=tensor_type(c.result().dtype)))


@converter("FAKE_QUANT")
def _fake_quant(c: Call) -> None:
    """Real numbers as `num_bits` would keep them; limits are moved so that 0 is kept exactly."""
    low, high = float(c.option("min", 0.0)), float(c.option("max", 0.0))
    least, most = float(bool(c.option("narrow_range", False))), 2.0 ** int(c.option("num_bits", 8)) - 1
    scale = (high - low) / (most - least)
    zero = float(np.clip(np.floor(least - low / scale + 0.5), least, most))
    x = c.real(0)
    low, high, scale = (least - zero) * scale, (most - zero) * scale, scale
    inside = c.b.op("Clip", [x, number(low, c.b, x), number(high, c.b, x)])
    steps = c.b.op("Div", [c.b.op("Sub", [inside, number(low, c.b, x)]), number(scale, c.b, x)])
    steps = c.b.op("Floor", [c.b.op("Add", [steps, number(0.5, c.b, x)])])
    c.give(c.b.op("Add", [c.b.op("Mul", [steps, number(scale, c.b, x)]), number(low, c.b, x)]))
