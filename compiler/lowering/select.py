"""Constant selections of elements: slices as views, anything else by transfers from a row-major copy in DRAM."""
from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod

import numpy as np

from compiler.errors import UnsupportedOp
from compiler.layout import F, Tensor
from compiler.lowering.context import Context
from compiler.lowering.dma import dma_tensor
from compiler.lowering.dram import natural_axes
from compiler.lowering.move import copy
from isa.lang import DramView

#: a selection may fall into at most this many evenly spaced pieces, each a transfer of its own
MOST_PIECES = 8192
#: ... and along the free dimension into so many engine copies, each of which costs as much as a transfer's start
MOST_COPIES = 64


def cut_axis(ctx: Context, t: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """Indices start .. stop-1 of an axis: a view, of a plain copy where the axis is several atoms that forbid it."""
    if (start, stop) == (0, t.shape[axis]):
        return t
    cut = t.slice_axis(axis, start, stop)
    if cut is None:
        cut = _plain(ctx, t).slice_axis(axis, start, stop)
    assert cut is not None  # a plain axis is one atom
    return cut


def _plain(ctx: Context, t: Tensor) -> Tensor:
    """A copy in which every axis is one atom, channels or tokens on partitions."""
    axis = 1 if len(t.shape) >= 4 else 0
    wide = [a for a in range(len(t.shape)) if t.shape[a] > 1]
    out = ctx.alloc(t.shape, (axis,) if axis in wide else tuple(wide[:1]), t.dtype, name="plain")
    copy(ctx, out, t)
    return out


def pick(ctx: Context, name: str, x: Tensor, picks: Sequence[np.ndarray]) -> Tensor:
    """out[i, j, ...] = x[picks[0][i], picks[1][j], ...] in the shape of `name`: a view where evenly spaced."""
    out: Tensor | None = x
    for axis, index in enumerate(picks):
        if out is None or (len(index) == x.shape[axis] and (np.diff(index) == 1).all()):
            continue
        step = int(index[1] - index[0]) if len(index) > 1 else 1
        if step < 1 or (len(index) > 2 and (np.diff(index) != step).any()):
            out = None
        else:
            out = out.slice_axis(axis, int(index[0]), int(index[-1]) + 1, step)
    if out is None:
        out = _pick_free(ctx, name, x, picks)
    if out is None:
        scratch = ctx.scratch(f"{name}.rows", x.shape, x.dtype)
        dma_tensor(ctx, x, scratch, store=True, purpose="relayout")
        out = pick_dram(ctx, name, scratch, picks)
    final = out.reshape(ctx.shape(name))
    if final is None:
        final = _plain(ctx, out).reshape(ctx.shape(name))
    assert final is not None  # plain axes regroup freely
    return final


def _pick_free(ctx: Context, name: str, x: Tensor, picks: Sequence[np.ndarray]) -> Tensor | None:
    """`pick` by engine copies, where only axes along the free dimension are selected from; else None."""
    chosen = [a for a, p in enumerate(picks) if len(p) != x.shape[a] or (np.diff(p) != 1).any()]
    free = x.plain and x.reachable and all(x.space_of(a) in (F, "") for a in chosen)
    if not free or pieces_of_lists([picks[a] for a in chosen]) > MOST_COPIES:
        return None
    pmap = x.pmap.reshape([x.shape[a] for a in x.p_axes()])
    out = ctx.alloc([len(p) for p in picks], x.p_axes(), x.dtype, pmap=pmap, name=name)
    for pieces in itertools.product(*(_pieces(picks[a]) for a in chosen)):
        to, source = out, x
        for axis, (at, first, step, size) in zip(chosen, pieces, strict=True):
            near, far = to.slice_axis(axis, at, at + size), strided(source, axis, first, size, step)
            assert near is not None  # an axis of a new tensor is one atom
            to, source = near, far
        copy(ctx, to, source)
    return out


def strided(x: Tensor, axis: int, first: int, count: int, step: int) -> Tensor:
    """x read at first, first + step, ... along one axis of one atom; the step may be 0 or negative."""
    if count == 1 or step == 0:
        one = x.slice_axis(axis, first, first + 1)
        wide = one.expand([*x.shape[:axis], count, *x.shape[axis + 1 :]]) if one is not None else None
        assert wide is not None
        return wide
    cut = x.slice_axis(axis, first, first + step * count, step)
    assert cut is not None
    return cut


def pieces_of_lists(picks: Sequence[np.ndarray]) -> int:
    """Evenly spaced pieces into which a selection by one index list per axis falls."""
    return prod(len(_pieces(p)) for p in picks)


def pieces_of_boxes(flat: np.ndarray, most: int) -> int:
    """Pieces into which `gather_dram` cuts these positions; counting ends beyond `most`."""
    _, lists, sums = _per_axis(flat.astype(np.int64))
    if sums:
        return pieces_of_lists(lists)
    axis = next(a for a in range(flat.ndim) if flat.shape[a] > 1)
    count = 0
    for k in range(flat.shape[axis]):
        count += pieces_of_boxes(flat.take([k], axis=axis), most - count)
        if count > most:
            break
    return count


def pick_dram(ctx: Context, name: str, source: DramView, picks: Sequence[np.ndarray]) -> Tensor:
    """`pick` from DRAM, one transfer for each combination of evenly spaced pieces of the index lists."""
    shape = tuple(len(p) for p in picks)
    if shape == ctx.shape(name):
        axes = natural_axes(ctx, name)
    else:
        axes = (max(range(len(shape)), key=lambda a: shape[a]),)
    out = ctx.alloc(shape, axes, source.dtype.name, name=name)
    steps = [p * s for p, s in zip(picks, source.steps, strict=True)]
    _transfer(ctx, name, out, source, 0, steps, [0])
    return out


def gather_dram(ctx: Context, name: str, source: DramView, flat: np.ndarray) -> Tensor:
    """Load positions `flat` (element numbers into a row-major DRAM tensor) into the natural layout of `name`."""
    out = ctx.alloc(flat.shape, natural_axes(ctx, name), source.dtype.name, name=name)
    _boxes(ctx, name, out, source.reshape(source.count), flat.astype(np.int64) * source.dtype.size, [0])
    return out


def scatter_dram(ctx: Context, name: str, to: DramView, source: DramView, flat: np.ndarray) -> None:
    """to[flat[i, j, ...]] = source[i, j, ...], DRAM to DRAM; `flat` holds element numbers of the row-major `to`."""
    base, lists, sums = _per_axis(flat.astype(np.int64))
    if not sums:
        axis = next(a for a in range(flat.ndim) if flat.shape[a] > 1)
        for k in range(flat.shape[axis]):
            part = source[tuple(slice(k, k + 1) if a == axis else slice(None) for a in range(flat.ndim))]
            scatter_dram(ctx, name, to, part, flat.take([k], axis=axis))
        return
    size = to.dtype.size
    for pieces in itertools.product(*(_pieces(values) for values in lists)):
        start = (base + sum(first for _, first, _, _ in pieces)) * size
        far = to.ap(start, [step * size for *_, step, _ in pieces] or [0], [n for *_, n in pieces] or [1])
        near = source[tuple(slice(at, at + n) for at, _, _, n in pieces)] if pieces else source
        ctx.program.dma(far, near, purpose="store")


def _boxes(ctx: Context, name: str, out: Tensor, source: DramView, far: np.ndarray, count: list[int]) -> None:
    """Fill `out` from byte offsets `far`, cut along outer axes until they are sums of one list per axis."""
    base, lists, sums = _per_axis(far)
    if sums:
        _transfer(ctx, name, out, source, base, lists, count)
        return
    axis = next(a for a in range(far.ndim) if far.shape[a] > 1)
    for k in range(far.shape[axis]):
        cut = out.slice_axis(axis, k, k + 1)
        assert cut is not None  # an axis of a new tensor is one atom
        _boxes(ctx, name, cut, source, far.take([k], axis=axis), count)


def _per_axis(far: np.ndarray) -> tuple[int, list[np.ndarray], bool]:
    """The first entry, one list per axis of distances from it, and whether every entry is the sum of these."""
    base = int(far.reshape(-1)[0])
    lists = [np.moveaxis(far, a, 0).reshape(n, -1)[:, 0] - base for a, n in enumerate(far.shape)]
    total = np.full(far.shape, base, dtype=np.int64)
    for a, values in enumerate(lists):
        total = total + values.reshape([-1 if b == a else 1 for b in range(far.ndim)])
    return base, lists, np.array_equal(total, far)


def _transfer(
    ctx: Context, name: str, out: Tensor, source: DramView, base: int, lists: Sequence[np.ndarray], count: list[int]
) -> None:
    """out[i, j, ...] = the element at byte base + lists[0][i] + lists[1][j] + ...; `count` adds up the pieces."""
    for pieces in itertools.product(*(_pieces(values) for values in lists)):
        count[0] += 1
        if count[0] > MOST_PIECES:
            raise UnsupportedOp(
                "a selection of scattered elements falls into too many transfers", where=name, limit=MOST_PIECES,
                actual=f"more than {MOST_PIECES}", help="select whole rows, or evenly spaced elements",
            )
        cut = out
        for axis, (at, _, _, size) in enumerate(pieces):
            part = cut.slice_axis(axis, at, at + size)
            assert part is not None  # an axis of a new tensor is one atom
            cut = part
        start = base + sum(first for _, first, _, _ in pieces)
        far = source.ap(start, [step for *_, step, _ in pieces] or [0], [n for *_, n in pieces] or [1])
        dma_tensor(ctx, cut, far.reshape(cut.shape), store=False, purpose="load")


def _pieces(values: np.ndarray) -> list[tuple[int, int, int, int]]:
    """(position, first value, step, count) of the longest evenly spaced stretches of a list."""
    out, at = [], 0
    while at < len(values):
        step = int(values[at + 1] - values[at]) if at + 1 < len(values) else 1
        end = at + 1
        while end < len(values) and values[end] - values[end - 1] == step:
            end += 1
        out.append((at, int(values[at]), step, end - at))
        at = end
    return out
