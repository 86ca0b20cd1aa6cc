"""Values in DRAM: model inputs, constants and outputs, and values written out so that they can be read another way."""
from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from compiler.layout import Tensor
from compiler.lowering.context import Context
from compiler.lowering.dma import dma_tensor
from compiler.lowering.move import cast
from compiler.lowering.transpose import load_rows, rows_last, turns
from isa.dtypes import dtype as dtype_of
from isa.lang import DramView
from isa.word import PARTITIONS

#: a piece of a value that is reordered takes this part of SBUF at most, so that several are under way
PIECES = 16
#: channels side by side, up to which engine copies take them apart: each reads at that many elements' distance
WOVEN = 16


def load_value(ctx: Context, name: str) -> Tensor:
    """Bring a DRAM value (model input or constant) on chip in its natural layout."""
    box = ctx.windows.get(name, {})
    source = dram_view(ctx, name)
    cut = tuple(slice(*box[a]) if a in box else slice(None) for a in range(len(source.shape)))
    pads, fill = ctx.border(name, ctx.pads.get(name, {})), ctx.fills.get(name, 0.0)
    same = source.dtype.name == ctx.storage(name) or "cast" in ctx.target.dma.ops
    tensor = ctx.alloc(
        ctx.window_shape(name),
        natural_axes(ctx, name),
        ctx.storage(name) if same else source.dtype.name,
        pads=pads,
        fill=fill,
        origin={a: lo for a, (lo, _) in box.items()},
        name=name,
    )
    load_rows(ctx, tensor, source[cut] if box else source)
    return tensor if same else cast(ctx, tensor, ctx.storage(name), pads=pads, fill=fill)


def natural_axes(ctx: Context, name: str) -> tuple[int, ...]:
    """Channels on partitions for images, tokens (all leading axes) up to rank 3, else the largest leading axis."""
    shape = ctx.shape(name)
    if name in ctx.images:
        return (1,)
    lead = [i for i in range(len(shape) - 1) if shape[i] > 1]
    if len(shape) > 3 and lead:
        return (max(lead, key=lambda i: (shape[i], i)),)
    return tuple(lead)


def dram_view(ctx: Context, name: str) -> DramView:
    """The value in DRAM in its storage type, axes perhaps permuted in memory."""
    return ctx.dram[name] if name in ctx.dram else dram_value(ctx, name)


def dram_value(ctx: Context, name: str) -> DramView:
    """The value as a row-major DRAM view in its storage type, constants included; values on chip are written out."""
    known = ctx.dram.get(name)
    if known is not None and _row_major(known):
        return known
    array = ctx.graph.const(name)
    if array is not None:
        data = np.ascontiguousarray(to_storage(array, ctx.storage(name)))
        stem = f"{name}.value" if name in ctx.outputs else name  # a known output: its own name is where it goes
        view = ctx.constant(stem, data.reshape(-1)).reshape(array.shape)
    elif known is not None and name not in ctx.tensors:
        view = ctx.scratch(f"{name}.dram", known.shape, known.dtype.name)
        _reorder(ctx, view, known)
    else:
        tensor = ctx.tensor(name)
        view = ctx.scratch(f"{name}.dram", tensor.shape, tensor.dtype).reshape(tensor.shape)
        dma_tensor(ctx, rows_last(ctx, tensor), view, store=True, purpose="relayout")
    ctx.dram[name] = view
    return view


def rows_view(ctx: Context, name: str) -> DramView:
    """The value in DRAM: row-major, or rows of such a value where they lie."""
    cut = ctx.graph.producer(name)
    here = name in ctx.dram and name not in ctx.tensors and cut is not None and cut.op == "Slice"
    return ctx.dram[name] if here and _inner_last(ctx.dram[name]) else dram_value(ctx, name)


def _inner_last(view: DramView) -> bool:
    """Whether the last axis is contiguous."""
    return view.steps[-1] == view.dtype.size


