"""Packing for layers with few input channels: kernel rows share the partitions with channels, one product for all.

Partition kh * C + c of the packed tensor holds channel c shifted up by kernel row kh. The shifted copies are made
by the DMA that loads the image, straight from DRAM; the convolution that remains has a kernel of one row over kh * C
channels.
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from compiler.ir import Node
from compiler.layout import Tensor
from compiler.lowering.context import MOST_FREE, Context
from compiler.lowering.conv_plan import Phase, Tap
from compiler.lowering.dram import dram_value
from isa.lang import DramView
from isa.word import PARTITIONS

#: with more channels than this the unpacked rows are filled well enough
MOST_CHANNELS = 32


def packable(ctx: Context, node: Node) -> bool:
    """A dense 2-D convolution of a value that is still in DRAM, whose kernel rows times channels fit the partitions."""
    source = node.inputs[0]
    shape = ctx.shape(source)
    if not ctx.packing or node.op != "Conv" or len(shape) != 4 or node.attrs.get("group", 1) != 1:
        return False
    rows = node.attrs["kernel_shape"][0] * shape[1]
    in_dram = source in ctx.dram and source not in ctx.tensors
    direct = ctx.precision.matmul(ctx.storage(source)) == ctx.storage(source)
    return in_dram and direct and shape[1] <= MOST_CHANNELS and node.attrs["kernel_shape"][0] > 1 and rows <= PARTITIONS


def pack(ctx: Context, node: Node, phase: Phase, weight: np.ndarray) -> tuple[Tensor, Phase, np.ndarray]:
    """The packed input of the current window, and the phase and weight [Cout, kh * C, 1, kw] that read it."""
    source = node.inputs[0]
    batch, channels, height, width = ctx.shape(source)
    box = ctx.windows.get(node.output, {})
    n0, n1 = box.get(0, (0, batch))
    o0, o1 = box.get(2, (0, ctx.shape(node.output)[2]))
    stride, dilation = node.attrs["strides"][0], node.attrs["dilations"][0]
    top = node.attrs["pads"][0]
    kernel = node.attrs["kernel_shape"][0]
    rows = (o1 - o0 - 1) * stride + 1
    first = o0 * stride - top  # input row under kernel row 0 of the first output row
    lanes = kernel * channels
    base = _lane(ctx.chunk, lanes)
    taps, pads = _taps(phase, width)
    x = ctx.alloc(
        (n1 - n0, lanes, rows, width), (1,), ctx.storage(source), pmap=np.arange(base, base + lanes, dtype=np.int32),
        pads={3: pads}, origin={0: n0, 2: o0 * stride}, name=f"{source}.packed",
    )
    _fill(ctx, x, dram_value(ctx, source)[n0:n1], first, dilation, kernel, channels, height)
    shape = weight.shape
    packed = weight.transpose(0, 2, 1, 3).reshape(shape[0], lanes, 1, shape[3])
    return x, replace(phase, taps=taps), packed


def _taps(phase: Phase, width: int) -> tuple[tuple[Tap, ...], tuple[int, int]]:
    """The taps of one kernel row, and the fill they need beside each image row.

    No fill when some tap stays inside the row for every output: it comes first and covers all columns, the others then
    add to the columns they reach. Image rows without fill between them are contiguous, which the DMA needs to be fast.
    """
    taps = [replace(t, kernel=(0, t.kernel[1]), offset=(0, t.offset[1])) for t in phase.taps if t.kernel[0] == 0]
    span = (phase.count[1] - 1) * phase.in_step[1]
    inside = [t for t in taps if 0 <= t.offset[1] <= width - 1 - span]
    if inside:
        return (inside[0], *(t for t in taps if t is not inside[0])), (0, 0)
    left = max(0, -min(t.offset[1] for t in taps))
    right = max(0, span + max(t.offset[1] for t in taps) - (width - 1))
    return tuple(taps), (left, right)


def _lane(chunk: int, lanes: int) -> int:
    """First partition: successive chunks use different partitions, hence different DMA engines and PE rows."""
    return 32 * (chunk % 4) if lanes <= 32 else 64 * (chunk % 2) if lanes <= 64 else 0


def _fill(
    ctx: Context, x: Tensor, image: DramView, first: int, dilation: int, kernel: int, channels: int, height: int
) -> None:
    """Zero the rows some kernel row reads beyond the image, then one DMA for the kernel rows that are wholly inside."""
    rows = x.shape[2]
    starts = [first + k * dilation for k in range(kernel)]
    over = max(0, -starts[0]), max(0, starts[-1] + rows - height)
    base = int(x.positions()[0])
    row_stride = x.axes[2][0].stride
    for at, count in ((0, min(rows, over[0])), (max(0, rows - over[1]), min(rows, over[1]))):
        for n in range(x.shape[0]) if count else ():
            begin = x.offset - x.pads.get(3, (0, 0))[0] + n * x.axes[0][0].stride + at * row_stride
            for cut in range(0, count * row_stride, MOST_FREE["sbuf"]):
                size = min(MOST_FREE["sbuf"], count * row_stride - cut)
                view = x.tiles[0].ap(begin + cut, [1], [size], partition=base, partitions=x.shape[1])
                ctx.program.memset(view, 0.0, engine=ctx.pick(("gpsimd", "vector"), size))
    inside = [s >= 0 and s + rows <= height for s in starts]
    for k, start in enumerate(starts):
        if inside[k] and k and inside[k - 1]:
            continue
        many = next((j for j in range(k, kernel) if not inside[j]), kernel) - k if inside[k] else 1
        lo, hi = max(0, start), min(height, start + rows)
        if hi > lo:
            _load(ctx, x, image, k, many, (lo, hi), lo - start, dilation, channels)


def _load(
    ctx: Context,
    x: Tensor,
    image: DramView,
    k: int,
    many: int,
    span: tuple[int, int],
    at: int,
    dilation: int,
    channels: int,
) -> None:
    """Kernel rows k .. k+many-1: partitions (k + j) * C + c from image rows span + j * dilation."""
    n_step, c_step, h_step, w_step = image.steps
    width = image.shape[3]
    rows = span[1] - span[0]
    base = int(x.positions()[0]) + k * channels
    for n in range(x.shape[0]):
        far = image.ap(
            n * n_step + span[0] * h_step, [dilation * h_step, c_step, h_step, w_step], [many, channels, rows, width]
        )
        near = x.tiles[0].ap(
            x.offset + n * x.axes[0][0].stride + at * x.axes[2][0].stride, [x.axes[2][0].stride, 1], [rows, width],
            partition=base, partitions=many * channels,
        )
        ctx.program.dma(near, far, purpose="load")

