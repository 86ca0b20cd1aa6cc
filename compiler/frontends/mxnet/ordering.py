"""Sorting: the k largest, whole axes in order, and the positions that order them."""

from __future__ import annotations

import numpy as np

from compiler.frontends.mxnet.call import Call, operator
from compiler.frontends.mxnet.reduce import is_numpy


def _sorted(c: Call, x: str, axis: int, count: int, ascending: bool) -> list[str]:
    """The first `count` in order and their positions; of equal ones the earlier comes first."""
    return c.b.ops("TopK", [x, np.array([count])], 2, axis=axis, largest=0 if ascending else 1, sorted=1)


def _flat(c: Call) -> tuple[str, int]:
    """The operand and the axis to sort; without an axis, all elements in a row."""
    if c.attrs.get("axis") == "None":
        return c.reshape(c.x, [-1]), 0
    return c.x, c.axis("axis", -1)


@operator("topk", "_npx_topk")
def _topk(c: Call) -> str | list[str]:
    x, axis = _flat(c)
    size, ascending = c.shape(x)[axis], c.flag("is_ascend")
    count = c.integer("k", 1)
    count = size if count < 1 else count
    if count > size:
        raise c.wrong("k", count, f"at most {size}")
    kind = c.text("ret_typ", "indices", ("value", "indices", "mask", "both"))
    values, places = _sorted(c, x, axis, count, ascending)
    if kind == "mask":
        ones = np.ones(c.shape(places), c.like(x, 0).dtype)
        empty = np.zeros(c.shape(x), ones.dtype)
        return c.reshape(c.do("ScatterElements", empty, places, ones, axis=axis), c.shape())
    indices = c.cast(places, c.type("dtype", "float32"))
    return indices if kind == "indices" else [values, indices]


@operator("sort", "_npi_sort")
def _sort(c: Call) -> list[str]:
    x, axis = _flat(c)
    return _sorted(c, x, axis, c.shape(x)[axis], c.flag("is_ascend", True))


@operator("argsort", "_npi_argsort")
def _argsort(c: Call) -> str:
    x, axis = _flat(c)
    found = _sorted(c, x, axis, c.shape(x)[axis], c.flag("is_ascend", True))[1]
    return c.cast(found, c.type("dtype", "int64" if is_numpy(c) else "float32"))
