"""Reductions, positions of extremes, running sums, the largest elements."""

from __future__ import annotations

import numpy as np

from compiler.frontends.onnx.types import tensor_type
from compiler.frontends.tflite.convert import Call, converter

_REDUCTIONS = {"MEAN": "ReduceMean", "SUM": "ReduceSum", "REDUCE_PROD": "ReduceProd", "REDUCE_MAX": "ReduceMax",
               "REDUCE_MIN": "ReduceMin"}
_TRUTHS = {"REDUCE_ANY": "ReduceMax", "REDUCE_ALL": "ReduceMin"}
_EXTREMES = {"ARG_MAX": "ArgMax", "ARG_MIN": "ArgMin"}


def _axes(c: Call) -> np.ndarray:
    rank = len(c.shape(0))
    return np.unique(np.array([c.axis(a, rank) for a in c.ints(1, "the axes of a reduction")], np.int64))


@converter(*_REDUCTIONS)
def _reduce(c: Call) -> None:
    keep = int(c.option("keep_dims", False))
    c.give(c.b.op(_REDUCTIONS[c.op.type], [c.real(0), _axes(c)], keepdims=keep, noop_with_empty_axes=1))


@converter(*_TRUTHS)
def _truth(c: Call) -> None:
    keep = int(c.option("keep_dims", False))
    numbers = c.b.op("Cast", [c.stored(0)], to=tensor_type("int32"))
    found = c.b.op(_TRUTHS[c.op.type], [numbers, _axes(c)], keepdims=keep, noop_with_empty_axes=1)
    c.store(c.b.op("Cast", [found], to=tensor_type("bool")))


@converter(*_EXTREMES)
def _extreme(c: Call) -> None:
    axis = c.axis(c.ints(1, "an axis")[0], len(c.shape(0)))
    found = c.b.op(_EXTREMES[c.op.type], [c.real(0)], axis=axis, keepdims=0)
    c.store(c.b.op("Cast", [found], to=tensor_type(c.result().dtype)))


@converter("CUMSUM")
def _cumsum(c: Call) -> None:
    axis = np.array(c.axis(c.ints(1, "an axis")[0], len(c.shape(0))), np.int64)
    c.give(c.b.op("CumSum", [c.real(0), axis], exclusive=int(c.option("exclusive", False)),
                  reverse=int(c.option("reverse", False))))


@converter("TOPK_V2")
def _top_k(c: Call) -> None:
    """Along the last axis; of equal elements the first."""
    count = np.array(c.ints(1, "how many elements are wanted")[:1], np.int64)
    values, places = c.b.ops("TopK", [c.real(0), count], 2, axis=-1, largest=1, sorted=1)
    c.store(c.quantised(values, c.result(0)), 0)
    c.store(c.b.op("Cast", [places], to=tensor_type(c.result(1).dtype)), 1)
