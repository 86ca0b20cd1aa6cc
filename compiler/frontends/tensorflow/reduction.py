"""Sums, means and extremes over dimensions, running sums, and where extremes are."""
from __future__ import annotations

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import converter
from compiler.frontends.tensorflow.shapes import backwards

_REDUCTIONS = {
    "Sum": "ReduceSum", "Mean": "ReduceMean", "Max": "ReduceMax", "Min": "ReduceMin", "Prod": "ReduceProd",
    "EuclideanNorm": "ReduceL2",
}


@converter(*_REDUCTIONS)
def reduce(c: Call) -> str:
    """Over the dimensions that the second operand lists; none changes nothing."""
    return _reduced(c, _REDUCTIONS[c.node.op], c.x())


def _reduced(c: Call, onnx_op: str, x: str) -> str:
    axes = np.array(sorted(c.axis(a, c.rank()) for a in c.ints(1)), np.int64)
    return c.op(onnx_op, [x, axes], keepdims=int(c.flag("keep_dims")), noop_with_empty_axes=1)


@converter("All", "Any")
def all_any(c: Call) -> str:
    """Whether all, or any, are true."""
    small = _reduced(c, "ReduceMin" if c.node.op == "All" else "ReduceMax", c.cast(c.x(), "int32"))
    return c.cast(small, "bool")


@converter("ArgMax", "ArgMin")
def arg_extreme(c: Call) -> str:
    """Where the largest or smallest entry is, the first of equal ones."""
    axis = c.axis(int(c.scalar(1)), c.rank()) if len(c) > 1 else 0
    return c.cast(c.op(c.node.op, [c.x()], axis=axis, keepdims=0), c.kind("output_type", 9))


@converter("Cumsum")
def cumsum(c: Call) -> str:
    """Running sums along a dimension."""
    return c.op("CumSum", [c.x(), np.int64(c.axis(int(c.scalar(1)), c.rank()))], exclusive=int(c.flag("exclusive")),
                reverse=int(c.flag("reverse")))


@converter("Cumprod")
def cumprod(c: Call) -> str:
    """Running products along a dimension, doubling what each entry covers."""
    axis = c.axis(int(c.scalar(1)), c.rank())
    x = backwards(c, c.x(), [axis]) if c.flag("reverse") else c.x()
    size, one = c.shape()[axis], c.number(1, c.x())
    if c.flag("exclusive"):
        x = _shifted(c, x, axis, 1, size, one)
    reach = 1
    while reach < size:
        x = c.op("Mul", [x, _shifted(c, x, axis, reach, size, one)])
        reach *= 2
    return backwards(c, x, [axis]) if c.flag("reverse") else x


def _shifted(c: Call, x: str, axis: int, by: int, size: int, fill: np.ndarray) -> str:
    """Entries moved towards the end, `fill` in their place."""
    pads = [0] * (2 * c.rank())
    pads[axis] = by
    part = c.op("Slice", [x, np.array([0]), np.array([size - by]), np.array([axis])])
    return c.op("Pad", [part, np.array(pads), fill])


@converter("SegmentSum", "SegmentSumV2", "UnsortedSegmentSum")
def segment_sum(c: Call) -> str:
    """Rows added up by the segment each belongs to, as a product with a matrix of ones and zeros."""
    known = c.known(1)
    if len(c) > 2:
        count = int(c.scalar(2))
    elif known is not None:
        count = int(known.max(initial=-1)) + 1
    else:
        raise c.refuse("the number of segments is known at run time only")
    rows, tail = c.shape(1), list(c.shape(0)[c.rank(1) :])
    n = int(np.prod(rows))
    segments = c.reshape(c.x(1), [1, n])
    numbers = np.arange(count).astype(c.dtype(1)).reshape(count, 1)
    chosen = c.cast(c.op("Equal", [segments, numbers]), c.dtype(0))
    total = c.op("MatMul", [chosen, c.reshape(c.x(0), [n, int(np.prod(tail))])])
    return c.reshape(total, [count, *tail])
