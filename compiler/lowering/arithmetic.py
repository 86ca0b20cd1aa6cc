"""Operations on two operands that take several engine operations: integers that wrap, quotients, remainders, gates."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from compiler.interval_rules import EXACT, Range, within
from compiler.ir import Graph, Node, numpy_dtype
from compiler.lowering.lanes import Lanes
from isa.lang import View
from isa.target import Target

Attributes = Mapping[str, Any]
Operation = Callable[[Lanes, View, View, View, Attributes], object]

#: results of these types are computed in 32 bits and keep their low ones
NARROW = ("int8", "uint8", "int16", "uint16")
WIDE = ("int32", "uint32", "int64", "uint64")
COMPARED = {
    "Equal": "is_equal", "Greater": "is_gt", "GreaterOrEqual": "is_ge", "Less": "is_lt", "LessOrEqual": "is_le",
}
ALU = {"Add": "add", "Sub": "subtract", "Mul": "mult"}
#: bits of a quotient that one step of a remainder takes: its product with either half of a divisor is exact
STEP = 11


def operation(graph: Graph, node: Node, known: Callable[[], Mapping[str, Range]]) -> Operation | None:
    """What a node does to two operands that one engine operation does not; None when one does.

    Args:
        known: gives the proven bounds of integers (`ranges`).
    """
    kind, result = graph.dtype(node.inputs[0]), graph.dtype(node.output)
    integer = numpy_dtype(kind).kind in "iu"
    if node.op in ALU and result in NARROW:
        halves = node.op == "Mul" and result in ("int16", "uint16")
        return partial(_wrapping_product if halves else _wrapping, kind=result, op=ALU[node.op])
    if kind in WIDE and node.op in COMPARED and not any(_small(known(), n) for n in node.inputs[:2]):
        return _equal_bits if node.op == "Equal" else partial(_compared, op=COMPARED[node.op])
    if kind in WIDE and node.op in ("Max", "Min") and not all(_small(known(), n) for n in node.inputs[:2]):
        return partial(_selected, op="is_lt" if node.op == "Max" else "is_gt")
    if node.op in ("Div", "Mod", "Pow") and integer:
        return {"Div": _quotient, "Mod": _integer_remainder, "Pow": _integer_power}[node.op]
    return OPERATIONS.get(node.op)


def _small(known: Mapping[str, Range], name: str) -> bool:
    """Whether fp32 represents a value and all its neighbours."""
    return name in known and within(known[name], (1 - EXACT, EXACT - 1))


def arithmetic_condition(graph: Graph, node: Node, target: Target) -> str:
    """Why engines cannot compute this form."""
    dtype = graph.dtype(node.inputs[0])
    integer = numpy_dtype(dtype).kind in "iu"
    if node.op in ("Div", "Mod") and target.generation == "v1" and (integer or node.op == "Mod"):
        return "the engines of this generation multiply by a reciprocal, which gives no exact quotient"
    if node.op == "BitCast" and numpy_dtype(dtype).itemsize > 4:
        return f"{dtype} has 64 bits and the device keeps 32 of them"
    if node.op == "Shrink" and integer:
        return "the bias of a Shrink is a real number, and its integers are rounded in no defined way"
    return ""


def wrapping_sign(lanes: Lanes, out: View, x: View, attrs: Attributes, *, op: str, kind: str) -> None:
    """Neg or Abs of a narrow integer: the least number has no opposite and stays."""
    lanes.wrap(lanes.scalar(x, "abs" if op == "Abs" else "mult", -1.0, dtype="int32"), kind, out=out)


def _wrapping(lanes: Lanes, out: View, x: View, y: View, attrs: Attributes, *, kind: str, op: str) -> None:
    lanes.wrap(lanes.pair(x, y, op, dtype="int32"), kind, out=out)


def _wrapping_product(lanes: Lanes, out: View, x: View, y: View, attrs: Attributes, *, kind: str, op: str) -> None:
    """16 bits times 16 bits: y in two bytes, so that every product stays below 2^24; of the upper one 8 bits count."""
    low = lanes.pair(x, lanes.scalar(y, "bitwise_and", 255.0, dtype="int32"), op, dtype="int32")
    high = lanes.pair(x, lanes.scalar(y, "shift_right", 8.0, dtype="int32"), op, dtype="int32")
    high = lanes.scalar(high, "bitwise_and", 255.0, "shift_left", 8.0, dtype="int32")
    lanes.wrap(lanes.pair(low, high, "add", dtype="int32"), kind, out=out)


def _equal_bits(lanes: Lanes, out: View, x: View, y: View, attrs: Attributes) -> None:
    """Exact for all 32 bits: no bit differs."""
    lanes.scalar(lanes.pair(x, y, "bitwise_xor", dtype="int32"), "is_equal", 0.0, out=out)


def _order(lanes: Lanes, x: View, y: View) -> View:
    """A number with the sign of x - y, all 32 bits: the upper halves' difference outweighs that of the lower ones."""
    high = [lanes.scalar(v, "shift_right", 16.0, dtype="int32") for v in (x, y)]
    low = [lanes.scalar(v, "bitwise_and", 65535.0, dtype="int32") for v in (x, y)]
    difference = lanes.pair(low[0], low[1], "subtract")
    return lanes.triple(lanes.pair(high[0], high[1], "subtract"), "mult", 65536.0, "add", difference)


