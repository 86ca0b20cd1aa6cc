"""Sparse tensors that come from dense ones: kept as the dense tensor and a mask, so that their sizes are known.

Columns of features write a dense tensor as the places and the values of its entries, drop entries that mean nothing,
fill rows that are empty, look the distinct values up and combine what is found by rows (tensorflow/python/
feature_column, embedding_lookup_sparse). All of it is ordinary arithmetic on the dense tensor and its mask.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import CONVERTERS
from compiler.frontends.tensorflow.values import Sparse, Value, Variable

_ELEMENTWISE = frozenset({"Cast", "Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual", "LogicalNot",
                          "LogicalAnd", "FloorMod", "Maximum", "Minimum", "Add", "AddV2", "Sub", "Mul"})
_COMBINED = frozenset({"SparseSegmentMean", "SparseSegmentSum", "SparseSegmentSqrtN"})


def apply(c: Call) -> Value | list[Value] | None:
    """What an operator makes of operands kept so; None where it has to have their entries. Raises: UnsupportedOp."""
    op = c.node.op
    if op in _ELEMENTWISE:
        return _elementwise(c)
    if op in _COMBINED:
        return _combined(c)
    rule = _RULES.get(op)
    return rule(c) if rule else None


def _kinds(c: Call, *kinds: str) -> bool:
    """Whether the first operands are of these kinds, "" for what is not kept so, and of the same tensor."""
    found = list(c.args[: len(kinds)])
    masks = {a.mask for a in found if isinstance(a, Sparse)}
    return [a.kind if isinstance(a, Sparse) else "" for a in found] == list(kinds) and len(masks) == 1


def _sparse(c: Call, index: int) -> Sparse:
    found = c.args[index]
    assert isinstance(found, Sparse)
    return found


def _elementwise(c: Call) -> Value | None:
    kept = [a for a in c.args if isinstance(a, Sparse)]
    if c.node.op == "Cast" and kept[0].kind == "rows":
        return kept[0]
    known = [c.known(k) for k, a in enumerate(c.args) if not isinstance(a, Sparse)]
    if any(a.kind != "values" or a.mask != kept[0].mask for a in kept) or any(k is None or k.size != 1 for k in known):
        return None
    dense = Call(c.importer, c.scope, c.node, [a.dense if isinstance(a, Sparse) else a for a in c.args])
    return replace(kept[0], dense=str(CONVERTERS[c.node.op](dense)))


def _where(c: Call) -> Value | None:
    found = _sparse(c, 0)
    return Sparse("chosen", found.mask, found.dense) if found.kind == "values" and c.b.dtype(found.dense) == "bool" \
        else None


def _reshape(c: Call) -> Value | None:
    return c.args[0] if _kinds(c, "chosen") and c.known(1) is not None and c.ints(1) == [-1] else None


def _gather_nd(c: Call) -> Value | None:
    if not _kinds(c, "", "places") or not isinstance(c.args[0], str):
        return None
    mask = _sparse(c, 1).mask
    return Sparse("values", mask, c.args[0]) if c.shape(0) == c.b.shape(mask) else None


def _gather(c: Call) -> Value | None:
    if c.whole("batch_dims") or (len(c) > 2 and int(c.scalar(2))):
        return None
    if _kinds(c, "places", "chosen") or _kinds(c, "values", "chosen"):
        found, chosen = _sparse(c, 0), _sparse(c, 1)
        key = f"{chosen.mask}\0{chosen.dense}"
        both = c.importer.masks.get(key) or c.op("And", [chosen.mask, chosen.dense])
        c.importer.masks[key] = both
        return replace(found, mask=both)
    if not _kinds(c, "", "unique"):
        return None
    from compiler.frontends.tensorflow.gathering import variable

    of, table = _sparse(c, 1), c.args[0]
    rows = variable(c, table) if isinstance(table, Variable) else c.x(0)
    safe = c.op("Where", [of.mask, of.dense, c.number(0, of.dense)])
    return Sparse("looked up", of.mask, c.op("Gather", [rows, safe], axis=0))


def _reshaped(c: Call) -> list[Value] | None:
    """SparseReshape to the shape it has: places, shape."""
    if not _kinds(c, "places"):
        return None
    shape, old = c.ints(2), c.b.shape(_sparse(c, 0).mask)
    new = [d if d != -1 else int(np.prod(old)) // -int(np.prod(shape)) for d in shape]
    return [c.args[0], c.b.add(np.array(new, np.int64))] if tuple(new) == old else None


def _filled(c: Call) -> list[Value] | None:
    """SparseFillEmptyRows: places, values, which rows were empty."""
    if not _kinds(c, "places", "values") or len(c.b.shape(_sparse(c, 0).mask)) != 2:
        return None
    found = _sparse(c, 1)
    some = c.op("ReduceMax", [c.cast(found.mask, "int32"), np.array([1])], keepdims=1)
    empty = c.op("Equal", [some, np.int32(0)])
    first = np.arange(c.b.shape(found.mask)[1]) == 0
    mask = c.op("Or", [found.mask, c.op("And", [empty, first])])
    dense = c.op("Where", [found.mask, found.dense, c.x(3)])
    return [Sparse("places", mask), Sparse("values", mask, dense), c.op("Squeeze", [empty, np.array([1])])]


def _rows(c: Call) -> Value | None:
    """places[:, 0]"""
    masks = [c.whole(f"{n}_mask") for n in ("ellipsis", "new_axis", "shrink_axis")]
    if not _kinds(c, "places") or masks != [0, 0, 2] or not c.whole("begin_mask") & c.whole("end_mask") & 1 \
            or c.ints(1)[1:] != [0]:
        return None
    return Sparse("rows", _sparse(c, 0).mask)


def _unique(c: Call) -> list[Value] | None:
    found = _sparse(c, 0)
    return [replace(found, kind="unique"), replace(found, kind="numbers")] if found.kind == "values" else None


def _combined(c: Call) -> Value | None:
    if not _kinds(c, "looked up", "numbers", "rows") or len(c.b.shape(_sparse(c, 0).mask)) != 2:
        return None
    found, axis = _sparse(c, 0), np.array([1])
    there = c.cast(c.op("Unsqueeze", [found.mask, np.array([2])]), c.b.dtype(found.dense))
    total = c.op("ReduceSum", [c.op("Mul", [found.dense, there]), axis], keepdims=0)
    if c.node.op == "SparseSegmentSum":
        return total
    count = c.op("ReduceSum", [there, axis], keepdims=0)
    return c.op("Div", [total, c.op("Sqrt", [count]) if c.node.op == "SparseSegmentSqrtN" else count])


def _dense(c: Call) -> Value | None:
    """SparseToDense: places, shape, values, default."""
    if len(c) < 4 or not isinstance(c.args[2], Sparse) or c.known(1) is None:
        return None
    places, values = c.args[0], c.args[2]
    if not isinstance(places, Sparse) or (places.kind, values.kind) != ("places", "values") \
            or places.mask != values.mask or tuple(c.ints(1)) != c.b.shape(places.mask):
        return None
    return c.op("Where", [values.mask, values.dense, c.x(3)])


_RULES: dict[str, Callable[[Call], Value | list[Value] | None]] = {
    "Where": _where, "Reshape": _reshape, "GatherNd": _gather_nd, "Gather": _gather, "GatherV2": _gather,
    "ResourceGather": _gather, "SparseReshape": _reshaped, "SparseFillEmptyRows": _filled, "StridedSlice": _rows,
    "Unique": _unique, "UniqueV2": _unique, "SparseToDense": _dense,
}
