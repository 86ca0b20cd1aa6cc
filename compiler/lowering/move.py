"""Moving values on chip without changing them: engine copies, casts, pads, transfers between partitions."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np

from compiler.layout import P, Tensor, align_dims, blocks, runs_of
from compiler.lowering.context import MOST_FREE, Context
from compiler.lowering.dma import dma_tensor
from isa.lang import View

Emit = Callable[[View, list[View], int], None]


def pointwise(ctx: Context, out: Tensor, ins: Sequence[Tensor], emit: Emit, most: int = MOST_FREE["sbuf"]) -> bool:
    """Call `emit(dst, sources, elements)` for blocks covering `out`; False when the layouts do not meet.

    Sources have `out`'s logical shape, broadcast axes as F atoms of stride 0, and the same P index space.
    """
    if not all(same_partition_axes(out, t) for t in ins):
        return False
    cut = runs_of(out.positions(), *(t.positions() for t in ins), any_order=True)
    if cut is None:
        return False
    dims = align_dims([_free_dims(t) for t in (out, *ins)])
    for runs in cut:
        for offsets, parts in blocks(dims, 4, most):
            views = [t.view(r, d, o) for t, r, d, o in zip((out, *ins), runs, parts, offsets, strict=True)]
            emit(views[0], views[1:], prod(s for s, _ in parts[0]))
    return True


def apply(ctx: Context, out: Tensor, ins: Sequence[Tensor], emit: Emit, most: int = MOST_FREE["sbuf"]) -> None:
    """`pointwise`, with the operands whose layout does not meet that of `out` first moved next to it."""
    if not pointwise(ctx, out, ins, emit, most):
        near = [t if _beside(out, t) else _moved(ctx, out, t) for t in ins]
        done = pointwise(ctx, out, near, emit, most)
        assert done, "results are at positions that engines reach"


def _beside(out: Tensor, t: Tensor) -> bool:
    return same_partition_axes(out, t) and np.array_equal(out.positions(), t.positions())


def _moved(ctx: Context, out: Tensor, t: Tensor) -> Tensor:
    near = like(ctx, out, t.dtype, "moved")
    move_dma(ctx, near, t)
    return near


def addressable(ctx: Context, t: Tensor) -> Tensor:
    """`t`, moved when it holds positions that no engine access may start at (a slice of channels)."""
    if t.reachable:
        return t
    near = ctx.alloc(t.shape, t.p_axes(), t.dtype, origin=t.origin, name="reachable")
    move_dma(ctx, near, t)
    return near


def same_partition_axes(a: Tensor, b: Tensor) -> bool:
    """Whether the P indices of two tensors of one shape (F broadcasts apart) mean the same elements in order."""
    for one, other in zip(a.axes, b.axes, strict=True):
        sizes = [[x.size for x in axis if x.space == P and x.size > 1] for axis in (one, other)]
        if prod(sizes[0]) != prod(sizes[1]):
            return False
        mixed = [[(x.size, x.space) for x in axis if x.size > 1] for axis in (one, other)]
        spaces = {space for axis in mixed for _, space in axis}
        if len(spaces) > 1 and mixed[0] != mixed[1]:
            return False
    return True


def _free_dims(tensor: Tensor) -> list[tuple[int, int]]:
    return [(a.size, a.stride) for a in tensor.free_atoms()]


def like(ctx: Context, src: Tensor, dtype: str, name: str = "", pads: Mapping[int, tuple[int, int]] | None = None,
         fill: float = 0.0) -> Tensor:
    """A new tensor with the P positions of `src` and a compact free dimension."""
    shape, p_axes = src.shape, src.p_axes()
    if any(len({a.space for a in src.axes[i] if a.size > 1}) > 1 for i in p_axes):
        return _like_atoms(ctx, src, dtype, name)
    pmap = src.pmap.reshape([shape[a] for a in p_axes])
    return ctx.alloc(shape, p_axes, dtype, pmap=pmap, pads=pads, fill=fill, origin=src.origin, name=name)


def _like_atoms(ctx: Context, src: Tensor, dtype: str, name: str) -> Tensor:
    """`like` when one logical axis is partly on P and partly on F: allocate over the atoms, then regroup."""
    atoms = [a for axis in src.axes for a in axis]
    sizes = [a.size for a in atoms]
    flat = ctx.alloc(sizes, [i for i, a in enumerate(atoms) if a.space == P and a.size > 1], dtype,
                     pmap=src.pmap.reshape([a.size for a in atoms if a.space == P and a.size > 1]), name=name)
    out = flat.reshape(src.shape)
    assert out is not None
    return out


def copy(ctx: Context, dst: Tensor, src: Tensor, engines: Sequence[str] = ("scalar", "vector", "gpsimd")) -> None:
    """dst = src (cast on write), by engine copies where partitions allow, else by DMA."""
    def emit(out: View, sources: list[View], n: int) -> None:
        ctx.program.tensor_copy(out, sources[0], engine=ctx.pick(engines, n))

    if not pointwise(ctx, dst, [src], emit):
        move_dma(ctx, dst, src)


def move_dma(ctx: Context, dst: Tensor, src: Tensor) -> None:
    """dst = src between any two partition placements of one type, SBUF to SBUF by DMA."""
    if dst.dtype != src.dtype:
        src = cast(ctx, src, dst.dtype)
    if not same_partition_axes(dst, src):
        scratch = ctx.scratch("relayout", src.shape, src.dtype)
        dma_tensor(ctx, src, scratch, store=True, purpose="relayout")
        dma_tensor(ctx, dst, scratch, store=False, purpose="relayout")
        return
    if _scattered(src) and src.reachable and not _scattered(dst):
        src = cast(ctx, src, src.dtype)  # side by side: a DMA moves what is apart element by element
    dims = align_dims([_free_dims(dst), _free_dims(src)])
    for to, fro in runs_of(dst.positions(), src.positions(), legal=False, any_order=True) or []:
        for offsets, parts in blocks(dims, 3, MOST_FREE["sbuf"]):
            ctx.program.dma(dst.view(to, parts[0], offsets[0]), src.view(fro, parts[1], offsets[1]), purpose="relayout")


def _scattered(t: Tensor) -> bool:
    """Whether the innermost elements along F are neither adjacent nor all the same one."""
    inner = [a for a in t.free_atoms() if a.size > 1][-1:]
    return any(a.stride not in (0, 1) for a in inner)


def cast(
    ctx: Context, src: Tensor, dtype: str, *, pads: Mapping[int, tuple[int, int]] | None = None, fill: float = 0.0
) -> Tensor:
    """A copy of `src` in another type (and perhaps with pads)."""
    src = addressable(ctx, src)
    out = like(ctx, src, dtype, "cast", pads=pads, fill=fill)
    copy(ctx, out, src)
    return out


def padded(ctx: Context, src: Tensor, need: Mapping[int, tuple[int, int]], fill: float) -> Tensor:
    """`src` itself when it already has at least these pads with that fill, else a padded copy."""
    wanted = {a: b for a, b in need.items() if b != (0, 0)}
    enough = all(src.pads.get(a, (0, 0))[0] >= b[0] and src.pads.get(a, (0, 0))[1] >= b[1] for a, b in wanted.items())
    if enough and (not wanted or src.fill == fill):
        return src
    return cast(ctx, src, src.dtype, pads=wanted, fill=fill)


def psum_view(ctx: Context, rows: int, columns: int, name: str = "acc") -> View:
    """One PSUM accumulator of `columns` fp32 elements per partition (at most one bank)."""
    assert columns * 4 <= ctx.target.psum_bank_bytes
    return ctx.program.psum((rows, columns), "fp32", name=name)