def _compared(lanes: Lanes, out: View, x: View, y: View, attrs: Attributes, *, op: str) -> None:
    lanes.scalar(_order(lanes, x, y), op, 0.0, out=out)


def _selected(lanes: Lanes, out: View, x: View, y: View, attrs: Attributes, *, op: str) -> None:
    """x, but y where x op y."""
    lanes.choose(lanes.mask(_order(lanes, x, y), op, 0.0), y, lanes.copy(x, out=out))


def _quotient(lanes: Lanes, out: View, x: View, y: View, attrs: Attributes) -> None:
    """Towards zero. Up to 2^24 no correctly rounded quotient reaches the next integer."""
    lanes.whole(lanes.divide(x, y), out=out)


def _integer_remainder(lanes: Lanes, out: View, x: View, y: View, attrs: Attributes) -> None:
    """x - trunc(x / y) y, exact up to 2^24; with the divisor's sign unless `fmod`."""
    rest = lanes.pair(x, lanes.pair(lanes.whole(lanes.divide(x, y)), y, "mult"), "subtract")
    lanes.copy(rest if attrs.get("fmod") else _with_sign(lanes, rest, y), out=out)


def _with_sign(lanes: Lanes, rest: View, y: View) -> View:
    """rest + y where rest has the other sign."""
    signs = lanes.pair(lanes.act(rest, "sign"), lanes.act(y, "sign"), "mult")
    return lanes.choose(lanes.mask(signs, "is_lt", 0.0), lanes.pair(rest, y, "add"), rest)


def _remainder(lanes: Lanes, out: View, x: View, y: View, attrs: Attributes) -> None:
    """Of floats: long division of |x| by |y|, 11 bits of the quotient at a time, exact for quotients below 2^33."""
    rest, divisor = lanes.scalar(x, "abs"), lanes.scalar(y, "abs")
    for power in (2 * STEP, STEP, 0):
        rest = _reduced(lanes, rest, lanes.scalar(divisor, "mult", 2.0**power))
    rest = lanes.signed(rest, x)
    lanes.copy(rest if attrs.get("fmod") else _with_sign(lanes, rest, y), out=out)


def _reduced(lanes: Lanes, a: View, m: View) -> View:
    """a modulo m for a < 2^12 m, neither negative: with m in two halves of 12 bits no product and no sum is rounded."""
    upper = lanes.tile()
    lanes.scalar(m.bitcast("int32"), "bitwise_and", -4096.0, out=upper.bitcast("int32"))
    lower = lanes.pair(m, upper, "subtract")
    count = lanes.floor(lanes.divide(a, m))
    rest = lanes.pair(a, lanes.pair(count, upper, "mult"), "subtract")
    rest = lanes.pair(rest, lanes.pair(count, lower, "mult"), "subtract")
    rest = lanes.pair(rest, lanes.triple(rest, "is_lt", 0.0, "mult", m), "add")  # the quotient was rounded up
    return lanes.choose(lanes.pair(m, a, "is_gt", dtype="uint8"), a, rest)


def _integer_power(lanes: Lanes, out: View, x: View, y: View, attrs: Attributes) -> None:
    """Rounded towards zero, as a conversion of the real power is."""
    lanes.whole(lanes.pair(x, y, "power"), out=out)


def _prelu(lanes: Lanes, out: View, x: View, y: View, attrs: Attributes) -> None:
    low = lanes.triple(x, "min", 0.0, "mult", y)
    lanes.triple(x, "max", 0.0, "add", low, out=out)


def _swiglu(lanes: Lanes, out: View, x: View, y: View, attrs: Attributes) -> None:
    gate = lanes.act(x, "sigmoid", float(attrs.get("alpha", 1.0)))
    lanes.pair(lanes.pair(gate, x, "mult"), y, "mult", out=out)


def _shift(lanes: Lanes, out: View, x: View, y: View, attrs: Attributes) -> None:
    lanes.pair(x, y, "shift_right" if attrs.get("direction") == "RIGHT" else "shift_left", out=out)


OPERATIONS: dict[str, Operation] = {
    "BitShift": _shift,
    "Mod": _remainder,
    "PRelu": _prelu,
    "SwiGLU": _swiglu,
}
