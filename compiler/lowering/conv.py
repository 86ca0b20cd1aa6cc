"""Convolution and transposed convolution, 1-D to 3-D, any group, stride, dilation, padding, as sums of matrix products.

Channels are on partitions. Each kernel tap is one product over 128 input channels whose moving operand is a strided
window of the padded input: no im2col copy. A transposed convolution is a set of such convolutions, one per phase.
Grouped and depthwise kernels become block-diagonal stationary matrices; blocks that are structurally zero are skipped.
"""
from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from compiler.ir import Graph, Node
from compiler.layout import F, Run, Tensor, merge_dims
from compiler.lowering.context import Context
from compiler.lowering.conv_plan import (
    Phase,
    Strip,
    Tap,
    column_blocks,
    conv_phases,
    dense_kernel,
    out_runs,
    pads_needed,
    strips,
    transposed_phases,
)
from compiler.lowering.epilogue import Epilogue, residual_inputs
from compiler.lowering.kernel import Blocks, RunTimeKernel, run_time_kernel
from compiler.lowering.move import cast, padded, psum_view
from compiler.lowering.pack import pack, packable
from compiler.lowering.pack_chip import pack_chip
from compiler.lowering.stationary import Block, Stationary
from compiler.lowering.transpose import relayout
from isa.lang import View
from isa.target import Target

#: spatial axes: with images and channels as many as access patterns have dimensions
MOST_AXES = 3


def conv_condition(graph: Graph, node: Node, target: Target) -> str:
    """Why this convolution has no lowering, "" when it has one."""
    if len(graph.shape(node.inputs[0])) > MOST_AXES + 2:
        return "kernels over more than three axes"
    return ""


def lower_conv(ctx: Context, node: Node) -> None:
    """Conv or ConvTranspose: x [N, C, ...], constant or computed w, epilogue."""
    name = node.output
    transposed = node.op == "ConvTranspose"
    whole = ctx.shape(name)
    phases = (transposed_phases if transposed else conv_phases)(node, whole[2:])
    weight: np.ndarray | RunTimeKernel | None = ctx.graph.const(node.inputs[1])
    if isinstance(weight, np.ndarray) and packable(ctx, node):
        x, phases[0], weight = pack(ctx, node, phases[0], weight)
    else:
        x = conv_input(ctx, node, phases)
        if isinstance(weight, np.ndarray) and not transposed and node.attrs.get("group", 1) == 1:
            x, phases[0], weight = pack_chip(ctx, node, x, phases[0], weight)
    if weight is None:
        weight = run_time_kernel(ctx, node, x, transposed)
    box = ctx.windows.get(name, {})
    residuals = {i: ctx.part(node.inputs[i], box) for i in residual_inputs(node)}
    out = ctx.output(name, (1,), pmap=_positions(ctx, node, x, residuals))
    residuals = {i: _match(ctx, r, out) for i, r in residuals.items()}
    tail = Epilogue.of(ctx, node, out, 1, residuals)
    for number, phase in enumerate(phases):
        key = f"{node.name}.{number}" if number else node.name
        convolve(ctx, key, x, weight, out, phase, node.attrs.get("group", 1), transposed, tail)
    ctx.tensors[name] = out


def conv_input(ctx: Context, node: Node, phases: Sequence[Phase]) -> Tensor:
    """The input on chip, channels on partitions, in the PE's type, with the zero fill the taps read."""
    x = ctx.tensor(node.inputs[0])
    x = relayout(ctx, x, (1,))
    need = pads_needed(phases, ctx.shape(node.inputs[0])[2:])
    pe = ctx.precision.matmul(x.dtype)
    if pe != x.dtype:
        key = ("operand", id(x), pe)
        if key not in ctx.cache:
            wanted = ctx.border(node.inputs[0], ctx.pads.get(node.inputs[0], need))
            ctx.cache[key] = (cast(ctx, x, pe, pads=wanted), x)
        x = ctx.cache[key][0]
    return padded(ctx, x, ctx.border(node.inputs[0], need), 0.0)


def _positions(ctx: Context, node: Node, x: Tensor, residuals: dict[int, Tensor]) -> np.ndarray | None:
    """Where output channels go: with the residual, else (depthwise) with the input, else dense."""
    for residual in residuals.values():
        if residual.p_axes() == (1,) and residual.plain and residual.reachable:
            return residual.pmap
    cout = ctx.shape(node.output)[1]
    if node.attrs.get("group", 1) > 1 and cout == x.shape[1] and x.pmap.ndim == 1 and x.reachable:
        return x.pmap
    return None


