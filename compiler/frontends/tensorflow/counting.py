"""Numbers of buckets, and how often each whole number comes."""
from __future__ import annotations

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import converter


@converter("Bucketize")
def bucketize(c: Call) -> str:
    """How many of the boundaries, which rise, are not above each element."""
    bounds = np.array(list(c.node.attr["boundaries"].list.f), np.float32)
    x = c.x() if c.is_float() else c.cast(c.x(), "float32")
    if not len(bounds):
        return c.op("Expand", [np.int32(0), np.array(c.shape(), np.int64)])
    passed = c.op("GreaterOrEqual", [c.op("Unsqueeze", [x, np.array([-1])]), c.number(bounds, x)])
    return c.op("ReduceSum", [c.cast(passed, "int32"), np.array([-1])], keepdims=0)


@converter("DenseBincount", "Bincount")
def bincount(c: Call) -> str:
    """How often each number below `size` comes in a vector, or in each row; with weights, the sum of those.

    Inputs: numbers, size, weights (empty for none). `Bincount` takes all elements as one vector.
    """
    size, numbers = int(c.scalar(1)), c.x(0)
    weights = c.x(2) if c.shape(2) != (0,) else ""
    if c.node.op == "Bincount":
        numbers = c.reshape(numbers, [-1])
        weights = weights and c.reshape(weights, [-1])
    if not 0 <= size <= 1 << 20:
        raise c.refuse(f"{size} different numbers")
    out = c.dtype(2)
    hits = c.cast(c.op("Equal", [c.op("Unsqueeze", [numbers, np.array([-1])]),
                                 np.arange(size).astype(c.b.dtype(numbers))]), out)
    if c.flag("binary_output"):
        return c.op("ReduceMax", [hits, np.array([-2])], keepdims=0)
    if weights:
        hits = c.op("Mul", [hits, c.op("Unsqueeze", [weights, np.array([-1])])])
    return c.op("ReduceSum", [hits, np.array([-2])], keepdims=0)
