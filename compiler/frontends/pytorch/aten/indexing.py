"""Reading and writing by index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.pytorch.aten.creation import filled
from compiler.frontends.pytorch.aten.elementwise import scaled
from compiler.frontends.pytorch.aten.registry import (
    Tensor,
    Value,
    aten,
    axis,
    cast,
    expand,
    ints,
    permute,
    reshape,
    tensor,
    unsqueeze,
    unsupported,
)

_END = 1 << 62
_REDUCTIONS = {"sum": "add", "add": "add", "prod": "mul", "multiply": "mul", "amax": "max", "amin": "min"}


@aten("embedding")
def embedding(b: GraphBuilder, weight: Tensor, indices: Tensor, padding_idx: int = -1,
              scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    return b.op("Gather", [weight, indices], axis=0)


@aten("index_select")
def index_select(b: GraphBuilder, self: Tensor, dim: int, index: Tensor) -> Tensor:
    return b.op("Gather", [self, index if b.rank(index) else reshape(b, index, [1])], axis=axis(b, self, dim))


@aten("gather")
def gather(b: GraphBuilder, self: Tensor, dim: int, index: Tensor, sparse_grad: bool = False) -> Tensor:
    if not b.rank(self):
        return expand(b, self, b.shape(index))
    return b.op("GatherElements", [self, index], axis=axis(b, self, dim))


@aten("take_along_dim")
def take_along_dim(b: GraphBuilder, self: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    if dim is None:
        return b.op("GatherElements", [reshape(b, self, [-1]), reshape(b, indices, [-1])], axis=0)
    place = axis(b, self, dim)
    shapes = [[1 if d == place else n for d, n in enumerate(b.shape(v))] for v in (self, indices)]
    shape = list(np.broadcast_shapes(*shapes))
    wide = []
    for value in (self, indices):
        shape[place] = b.shape(value)[place]
        wide.append(expand(b, value, shape))
    return b.op("GatherElements", wide, axis=place)


@aten("take")
def take(b: GraphBuilder, self: Tensor, index: Tensor) -> Tensor:
    return b.op("Gather", [reshape(b, self, [-1]), index], axis=0)


@aten("nonzero", "argwhere")
def nonzero(b: GraphBuilder, self: Tensor) -> Tensor:
    return b.op("Transpose", [b.op("NonZero", [self])], perm=[1, 0])


@aten("masked_select")
def masked_select(b: GraphBuilder, self: Tensor, mask: Tensor) -> Tensor:
    shape = np.broadcast_shapes(b.shape(self), b.shape(mask))
    flat = reshape(b, expand(b, self, shape), [-1])
    return b.op("Compress", [flat, reshape(b, expand(b, mask, shape), [-1])], axis=0)


def _as_indices(b: GraphBuilder, self: Tensor, indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Masks as the places where they are true; only a mask that is known has as many as one can tell."""
    found: list[Tensor | None] = []
    for index in indices:
        if index is None or b.dtype(index) not in ("bool", "uint8"):
            found.append(index)
            continue
        mask = b.const(index)
        if mask is not None:
            found += [b.add(part) for part in np.nonzero(mask)]
        else:
            places = nonzero(b, index)
            found += [b.op("Gather", [places, np.int64(k)], axis=1) for k in range(b.rank(index))]
    return found + [None] * (b.rank(self) - len(found))