def _match(ctx: Context, residual: Tensor, out: Tensor) -> Tensor:
    """The residual at `out`'s positions."""
    if np.array_equal(residual.positions(), out.positions()) and residual.p_axes() == out.p_axes():
        return residual
    from compiler.lowering.move import copy, like

    moved = like(ctx, out, residual.dtype, "residual")
    copy(ctx, moved, residual)
    return moved


def convolve(
    ctx: Context,
    key: str,
    x: Tensor,
    weight: np.ndarray | RunTimeKernel,
    out: Tensor,
    phase: Phase,
    group: int,
    transposed: bool,
    tail: Epilogue,
) -> None:
    """Accumulate every tap of one phase block by block and write each block through the epilogue."""
    pe = x.dtype
    ins, outs = strips(x), strips(out)
    stationary: Stationary | Blocks
    if isinstance(weight, RunTimeKernel):
        plan, stationary = weight.plan(ins, outs, phase)
    else:
        plan, stationary = _weights(ctx, key, weight, ins, outs, phase, group, transposed, pe)
    span = out.shape[2:]
    first = [out.origin.get(d + 2, 0) for d in range(len(span))]
    grid = _grid(phase, first, span)
    if grid is None:
        return
    begin, counts = grid
    shift = out.origin.get(0, 0) - x.origin.get(0, 0)
    for n0, n1, box in column_blocks(out.shape[0], counts, ctx.target.psum_bank_bytes // 4):
        base = [b + lo for b, (lo, _) in zip(begin, box, strict=True)]
        sizes = [hi - lo for lo, hi in box]
        for strip, blocks in zip(outs, plan, strict=True):
            columns = (n1 - n0) * prod(sizes)
            acc = psum_view(ctx, strip.hi, columns)
            _accumulate(ctx, acc, x, strip, blocks, stationary, phase, base, sizes, (n0, n1), ins, shift)
            _finish(ctx, acc, out, strip, phase, first, base, sizes, (n0, n1), tail, columns)


def _grid(phase: Phase, first: Sequence[int], span: Sequence[int]) -> tuple[list[int], list[int]] | None:
    """Range of the phase's output counter whose outputs fall in the window [first, first + span)."""
    begin, counts = [], []
    for a, s, n, lo, size in zip(phase.start, phase.step, phase.count, first, span, strict=True):
        j0 = max(0, -(-(lo - a) // s))
        j1 = min(n, -(-(lo + size - a) // s))
        if j1 <= j0:
            return None
        begin.append(j0)
        counts.append(j1 - j0)
    return begin, counts


def _weights(
    ctx: Context,
    key: str,
    weight: np.ndarray,
    ins: list[Strip],
    outs: list[Strip],
    phase: Phase,
    group: int,
    transposed: bool,
    pe: str,
) -> tuple[list[list[tuple[int, int, Tap]]], Stationary]:
    """Per output strip the (block number, input strip, tap) sequence, and the packed blocks; made once per layer."""
    where = (
        key,
        pe,
        tuple((s.tile, s.lo, s.channels.tobytes()) for s in ins),
        tuple((s.tile, s.lo, s.channels.tobytes()) for s in outs),
    )
    if where in ctx.cache:
        return ctx.cache[where]
    blocks: list[Block] = []
    plan: list[list[tuple[int, int, Tap]]] = []
    reads = [_groups(s, group, weight.shape[0 if transposed else 1] * (1 if transposed else group)) for s in ins]
    for strip in outs:
        row: list[tuple[int, int, Tap]] = []
        low, high = _groups(strip, group, weight.shape[1] * group if transposed else weight.shape[0])
        for i, source in enumerate(ins):
            if reads[i][1] < low or reads[i][0] > high:  # most of the pairs where there are many groups
                continue
            dense = dense_kernel(weight, source.channels, strip.channels, group, transposed)
            if dense is None:
                continue
            for tap in phase.taps:
                row.append((len(blocks), i, tap))
                at: tuple[slice | int, ...] = (slice(None), slice(None), *tap.kernel)
                blocks.append(Block(source.lo, dense[at]))
        plan.append(row)
    made = (plan, Stationary(ctx, key, blocks, pe))
    ctx.cache[where] = made
    return made


def _groups(strip: Strip, group: int, channels: int) -> tuple[int, int]:
    """First and last group of the channels of a strip, of `channels` in `group` groups."""
    held = strip.channels[strip.channels >= 0] // (channels // group)
    return (int(held.min()), int(held.max())) if len(held) else (0, -1)


def _accumulate(
    ctx: Context,
    acc: View,
    x: Tensor,
    strip: Strip,
    blocks: list[tuple[int, int, Tap]],
    stationary: Stationary | Blocks,
    phase: Phase,
    base: Sequence[int],
    sizes: Sequence[int],
    images: tuple[int, int],
    ins: list[Strip],
    shift: int,
) -> None:
    p = ctx.program
    n_stride = _stride(x, 0)
    strides = [_stride(x, d + 2) for d in range(len(sizes))]
    target = acc[strip.lo : strip.hi]
    rows = acc.sizes[0] // sizes[-1]
    reached = [_reached(x, phase, tap, base[-1], sizes[-1]) for _, _, tap in blocks]
    live = [(b, span) for b, span in zip(blocks, reached, strict=True) if span[1] > span[0]]
    if not live:  # a phase no tap belongs to: a transposed convolution whose stride exceeds its kernel
        p.memset(target, 0.0, engine="vector")
    for k, ((block, source, tap), (lo, hi)) in enumerate(live):
        at = (images[0] + shift) * n_stride
        dims = [(images[1] - images[0], n_stride)]
        for d, size in enumerate(sizes):
            first = lo if d == len(sizes) - 1 else 0
            index = (base[d] + first) * phase.in_step[d] + tap.offset[d] - x.origin.get(d + 2, 0)
            at += index * strides[d]
            dims.append((hi - lo if d == len(sizes) - 1 else size, strides[d] * phase.in_step[d]))
        if hi - lo < sizes[-1]:
            part = acc.ap(lo, [sizes[-1], 1], [rows, hi - lo], partition=strip.lo, partitions=strip.hi - strip.lo)
        else:
            part = target
        s = ins[source]
        moving = x.view(Run(0, s.tile, s.lo, s.hi - s.lo), dims, at)
        p.load_stationary(stationary.view(block))
        p.matmul(part, moving, start=k == 0, stop=k == len(live) - 1)


def _reached(x: Tensor, phase: Phase, tap: Tap, base: int, size: int) -> tuple[int, int]:
    """Which of the `size` output columns from `base` the tap reads inside the row and the fill beside it."""
    axis = len(x.shape) - 1
    before, after = x.pads.get(axis, (0, 0))
    step, offset = phase.in_step[-1], tap.offset[-1] - x.origin.get(axis, 0)
    lo = max(0, -(-(-before - offset) // step) - base)
    hi = min(size, (x.shape[axis] + after - 1 - offset) // step + 1 - base)
    return lo, hi


def _finish(
    ctx: Context,
    acc: View,
    out: Tensor,
    strip: Strip,
    phase: Phase,
    first: Sequence[int],
    base: Sequence[int],
    sizes: Sequence[int],
    images: tuple[int, int],
    tail: Epilogue,
    columns: int,
) -> None:
    lead = [phase.start[d] + phase.step[d] * base[d] - first[d] for d in range(len(sizes))]

    def place(t: Tensor) -> tuple[list[tuple[int, int]], int]:
        at = images[0] * _stride(t, 0) + sum(lead[d] * _stride(t, d + 2) for d in range(len(sizes)))
        own = [(images[1] - images[0], _stride(t, 0))]
        own += [(s, _stride(t, d + 2) * phase.step[d]) for d, s in enumerate(sizes)]
        return own, at

    out_dims, out_at = place(out)
    for partition, count in out_runs(strip):
        run = Run(0, strip.tile, partition, count)
        sources = {}
        for k, step in enumerate(tail.steps):
            if step.residual is not None:
                res_dims, res_at = place(step.residual)
                sources[k] = step.residual.view(run, merge_dims(res_dims), res_at)
        dst = out.view(run, merge_dims(out_dims), out_at)
        tail.apply(acc[partition : partition + count], dst, run, sources, columns)


def _stride(t: Tensor, axis: int) -> int:
    atoms = [a for a in t.axes[axis] if a.space == F]
    return atoms[0].stride if atoms else 0
