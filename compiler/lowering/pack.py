"""Packing for layers with few input channels: kernel elements share the partitions with channels, one product for all.

Lane k * C + c of the packed tensor holds channel c shifted up by kernel element k of the packed axes: all spatial axes
but the last, which stays whole so that image rows are contiguous; in 1-D the only axis. The shifted copies are made by
the DMA that loads the image, straight from DRAM. Where an axis has more kernel elements than there are partitions left,
`group` neighbouring ones are packed, and the convolution that remains steps over the groups.
"""
from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

import numpy as np

from compiler.ir import Node
from compiler.layout import Tensor, align_dims, blocks
from compiler.lowering.context import MOST_FREE, Context
from compiler.lowering.conv_plan import Phase, Tap
from compiler.lowering.dram import rows_view
from isa.lang import DramView
from isa.program import IN_SBUF
from isa.word import PARTITIONS

#: with more channels than this the unpacked rows are filled well enough
MOST_CHANNELS = 32
#: a part of an image is loaded in so many pieces: the products of the first rows begin while the rest arrives
PIECES = 4


@dataclass(frozen=True)
class Axis:
    """A packed axis: the part of the input that its lanes hold.

    Attributes:
        group: neighbouring kernel elements in the lanes. parts: groups that make up the kernel.
        dilation: input elements between kernel elements. step: input elements between those loaded.
        first: input element under kernel element 0 of the first output. extent: elements each lane holds.
        size: elements the input has.
    """

    group: int
    parts: int
    dilation: int
    step: int
    first: int
    extent: int
    size: int

    def inside(self, k: int) -> tuple[int, int]:
        """Which of the elements that the lanes of kernel element k hold are elements of the input: [lo, hi)."""
        start = self.first + k * self.dilation
        lo = min(self.extent, -(-max(0, -start) // self.step))
        return lo, max(lo, min(self.extent, (self.size - 1 - start) // self.step + 1))

    def runs(self) -> list[tuple[int, int]]:
        """(k, count) of kernel elements to load together: neighbours whose elements are all inside the input."""
        found: list[tuple[int, int]] = []
        whole = [self.inside(k) == (0, self.extent) for k in range(self.group)]
        for k in range(self.group):
            if k and whole[k] and whole[k - 1]:
                found[-1] = (found[-1][0], found[-1][1] + 1)
            else:
                found.append((k, 1))
        return found


def packable(ctx: Context, node: Node) -> bool:
    """A dense convolution with few channels of a value that is still in DRAM and a kernel longer than its last axis."""
    source = node.inputs[0]
    channels = ctx.shape(source)[1]
    if not ctx.packing or node.op != "Conv" or node.attrs.get("group", 1) != 1 or channels > MOST_CHANNELS:
        return False
    stored = ctx.storage(source)
    if source not in ctx.dram or source in ctx.tensors or ctx.precision.matmul(stored) != stored:
        return False
    direct = ctx.dram[source].dtype.name == stored or "cast" in ctx.target.dma.ops
    return direct and prod(_groups(node.attrs["kernel_shape"], channels)) > 1


def _groups(kernel: Sequence[int], channels: int) -> list[int]:
    """Kernel elements in the lanes per packed axis, inner axes first; equal groups where an axis does not fit."""
    room = PARTITIONS // channels
    groups: list[int] = []
    for size in reversed(_packed(kernel)):
        parts = -(-size // room)
        groups.insert(0, -(-size // parts))
        room //= groups[0]
    return groups


def _packed(per_axis: Sequence[int]) -> Sequence[int]:
    """The entries of the packed axes: all but the last, unless it is the only one."""
    return per_axis[: max(1, len(per_axis) - 1)]


def pack(ctx: Context, node: Node, phase: Phase, weight: np.ndarray) -> tuple[Tensor, Phase, np.ndarray]:
    """The packed input of the current window, and the phase and weight [Cout, lanes, parts..., kw] that read it."""
    source = node.inputs[0]
    batch, channels, *sizes = ctx.shape(source)
    box = ctx.windows.get(node.output, {})
    n0, n1 = box.get(0, (0, batch))
    spans = [box.get(d + 2, (0, n)) for d, n in enumerate(ctx.shape(node.output)[2:])]
    axes = _axes(node, _groups(node.attrs["kernel_shape"], channels), spans, sizes)
    lanes = prod(a.group for a in axes) * channels
    base = _lane(ctx.chunk, lanes)
    steps = [a.step for a in axes]
    in_step = tuple(s // a for s, a in itertools.zip_longest(phase.in_step, steps, fillvalue=1))
    phase = replace(phase, in_step=in_step)
    taps, pads = _taps(phase, axes, sizes)
    x = ctx.alloc(
        (n1 - n0, lanes, *(a.extent for a in axes), *sizes[len(axes) :]), (1,), ctx.storage(source),
        pmap=np.arange(base, base + lanes, dtype=np.int32), pads=pads,
        origin={0: n0, **{d + 2: spans[d][0] * in_step[d] for d in range(len(axes))}}, name=f"{source}.packed",
    )
    _clear(ctx, x, axes)
    image = rows_view(ctx, source)
    _load(ctx, x, image[n0:n1], axes, PIECES if _is_part(ctx, source, image) else 1)
    return x, replace(phase, taps=taps), lanes_of(weight, [a.group for a in axes])


def _is_part(ctx: Context, source: str, image: DramView) -> bool:
    """Whether a stage computes some rows only; a whole image that is large is loaded by visits."""
    cut = ctx.graph.producer(source)
    return image.tensor.space == IN_SBUF or (cut is not None and bool(cut.attrs.get("rows")))


def _axes(
    node: Node, groups: Sequence[int], spans: Sequence[tuple[int, int]], sizes: Sequence[int]
) -> list[Axis]:
    """The packed axes of the window `spans` of the result.

    What strides skip is left out where it is contiguous in no lane: on all axes but the innermost packed one.
    """
    axes = []
    for d, group in enumerate(groups):
        kernel, stride, dilation = (node.attrs[k][d] for k in ("kernel_shape", "strides", "dilations"))
        lo, hi = spans[d]
        parts = -(-kernel // group)
        step = stride if parts == 1 and d < len(groups) - 1 else 1
        extent = ((hi - lo - 1) * stride + (parts - 1) * group * dilation) // step + 1
        axes.append(Axis(group, parts, dilation, step, lo * stride - node.attrs["pads"][d], extent, sizes[d]))
    return axes


def lanes_of(weight: np.ndarray, groups: Sequence[int]) -> np.ndarray:
    """[Cout, C, kernel...] -> [Cout, groups... * C, parts..., rest]; zero beyond the kernel in the last group."""
    cout, channels, *kernel = weight.shape
    count = len(groups)
    parts = [-(-k // g) for k, g in zip(kernel, groups, strict=False)]
    more = [(0, n * g - k) for n, g, k in zip(parts, groups, kernel, strict=False)]
    weight = np.pad(weight, [(0, 0), (0, 0), *more, *[(0, 0)] * (len(kernel) - count)])
    weight = weight.reshape(cout, channels, *(n for pair in zip(parts, groups, strict=True) for n in pair),
                            *kernel[count:])
    order = [0, *(3 + 2 * d for d in range(count)), 1, *(2 + 2 * d for d in range(count))]
    weight = weight.transpose(*order, *range(len(order), weight.ndim))
    return weight.reshape(cout, -1, *parts, *kernel[count:])


def _taps(
    phase: Phase, axes: Sequence[Axis], sizes: Sequence[int]
) -> tuple[tuple[Tap, ...], dict[int, tuple[int, int]]]:
    """The taps that remain, and the fill they need beside each image row.

    No fill when some tap stays inside the row for every output: it comes first and covers all columns, the others then
    add to the columns they reach. Image rows without fill between them are contiguous, which the DMA needs to be fast.
    """
    count = len(axes)
    row = [t for t in phase.taps if not any(t.kernel[:count])]  # one per kernel element of the last axis, if unpacked
    groups = list(itertools.product(*(range(a.parts) for a in axes)))
    taps = [
        Tap((*g, *t.kernel[count:]), (*(j * a.group * a.dilation for j, a in zip(g, axes, strict=True)),
                                      *t.offset[count:]))
        for g in groups for t in row
    ]
    if count == len(sizes):
        return tuple(taps), {}
    width = sizes[-1]
    span = (phase.count[-1] - 1) * phase.in_step[-1]
    inside = [t for t in taps if 0 <= t.offset[-1] <= width - 1 - span]
    if inside:
        return (inside[0], *(t for t in taps if t is not inside[0])), {}
    left = max(0, -min(t.offset[-1] for t in taps))
    right = max(0, span + max(t.offset[-1] for t in taps) - (width - 1))
    return tuple(taps), {count + 2: (left, right)}


def _lane(chunk: int, lanes: int) -> int:
    """First partition: successive chunks use different partitions, hence different DMA engines and PE rows."""
    return 32 * (chunk % 4) if lanes <= 32 else 64 * (chunk % 2) if lanes <= 64 else 0


def _clear(ctx: Context, x: Tensor, axes: Sequence[Axis]) -> None:
    """Zero what some lane reads beyond the input."""
    strides = [_stride(x, d + 2) for d in range(len(axes))]
    base, left = int(x.positions()[0]), x.pads.get(len(x.shape) - 1, (0, 0))[0]
    for d, axis in enumerate(axes):
        before, after = axis.inside(0)[0], axis.extent - axis.inside(axis.group - 1)[1]
        outer = [(a.extent, s) for a, s in zip(axes[:d], strides, strict=False)]
        for at, count in ((0, before), (axis.extent - after, after)):
            for n in range(x.shape[0]) if count else ():
                begin = x.offset - left + n * _stride(x, 0) + at * strides[d]
                for (start,), (dims,) in blocks(align_dims([[*outer, (count * strides[d], 1)]]), 4, MOST_FREE["sbuf"]):
                    view = x.tiles[0].ap(
                        begin + start, [s for _, s in dims], [n for n, _ in dims], partition=base,
                        partitions=x.shape[1],
                    )
                    ctx.program.memset(view, 0.0, engine=ctx.pick(("gpsimd", "vector"), prod(n for n, _ in dims)))


def _load(ctx: Context, x: Tensor, image: DramView, axes: Sequence[Axis], pieces: int) -> None:
    """One DMA per image for neighbouring kernel elements of the innermost packed axis that are wholly inside.

    Args:
        pieces: near-equal ranges of the first packed axis, each loaded by DMAs of its own.
    """
    *outer, inner = axes
    channels = image.shape[1]
    ends = [axes[0].extent * k // pieces for k in range(pieces + 1)]
    for (low, high), lead in itertools.product(pairwise(ends), itertools.product(*(range(a.group) for a in outer))):
        first = 0
        for a, k in zip(outer, lead, strict=True):
            first = first * a.group + k
        for k, many in inner.runs():
            at = [a.inside(j) for a, j in zip(axes, (*lead, k), strict=True)]
            at[0] = max(at[0][0], low), min(at[0][1], high)
            if all(hi > lo for lo, hi in at):
                _load_lanes(ctx, x, image, axes, (*lead, k), (first * inner.group + k) * channels, many, at)


def _load_lanes(
    ctx: Context,
    x: Tensor,
    image: DramView,
    axes: Sequence[Axis],
    kernel: Sequence[int],
    lane: int,
    many: int,
    at: Sequence[tuple[int, int]],
) -> None:
    """`many` kernel elements from `kernel` on, whose first lane is `lane`: elements `at` of each packed axis."""
    n_step, c_step, *steps = image.steps
    channels, rest = image.shape[1], range(len(axes) + 2, len(image.shape))
    far_at = near_at = 0
    for d, (a, k, (lo, _)) in enumerate(zip(axes, kernel, at, strict=True)):
        far_at += (a.first + k * a.dilation + lo * a.step) * steps[d]
        near_at += lo * _stride(x, d + 2)
    sizes = [*(hi - lo for lo, hi in at), *(image.shape[d] for d in rest)]
    far_steps = [*(a.step * s for a, s in zip(axes, steps, strict=False)), *(image.steps[d] for d in rest)]
    near_steps = [*(_stride(x, d + 2) for d in range(len(axes))), *(1 for _ in rest)]
    for n in range(x.shape[0]):
        far = image.ap(
            n * n_step + far_at, [axes[-1].dilation * steps[len(axes) - 1], c_step, *far_steps],
            [many, channels, *sizes],
        )
        near = x.tiles[0].ap(
            x.offset + n * _stride(x, 0) + near_at, near_steps, sizes,
            partition=int(x.positions()[0]) + lane, partitions=many * channels,
        )
        ctx.program.dma(near, far, purpose="load")


def _stride(x: Tensor, axis: int) -> int:
    return x.axes[axis][0].stride