@aten("index", "_unsafe_index")
def index(b: GraphBuilder, self: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    given = list(indices)
    if len(given) == 1 and given[0] and b.dtype(given[0]) == "bool" and b.const(given[0]) is None:
        rank = b.rank(given[0])
        flat = reshape(b, self, [-1, *b.shape(self)[rank:]])
        return b.op("Compress", [flat, reshape(b, given[0], [-1])], axis=0)
    found = _as_indices(b, self, given)
    used = [d for d, i in enumerate(found) if i is not None]
    if len(used) == 1:
        return b.op("Gather", [self, found[used[0]] or ""], axis=used[0])
    together = used == list(range(used[0], used[0] + len(used)))
    order = [*used, *[d for d in range(b.rank(self)) if d not in used]]
    places, shape = _joined(b, [found[d] or "" for d in used])
    result = b.op("GatherND", [permute(b, self, order), places])
    if together and used[0]:  # the places of the indexed dimensions take the result's
        rank, count = len(shape), used[0]
        rest = list(range(rank, rank + b.rank(self) - len(used)))
        result = permute(b, result, [*rest[:count], *range(rank), *rest[count:]])
    return result


def _joined(b: GraphBuilder, indices: Sequence[Tensor]) -> tuple[Tensor, tuple[int, ...]]:
    """Index tensors, broadcast, as one with their parts in a last dimension."""
    if any(not b.is_static(i) for i in indices):
        return b.op("Concat", [b.op("Unsqueeze", [cast(b, i, "int64"), ints(-1)]) for i in indices], axis=-1), (0,)
    shape = np.broadcast_shapes(*[b.shape(i) for i in indices])
    parts = [unsqueeze(b, expand(b, cast(b, i, "int64"), shape), len(shape)) for i in indices]
    return (parts[0] if len(parts) == 1 else b.op("Concat", parts, axis=len(shape))), shape


@aten("index_put", "_unsafe_index_put", "_index_put_impl", "_index_put_impl_")
def index_put(b: GraphBuilder, self: Tensor, indices: Sequence[Tensor | None], values: Tensor,
              accumulate: bool = False, unsafe: bool = False) -> Tensor:
    values = cast(b, values, b.dtype(self))
    first = indices[0] if indices else None
    if len(indices) == 1 and first and b.dtype(first) == "bool" and not accumulate and (
            b.is_static(values) and int(np.prod(b.shape(values))) == 1):
        mask = reshape(b, first, [*b.shape(first), *[1] * (b.rank(self) - b.rank(first))])
        return b.op("Where", [mask, reshape(b, values, []), self])
    found = _as_indices(b, self, indices)
    used = [d for d, i in enumerate(found) if i is not None]
    if not used:
        return expand(b, values, b.shape(self))
    rest = [d for d in range(b.rank(self)) if d not in used]
    together = used == list(range(used[0], used[0] + len(used)))
    places, shape = _joined(b, [found[d] or "" for d in used])
    inner = [b.shape(self)[d] for d in rest]
    if not b.is_static(places):
        raise unsupported("writing to as many places as data decides")
    if together and used[0]:
        lead = len([d for d in rest if d < used[0]])
        wide = expand(b, values, [*inner[:lead], *shape, *inner[lead:]])
        values = permute(b, wide, [*range(lead, lead + len(shape)), *range(lead),
                                   *range(lead + len(shape), len(shape) + len(inner))])
    else:
        values = expand(b, values, [*shape, *inner])
    order = [*used, *rest]
    result = b.op("ScatterND", [permute(b, self, order), places, values], reduction="add" if accumulate else None)
    return permute(b, result, [order.index(d) for d in range(len(order))])


@aten("scatter", "scatter_reduce")
def scatter(b: GraphBuilder, self: Tensor, dim: int, index: Tensor, src: Tensor = "", value: Value | None = None,
            reduce: str | None = None, include_self: bool = True) -> Tensor:
    if not src:
        src = filled(b, b.shape(index), value or 0, b.dtype(self))
    elif b.shape(src) != b.shape(index):
        count = b.rank(src)
        src = b.op("Slice", [src, ints(*[0] * count), ints(*b.shape(index)), ints(*range(count))])
    if reduce == "mean" or not include_self:
        raise unsupported("this form of scattering", reduce)
    reduction = _REDUCTIONS[reduce] if reduce else None
    return b.op("ScatterElements", [self, index, cast(b, src, b.dtype(self))], axis=axis(b, self, dim),
                reduction=reduction)


@aten("scatter_add")
def scatter_add(b: GraphBuilder, self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    return scatter(b, self, dim, index, src, reduce="sum")


def _rows(b: GraphBuilder, self: Tensor, place: int, index: Tensor) -> Tensor:
    """An index of whole slices of one dimension as one of elements."""
    shape = list(b.shape(self))
    shape[place] = int(np.prod(b.shape(index)))
    column = [1] * len(shape)
    column[place] = shape[place]
    return expand(b, reshape(b, index, column), shape)


@aten("index_add")
def index_add(b: GraphBuilder, self: Tensor, dim: int, index: Tensor, source: Tensor, alpha: float = 1) -> Tensor:
    place = axis(b, self, dim)
    return scatter(b, self, place, _rows(b, self, place, index), scaled(b, source, alpha), reduce="sum")


@aten("index_copy")
def index_copy(b: GraphBuilder, self: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    place = axis(b, self, dim)
    return scatter(b, self, place, _rows(b, self, place, index), source)


@aten("index_fill")
def index_fill(b: GraphBuilder, self: Tensor, dim: int, index: Tensor, value: Value) -> Tensor:
    place = axis(b, self, dim)
    return scatter(b, self, place, _rows(b, self, place, index), value=value)


@aten("slice_scatter")
def slice_scatter(b: GraphBuilder, self: Tensor, src: Tensor, dim: int = 0, start: int | None = None,
                  end: int | None = None, step: int = 1) -> Tensor:
    """The tensor with a slice of one dimension replaced: a joint of both, then a choice of places."""
    place = axis(b, self, dim)
    size = b.shape(self)[place]
    begin, stop, step = slice(start, _END if end is None else end, step).indices(size)
    written = range(begin, stop, step)
    shape = list(b.shape(self))
    shape[place] = len(written)
    if not len(written):
        return self
    value = expand(b, cast(b, src, b.dtype(self)), shape)
    if len(written) == size:
        return value
    if step == 1:
        parts = [value]
        if begin:
            parts.insert(0, b.op("Slice", [self, ints(0), ints(begin), ints(place)]))
        if begin + len(written) < size:
            parts.append(b.op("Slice", [self, ints(begin + len(written)), ints(size), ints(place)]))
        return b.op("Concat", parts, axis=place)
    choice = np.arange(size)
    choice[list(written)] = size + np.arange(len(written))
    return b.op("Gather", [b.op("Concat", [self, value], axis=place), choice], axis=place)


@aten("select_scatter")
def select_scatter(b: GraphBuilder, self: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    place = axis(b, self, dim)
    at = index % b.shape(self)[place]
    src = cast(b, src, b.dtype(self))
    wide = unsqueeze(b, src, place) if b.rank(src) == b.rank(self) - 1 else src
    return slice_scatter(b, self, wide, place, at, at + 1)


@aten("searchsorted", "bucketize")
def searchsorted(b: GraphBuilder, self: Value, sorted_sequence: Tensor = "", boundaries: Tensor = "",
                 out_int32: bool = False, right: bool = False, side: str | None = None,
                 sorter: Tensor | None = None) -> Tensor:
    """How many of the sorted numbers are smaller (on the right: or equal)."""
    table = sorted_sequence or boundaries
    if sorter or b.rank(table) != 1:
        raise unsupported("a search in rows of their own")
    x = tensor(b, self, b.dtype(table))
    over = "GreaterOrEqual" if right or side == "right" else "Greater"
    found = cast(b, b.op(over, [unsqueeze(b, x, b.rank(x)), table]), "int64")
    found = b.op("ReduceSum", [found, ints(-1)], keepdims=0)
    return cast(b, found, "int32") if out_int32 else found


@aten("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(b: GraphBuilder, weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False,
                  mode: int = 0, sparse: bool = False, per_sample_weights: Tensor | None = None,
                  include_last_offset: bool = False, padding_idx: int | None = None) -> list[Tensor | None]:
    starts = b.const(offsets)
    if starts is None or mode == 2 or padding_idx not in (None, -1):
        raise unsupported("bags whose sizes depend on data, whose maximum is taken, or that are padded")
    rows = b.op("Gather", [weight, indices], axis=0)
    if per_sample_weights:
        rows = b.op("Mul", [rows, unsqueeze(b, per_sample_weights, 1)])
    count = b.shape(indices)[0]
    ends = [*starts[1:], *([] if include_last_offset else [count])]
    share = np.zeros((len(ends), count), np.float32)
    for row, (s, e) in enumerate(zip(starts, ends)):
        share[row, s:e] = 1 / max(e - s, 1) if mode == 1 else 1
    return [b.op("MatMul", [share, rows]), None, None, None]