def _reorder(ctx: Context, to: DramView, far: DramView) -> None:
    """to = far in DRAM, by pieces through SBUF where the PE turns what is contiguous on one side only.

    A few channels side by side are taken apart by engine copies: the PE would turn as many rows as there are pixels.
    """
    inner = next((a for a, step in enumerate(far.steps) if step == far.dtype.size and far.shape[a] > 1), None)
    rest = [a for a in range(len(far.shape)) if a != inner]
    if inner is None or inner == len(far.shape) - 1 or not turns(ctx, far.dtype.name, far.count):
        ctx.program.dma(to, far, purpose="relayout")
        return
    rows = [a for a in rest[:-1] if far.shape[a] > 1]
    woven = bool(rows) and far.shape[inner] <= WOVEN and far.steps[-1] == far.shape[inner] * far.dtype.size
    lanes = 2 * far.shape[inner] / PARTITIONS if woven else -(-far.shape[inner] // PARTITIONS)
    if lanes * prod(far.shape[a] for a in rest) * far.dtype.size > ctx.target.sbuf_partition_bytes // PIECES:
        axis = max(rest, key=lambda a: far.shape[a])
        middle = far.shape[axis] // 2
        for cut in (slice(0, middle), slice(middle, None)):
            at = tuple(cut if a == axis else slice(None) for a in range(len(far.shape)))
            _reorder(ctx, to[at], far[at])
        return
    if woven:
        dma_tensor(ctx, _apart(ctx, far, rows), to, store=True, purpose="relayout")
        return
    tensor = ctx.alloc(far.shape, (inner,), far.dtype.name, name="reordered")
    load_rows(ctx, tensor, far, purpose="relayout")
    dma_tensor(ctx, tensor, to, store=True, purpose="relayout")


def _apart(ctx: Context, far: DramView, rows: Sequence[int]) -> Tensor:
    """The value on chip with `rows` on partitions and the other axes row-major; it is loaded as it lies in DRAM."""
    order = sorted(range(len(far.shape)), key=lambda a: -far.steps[a])
    near = ctx.alloc([far.shape[a] for a in order], [k for k, a in enumerate(order) if a in rows], far.dtype.name,
                     name="woven")
    dma_tensor(ctx, near, far.permute(*order), store=False, purpose="relayout")
    return cast(ctx, near.transpose([order.index(a) for a in range(len(order))]), far.dtype.name)


def _row_major(view: DramView) -> bool:
    inner = view.dtype.size
    for size, step in zip(reversed(view.shape), reversed(view.steps), strict=True):
        if size > 1 and step != inner:
            return False
        inner *= size
    return True


def to_storage(array: np.ndarray, dtype: str) -> np.ndarray:
    """A constant in its on-chip type; 64-bit integers saturate to 32 bits (masks use the extremes of int64)."""
    want = dtype_of(dtype).numpy
    if array.dtype == want:
        return array
    if array.dtype.kind in "iu" and want.kind in "iu":
        info = np.iinfo(want)
        return np.clip(array, info.min, info.max).astype(want)
    return array.astype(want)


def store_output(ctx: Context, name: str, dram: DramView) -> None:
    """Write a model output; its innermost axis is brought to the free dimension first, so that rows are contiguous."""
    if name not in ctx.tensors and ctx.dram.get(name) is dram:
        return  # written where it belongs already
    if ctx.graph.const(name) is not None or name not in ctx.tensors:
        source = rows_view(ctx, name)
        if source.dtype.name == dram.dtype.name or "cast" in ctx.target.dma.ops:
            ctx.program.dma(dram, source, purpose="store")
            return
        ctx.windows = {}  # all of it, whatever the last visit computed
    tensor = rows_last(ctx, ctx.tensor(name))
    if tensor.dtype != dram.dtype.name:
        tensor = cast(ctx, tensor, dram.dtype.name)
    dma_tensor(ctx, tensor, dram, store=True, purpose="store")
