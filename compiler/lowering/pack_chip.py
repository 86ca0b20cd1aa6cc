"""Packing of values on chip: DMAs copy an image to further partitions, shifted by a kernel element each.

The copies keep the layout of the image with the zero fill around it, so that every shift, along any axis, is one
contiguous piece of each partition.
"""
from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from compiler.ir import Node
from compiler.layout import Atom, F, P, Tensor
from compiler.lowering.context import MOST_FREE, Context, itemsize
from compiler.lowering.conv_plan import Phase, Tap
from compiler.lowering.pack import MOST_CHANNELS, lanes_of
from isa.word import PARTITIONS

# The products wait for the copies, and loads of later layers queue behind them. Tuned on networks of many kinds: start
# latencies that the copies cost, whatever their size; and what a copy costs as a multiple of its time.
WAIT, DELAY = 4, 2
#: a copy takes this part of SBUF at most
ROOM = 4


def pack_chip(
    ctx: Context, node: Node, x: Tensor, phase: Phase, weight: np.ndarray
) -> tuple[Tensor, Phase, np.ndarray]:
    """The image, phase and weight of a dense convolution with kernel elements in the lanes, where that pays."""
    groups = _groups(weight.shape[2:], x.shape[1])
    span = _span(x)
    if not ctx.packing or x.shape[1] > MOST_CHANNELS or span is None:
        return x, phase, weight
    taps_less = len(phase.taps) - len(phase.taps) // prod(groups)
    if not _pays(ctx, x.dtype, taps_less * prod(ctx.window_shape(node.output)) // weight.shape[0], span[1]):
        return x, phase, weight
    dilations = node.attrs["dilations"]
    shifts = [sum(k * d * _stride(x, a + 2) for a, (k, d) in enumerate(zip(ks, dilations, strict=True)))
              for ks in itertools.product(*map(range, groups))]
    taps = tuple(
        Tap(tuple(k // g for k, g in zip(t.kernel, groups, strict=True)), t.offset)
        for t in phase.taps if all(k % g == 0 for k, g in zip(t.kernel, groups, strict=True))
    )
    return _shifted(ctx, x, span, shifts), replace(phase, taps=taps), lanes_of(weight, groups)


def _groups(kernel: Sequence[int], channels: int) -> tuple[int, ...]:
    """Kernel elements in the lanes per axis: the most that divide the kernel, so that no lane reads past the fill."""
    divisors = [[g for g in range(1, k + 1) if k % g == 0] for k in kernel]
    fitting = [c for c in itertools.product(*divisors) if prod(c) * channels <= PARTITIONS]
    return max(fitting, key=prod, default=(1,) * len(kernel))


def _span(x: Tensor) -> tuple[int, int] | None:
    """First element and extent of an image with its fill; None unless it is one piece of neighbouring partitions."""
    on_partitions = (1,) if x.shape[1] > 1 else ()
    if x.p_axes() != on_partitions or not x.plain or len(x.tiles) > 1 or (np.diff(x.positions()) != 1).any():
        return None
    begin, extent = x.offset, 1
    for axis in (a for a in reversed(range(len(x.shape))) if a != 1):
        before, after = x.pads.get(axis, (0, 0))
        size = before + x.shape[axis] + after
        if size > 1 and _stride(x, axis) != extent:
            return None
        begin -= before * extent
        extent *= size
    return (begin, extent) if extent <= MOST_FREE["sbuf"] else None


def _pays(ctx: Context, dtype: str, columns: int, extent: int) -> bool:
    """Whether the PE is well faster by `columns` less than the DMA engines, all at once, are busy with the copies."""
    target, dma = ctx.target, ctx.target.dma
    saved = columns * target.cycles_per_row[dtype] / target.engines["tensor"].clock_ghz
    copied = extent * itemsize(dtype) * dma.partitions_per_engine
    busy = copied * (1 / dma.bytes_per_ns + dma.t0_ns / dma.packet_bytes)
    fits = extent * itemsize(dtype) <= target.sbuf_partition_bytes // ROOM
    return fits and saved > WAIT * dma.start_latency_ns + DELAY * busy


def _shifted(ctx: Context, x: Tensor, span: tuple[int, int], shifts: Sequence[int]) -> Tensor:
    """Channel c shifted by shifts[k] at partition k * C + c."""
    begin, extent = span
    channels, base = x.shape[1], int(x.positions()[0])
    lanes = len(shifts) * channels
    tile = ctx.program.sbuf((lanes, extent), x.dtype, name="packed")
    for k, shift in enumerate(shifts):
        size = extent - shift
        near = tile.ap(0, [1], [size], partition=k * channels, partitions=channels)
        far = x.tiles[0].ap(begin + shift, [1], [size], partition=base, partitions=channels)
        ctx.program.dma(near, far, purpose="relayout")
    axes = tuple((Atom(lanes, P),) if a == 1 else axis for a, axis in enumerate(x.axes))
    return replace(x, tiles=(tile,), axes=axes, pmap=np.arange(lanes, dtype=np.int32), offset=x.offset - begin)


def _stride(x: Tensor, axis: int) -> int:
    return next((a.stride for a in x.axes[axis] if a.space == F), 0)
