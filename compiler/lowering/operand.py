"""Bringing the operands of a pointwise operator into one layout: constants, broadcasts, transposes."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.layout import Atom, F, Tensor, runs_of
from compiler.lowering.constants import const_like
from compiler.lowering.context import Context
from compiler.lowering.dma import dma_tensor
from compiler.lowering.dram import dram_view, natural_axes
from compiler.lowering.move import apply, like, move_dma
from compiler.lowering.transpose import relayout
from isa.lang import View


def operand_like(ctx: Context, name: str, ref: Tensor, dtype: str | None = None) -> Tensor:
    """The value broadcast to `ref`'s logical shape at `ref`'s partitions (as far as engines can then combine them)."""
    array = ctx.graph.const(name)
    if array is not None:
        kind = dtype or ("fp32" if array.dtype.kind == "f" else ctx.storage(name))
        return const_like(ctx, name, _in_window(array, ref), ref, kind)
    rank = len(ref.shape)
    lead = rank - len(ctx.shape(name))
    box = {
        a - lead: (lo, lo + ref.shape[a]) for a, lo in ref.origin.items() if a >= lead and ctx.shape(name)[a - lead] > 1
    }
    t = ctx.part(name, box)
    for _ in range(lead):
        t = t.squeeze_insert(0)
    if _missing(t, ref):
        return _replicated(ctx, name, ref)
    wanted = tuple(a for a in ref.p_axes())
    if t.p_axes() != wanted or not _plain(t):
        t = relayout(ctx, t, wanted)
    if runs_of(ref.positions(), t.positions(), any_order=True) is None:
        pmap = ref.pmap.reshape([ref.shape[a] for a in wanted])
        near = ctx.alloc(t.shape, wanted, t.dtype, pmap=pmap, origin=t.origin, name=f"{name}.near")
        move_dma(ctx, near, t)
        t = near
    out = t.expand(ref.shape)
    assert out is not None
    return out


def _plain(t: Tensor) -> bool:
    """Whether no logical axis lies partly on partitions and partly on the free dimension."""
    return all(t.space_of(a) != "PF" for a in range(len(t.shape)))


def _in_window(array: np.ndarray, ref: Tensor) -> np.ndarray:
    """A constant cut to the window `ref` covers."""
    lead = len(ref.shape) - array.ndim
    for axis, lo in ref.origin.items():
        if axis >= lead and array.shape[axis - lead] > 1:
            array = array.take(range(lo, lo + ref.shape[axis]), axis=axis - lead)
    return array


def _missing(t: Tensor, ref: Tensor) -> bool:
    """Whether `ref` has a partition axis along which `t` would have to be repeated."""
    return any(t.shape[a] == 1 for a in ref.p_axes())


def _replicated(ctx: Context, name: str, ref: Tensor) -> Tensor:
    """The value repeated over partitions, through DRAM (a DMA may read one row many times), in the window of `ref`."""
    view = dram_view(ctx, name)
    lead = len(ref.shape) - len(view.shape)
    shape = (1,) * lead + tuple(view.shape)
    steps = [0 if n == 1 else step for n, step in zip(shape, (0,) * lead + tuple(view.steps), strict=True)]
    compact = [n if a in ref.p_axes() or shape[a] > 1 else 1 for a, n in enumerate(ref.shape)]
    far = view.ap(sum(lo * steps[a] for a, lo in ref.origin.items()), steps, compact)
    pmap = ref.pmap.reshape([ref.shape[a] for a in ref.p_axes()])
    out = ctx.alloc(compact, ref.p_axes(), ctx.storage(name), pmap=pmap, name=name)
    dma_tensor(ctx, out, far, store=False, purpose="relayout")
    full = out.expand(ref.shape)
    assert full is not None
    return full


def reference(ctx: Context, inputs: Sequence[str], shape: tuple[int, ...], out_name: str) -> Tensor:
    """The operand whose layout the result takes: the first computed one of its shape, else a natural layout."""
    box = ctx.windows.get(out_name, {})
    for name in inputs:
        if name and ctx.graph.const(name) is None and ctx.shape(name) == ctx.shape(out_name):
            t = ctx.part(name, box)
            if _plain(t) and runs_of(t.positions(), any_order=True) is not None:
                return t
    pos_axes = natural_axes(ctx, out_name)
    from compiler.lowering.context import default_positions

    p_axes = tuple(a for a in pos_axes if shape[a] > 1)
    pmap = default_positions([shape[a] for a in p_axes])
    axes = tuple((Atom(n, "P"),) if a in p_axes else (Atom(n, F, 0),) for a, n in enumerate(shape))
    return Tensor((), ctx.storage(out_name), axes, pmap, origin={a: lo for a, (lo, _) in box.items()})


def result(ctx: Context, name: str, ref: Tensor) -> Tensor:
    """A tensor for the result at `ref`'s partitions."""
    pmap = ref.pmap.reshape([ref.shape[a] for a in ref.p_axes()]) if ref.reachable else None
    return ctx.output(name, ref.p_axes(), pmap=pmap)


def as_column(view: View) -> View | None:
    """The [P, 1] view of an operand that is constant along the free dimension, else None."""
    if any(step for size, step in zip(view.sizes, view.steps, strict=True) if size > 1):
        return None
    return view.ap(0, [1], [1])


__all__ = ["as_column", "like", "operand_like", "reference", "result"]


def inverted(ctx: Context, t: Tensor) -> Tensor:
    """1 / t in fp32: a divisor where the engines do not divide."""
    out = like(ctx, t, "fp32", "inverse")

    def emit(dst: View, src: list[View], n: int) -> None:
        ctx.charge("vector", 8 * n / ctx.target.engines["vector"].clock_ghz)
        ctx.program.reciprocal(dst, src[0])

    apply(ctx, out, [t], emit)
    return out
