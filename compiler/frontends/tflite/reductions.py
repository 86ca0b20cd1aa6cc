"""Reductions, extremes' positions, sums along an axis."""

from __future__ import annotations

import numpy as np

from compiler.frontends.tflite.convert import Call, converter

_REDUCTIONS = {"MEAN": "ReduceMean", "SUM": "ReduceSum", "REDUCE_PROD": "ReduceProd", "REDUCE_MAX": "ReduceMax",
               "REDUCE_MIN": "ReduceMin"}


def _axes(c: Call) -> np.ndarray:
    rank = len(c.shape(0))
    return np.unique(np.array([c.axis(a, rank) for a in c.ints(1, "the axes of a reduction")], np.int64))


@converter(*_REDUCTIONS)
def _reduce(c: Call) -> None:
    keep = int(c.option("keep_dims", False))
    c.give(c.b.op(_REDUCTIONS[c.op.type], [c.real(0), _axes(c)], keepdims=keep, noop_with_empty_axes=1))
