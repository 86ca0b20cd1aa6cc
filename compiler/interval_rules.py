"""Interval arithmetic of operators on integers: one rule for each, bounds of operands to bounds of a result.

Rules ignore wrapping: they bound the exact result, and where an operator accumulates also what it passes through.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from compiler.ir import Graph, Node, numpy_dtype

Range = tuple[int, int]
#: fp32 represents every integer up to this magnitude
EXACT = 1 << 24
#: exponents beyond this leave every integer type
LARGEST_EXPONENT = 64


@dataclass(frozen=True)
class Facts:
    """What a rule may ask: the node, which output, and bounds of the inputs (None: absent or no integer)."""

    graph: Graph
    node: Node
    index: int
    operands: list[Range | None]

    def integers(self) -> list[Range] | None:
        """Bounds of every present input, or None when one is no integer."""
        given = [r for n, r in zip(self.node.inputs, self.operands, strict=True) if n]
        known = [r for r in given if r is not None]
        return known if known and len(known) == len(given) else None

    def first(self) -> Range | None:
        """Bounds of the first input."""
        return self.operands[0] if self.operands else None

    def shape(self, position: int) -> tuple[int, ...]:
        """Shape of an input."""
        return self.graph.shape(self.node.inputs[position])

    def output(self) -> str:
        """Name of the output in question."""
        return self.node.outputs[self.index]


Rule = Callable[[Facts], Range | None]


def type_range(dtype: str) -> Range:
    """What an integer or bool element type can hold."""
    if dtype == "bool":
        return 0, 1
    if dtype.lstrip("uint").isdigit() and int(dtype.lstrip("uint")) < 8:
        bits = int(dtype.lstrip("uint"))
        return (0, 2**bits - 1) if dtype[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    info = np.iinfo(numpy_dtype(dtype))
    return int(info.min), int(info.max)


def hull(found: Iterable[Range]) -> Range:
    """The smallest interval that holds all."""
    pairs = list(found)
    return min(lo for lo, _ in pairs), max(hi for _, hi in pairs)


def within(inner: Range, outer: Range) -> bool:
    """Whether every number of `inner` is in `outer`."""
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def _corners(function: Callable[[int, int], int], a: Range, b: Range) -> Range:
    """Bounds of a function that is monotone in each argument."""
    values = [function(x, y) for x, y in product(a, b)]
    return min(values), max(values)


def _pairwise(function: Callable[[Range, Range], Range | None]) -> Rule:
    """A rule of two or more operands combined from left to right; every partial result counts."""
    def rule(facts: Facts) -> Range | None:
        operands = facts.integers()
        if operands is None:
            return None
        total, passed = operands[0], [operands[0]] if len(operands) == 1 else []
        for other in operands[1:]:
            step = function(total, other)
            if step is None:
                return None
            total = step
            passed.append(total)
        return hull(passed)
    return rule


def _unary(function: Callable[[Range], Range]) -> Rule:
    def rule(facts: Facts) -> Range | None:
        x = facts.first()
        return None if x is None else function(x)
    return rule


def _divide(a: Range, b: Range) -> Range:
    """Towards zero; division by 0 has no meaning."""
    largest = max(abs(v) for v in a)
    if a[0] >= 0 and b[0] > 0:
        return a[0] // b[1], a[1] // b[0]
    return -largest, largest


def _modulo(facts: Facts) -> Range | None:
    operands = facts.integers()
    if operands is None:
        return None
    a, b = operands
    most = max(1, *(abs(v) for v in b)) - 1
    if facts.node.attrs.get("fmod"):
        low, high = (0 if a[0] >= 0 else -most), (0 if a[1] <= 0 else most)
    else:
        low, high = (0 if b[0] > 0 else -most), (0 if b[1] < 0 else most)
    return low, high


def _power(facts: Facts) -> Range | None:
    operands = facts.integers()
    if operands is None:
        return None
    a, b = operands
    if b[0] < 0 or b[1] > LARGEST_EXPONENT:
        return None
    largest = max(abs(v) for v in a) ** b[1]
    return (0 if a[0] >= 0 else -largest), max(largest, 1)


def _magnitude(x: Range) -> Range:
    return (0 if x[0] <= 0 <= x[1] else min(abs(x[0]), abs(x[1]))), max(abs(x[0]), abs(x[1]))


def _bits(facts: Facts) -> Range | None:
    """And, or, xor of numbers that are not negative: below the next power of two."""
    operands = facts.integers()
    if operands is None or any(lo < 0 for lo, _ in operands):
        return None
    if facts.node.op == "BitwiseAnd":
        return 0, min(hi for _, hi in operands)
    return 0, (1 << max(hi for _, hi in operands).bit_length()) - 1


def _shift(facts: Facts) -> Range | None:
    operands = facts.integers()
    if operands is None or operands[1][0] < 0 or operands[1][1] > LARGEST_EXPONENT:
        return None
    a, by = operands
    right = facts.node.attrs.get("direction") == "RIGHT"
    return _corners((lambda x, n: x >> n) if right else (lambda x, n: x << n), a, by)


def _clip(facts: Facts) -> Range | None:
    x = facts.first()
    if x is None:
        return None
    low, high = x
    for position, bound in enumerate(facts.operands[1:3], 1):
        if bound is not None and position == 1:
            low, high = max(low, bound[0]), max(high, bound[1])
        elif bound is not None:
            low, high = min(low, bound[0]), min(high, bound[1])
    return low, high


def _same(facts: Facts) -> Range | None:
    """Elements of the first operand."""
    return facts.first()


def _some_of(*positions: int) -> Rule:
    """Elements of these operands (of all without any named)."""
    def rule(facts: Facts) -> Range | None:
        chosen = [facts.operands[p] for p in positions if p < len(facts.operands)] if positions else facts.integers()
        known = [r for r in chosen or [] if r is not None]
        return hull(known) if known and len(known) == len(chosen or []) else None
    return rule


def _padded(facts: Facts) -> Range | None:
    """Elements of the operand, and the fill."""
    x = facts.first()
    fill = facts.operands[2] if len(facts.operands) > 2 else None
    return None if x is None else hull([x, fill or (0, 0)])


def _scattered(facts: Facts) -> Range | None:
    plain = facts.node.attrs.get("reduction", "none") in ("none", "max", "min")
    return _some_of(0, 2)(facts) if plain else None


def _cast(facts: Facts) -> Range | None:
    """Integers keep their value; of floats nothing is known."""
    return facts.first()


def _dims(facts: Facts) -> Range | None:
    return 0, max([*facts.shape(0), prod(facts.shape(0))])


def _position(facts: Facts) -> Range | None:
    """An index along the axis."""
    shape = facts.shape(0)
    return (0, max(shape[facts.node.attrs.get("axis", 0)] - 1, 0)) if shape else (0, 0)


def _index_output(facts: Facts) -> Range | None:
    """The second output counts positions (of TopK along an axis, of MaxPool in all), the first has elements."""
    if facts.index == 0:
        return facts.first()
    shape = facts.shape(0)
    return 0, (prod(shape) if facts.node.op == "MaxPool" else shape[facts.node.attrs.get("axis", -1)]) - 1


def _folded(facts: Facts) -> int:
    """Elements of the first input in one element of the result."""
    return prod(facts.shape(0)) // max(1, prod(facts.graph.shape(facts.output())))


def _summed(element: Callable[[Range], Range]) -> Rule:
    def rule(facts: Facts) -> Range | None:
        x = facts.first()
        if x is None:
            return None
        low, high = element(x)
        count = _folded(facts)
        return min(low, count * low), max(high, count * high)
    return rule


def _running(facts: Facts) -> Range | None:
    x = facts.first()
    count = max(facts.shape(0), default=1)
    return None if x is None else (min(0, count * x[0]), max(0, count * x[1]))


def _products(facts: Facts) -> Range | None:
    """Sums of products over the contraction."""
    operands = facts.integers()
    if operands is None or facts.node.attrs.get("epilogue"):
        return None
    pair = _corners(lambda x, y: x * y, *operands[:2])
    depth = facts.shape(0)[-1] if facts.shape(0) else 1
    return min(0, depth * pair[0]), max(0, depth * pair[1])


def _square(x: Range) -> Range:
    low, high = _magnitude(x)
    return low * low, high * high


RULES: dict[str, Rule] = {
    "Abs": _unary(_magnitude),
    "Add": _pairwise(lambda a, b: (a[0] + b[0], a[1] + b[1])),
    "ArgMax": _position,
    "ArgMin": _position,
    "BitShift": _shift,
    "BitwiseAnd": _bits,
    "BitwiseNot": _unary(lambda x: (-1 - x[1], -1 - x[0])),
    "BitwiseOr": _bits,
    "BitwiseXor": _bits,
    "Cast": _cast,
    "CastLike": _cast,
    "Clip": _clip,
    "Compress": _same,
    "Concat": _some_of(),
    "CumSum": _running,
    "DepthToSpace": _same,
    "Div": _pairwise(_divide),
    "Dropout": lambda facts: facts.first() if facts.index == 0 else (0, 1),
    "Expand": _same,
    "EyeLike": lambda facts: (0, 1),
    "Flatten": _same,
    "Gather": _same,
    "GatherElements": _same,
    "GatherND": _same,
    "Identity": _same,
    "MatMul": _products,
    "Max": _pairwise(lambda a, b: (max(a[0], b[0]), max(a[1], b[1]))),
    "MaxPool": _index_output,
    "Min": _pairwise(lambda a, b: (min(a[0], b[0]), min(a[1], b[1]))),
    "Mod": _modulo,
    "Mul": _pairwise(lambda a, b: _corners(lambda x, y: x * y, a, b)),
    "Neg": _unary(lambda x: (-x[1], -x[0])),
    "NonZero": lambda facts: (0, max([d - 1 for d in facts.shape(0)], default=0)),
    "OneHot": _some_of(2),
    "Pad": _padded,
    "Pow": _power,
    "ReduceL1": _summed(_magnitude),
    "ReduceMax": _same,
    "ReduceMean": _summed(lambda x: x),
    "ReduceMin": _same,
    "ReduceSum": _summed(lambda x: x),
    "ReduceSumSquare": _summed(_square),
    "Relu": _unary(lambda x: (max(0, x[0]), max(0, x[1]))),
    "Reshape": _same,
    "ReverseSequence": _same,
    "ScatterElements": _scattered,
    "ScatterND": _scattered,
    "Shape": _dims,
    "Sign": _unary(lambda x: ((x[0] > 0) - (x[0] < 0), (x[1] > 0) - (x[1] < 0))),
    "Size": _dims,
    "Slice": _same,
    "SpaceToDepth": _same,
    "Split": _same,
    "Squeeze": _same,
    "Sub": _pairwise(lambda a, b: (a[0] - b[1], a[1] - b[0])),
    "Sum": _pairwise(lambda a, b: (a[0] + b[0], a[1] + b[1])),
    "Tile": _same,
    "TopK": _index_output,
    "Transpose": _same,
    "Trilu": _unary(lambda x: hull([x, (0, 0)])),
    "Unsqueeze": _same,
    "Where": _some_of(1, 2),
}
