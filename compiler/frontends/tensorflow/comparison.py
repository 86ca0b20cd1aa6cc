"""Comparisons, logic and selection."""
from __future__ import annotations

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import CONVERTERS, Converter, converter
from compiler.frontends.tensorflow.values import Sparse

_BINARY = {
    "Equal": "Equal", "Less": "Less", "LessEqual": "LessOrEqual", "Greater": "Greater",
    "GreaterEqual": "GreaterOrEqual", "LogicalAnd": "And", "LogicalOr": "Or",
}


def _binary(onnx_op: str) -> Converter:
    return lambda c: c.op(onnx_op, c.xs(0, 2))


CONVERTERS.update({op: _binary(to) for op, to in _BINARY.items()})


@converter("NotEqual")
def not_equal(c: Call) -> str:
    """Whether two values differ."""
    return c.op("Xor", c.xs(0, 2)) if c.dtype() == "bool" else c.op("Not", [c.op("Equal", c.xs(0, 2))])


@converter("LogicalNot")
def logical_not(c: Call) -> str:
    """Not."""
    return c.op("Not", [c.x()])


@converter("ApproximateEqual")
def approximate_equal(c: Call) -> str:
    """Whether two values are closer than the tolerance."""
    distance = c.op("Abs", [c.op("Sub", c.xs(0, 2))])
    return c.op("Less", [distance, c.number(c.real("tolerance", 1e-5), distance)])


@converter("IsNan")
def is_nan(c: Call) -> str:
    """Whether a value is no number."""
    return c.op("IsNaN", [c.x()])


@converter("IsInf")
def is_inf(c: Call) -> str:
    """Whether a value is infinite."""
    return c.op("IsInf", [c.x()])


@converter("IsFinite")
def is_finite(c: Call) -> str:
    """Whether a value is a number and not infinite."""
    return c.op("Not", [c.op("Or", [c.op("IsNaN", [c.x()]), c.op("IsInf", [c.x()])])])


@converter("SelectV2")
def select_v2(c: Call) -> str:
    """Elements of one value or another, everything broadcast."""
    return c.op("Where", c.xs(0, 3))


@converter("Select")
def select(c: Call) -> str:
    """As SelectV2, but a vector of conditions chooses whole rows."""
    decides, x, y = c.xs(0, 3)
    if c.rank(0) == 1 and c.rank(1) > 1:
        decides = c.reshape(decides, [c.shape(0)[0]] + [1] * (c.rank(1) - 1))
    return c.op("Where", [decides, x, y])


@converter("Where")
def where(c: Call) -> str | Sparse:
    """The places of all elements that are not zero, a row each."""
    x = c.x()
    mask = x if c.dtype() == "bool" else c.op("Not", [c.op("Equal", [x, c.number(0, x)])])
    places = Sparse("places", mask)
    return places if c.b.is_static(mask) and c.b.const(mask) is None else c.entries(places)


@converter("InTopK", "InTopKV2")
def in_top_k(c: Call) -> str:
    """Whether fewer than k classes are more probable than the target."""
    predictions, targets = c.xs(0, 2)
    k = int(c.scalar(2)) if len(c) > 2 else c.whole("k")
    rows = c.reshape(c.cast(targets, "int64"), [-1, 1])
    own = c.op("GatherElements", [predictions, rows], axis=1)
    better = c.cast(c.op("Greater", [predictions, own]), "int32")
    count = c.op("ReduceSum", [better, np.array([1])], keepdims=0)
    return c.op("Less", [count, np.int32(k)])
