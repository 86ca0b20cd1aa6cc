"""Operators on sequences of several lengths: data (time, batch, ...) or (batch, time, ...), lengths (batch,)."""

from __future__ import annotations

import numpy as np

from compiler.frontends.mxnet.call import Call, operator


def _uses_length(c: Call) -> bool:
    return c.flag("use_sequence_length") and len(c) > 1


@operator("SequenceMask", "_npx_sequence_mask")
def sequence_mask(c: Call) -> str:
    """`value` behind the end of each sequence."""
    if not _uses_length(c):
        return c.x
    axis, rank, steps = c.axis("axis", 0), c.rank(), c.shape()[c.axis("axis", 0)]
    if axis > 1:
        raise c.wrong("axis", axis, "0 or 1")
    lengths = c.reshape(c[1], [-1 if k == 1 - axis else 1 for k in range(rank)])
    time = np.arange(steps).reshape([-1 if k == axis else 1 for k in range(rank)])
    inside = c.do("Less", c.like(lengths, time), lengths)
    return c.do("Where", inside, c.x, c.like(c.x, c.real("value", 0.0)))


@operator("SequenceLast")
def _sequence_last(c: Call) -> str:
    axis, shape = c.axis("axis", 0), c.shape()
    if not _uses_length(c):
        return c.do("Gather", c.x, np.int64(shape[axis] - 1), axis=axis)
    by_batch = c.x if axis == 1 else c.transpose(c.x, [1, 0, *range(2, len(shape))])
    last = c.do("Sub", c.cast(c[1], "int64"), np.int64(1))
    return c.do("GatherND", by_batch, c.reshape(last, [-1, 1]), batch_dims=1)


@operator("SequenceReverse")
def _sequence_reverse(c: Call) -> str:
    axis = c.axis("axis", 0)
    if _uses_length(c):
        return c.do("ReverseSequence", c.x, c.cast(c[1], "int64"), time_axis=axis, batch_axis=1 - axis)
    return c.do("Slice", c.x, np.array([-1]), np.array([-c.shape()[axis] - 1]), np.array([axis]), np.array([-1]))
