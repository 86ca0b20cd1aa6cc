"""Convolution and transposed convolution, 1-D to 3-D, any group, stride, dilation and padding, as sums of matrix products.

Channels are on partitions. Each kernel tap is one product over 128 input channels whose moving operand is a strided
window of the padded input: no im2col copy. A transposed convolution is a set of such convolutions, one per output phase.
Grouped and depthwise kernels become block-diagonal stationary matrices; blocks that are structurally zero are skipped.
"""
from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from compiler.ir import Node
from compiler.layout import F, Run, Tensor, legal_count, merge_dims
from compiler.lowering.context import Context
from compiler.lowering.epilogue import Epilogue, residual_inputs
from compiler.lowering.move import cast, padded, psum_view, relayout
from compiler.lowering.stationary import Block, Stationary
from isa.lang import View
from isa.word import PARTITIONS


@dataclass(frozen=True)
class Tap:
    """A kernel element and the input offset it reads at, relative to in_step * output index."""

    kernel: tuple[int, ...]
    offset: tuple[int, ...]


@dataclass(frozen=True)
class Phase:
    """Outputs start + step * j read input in_step * j + tap.offset."""

    start: tuple[int, ...]
    step: tuple[int, ...]
    count: tuple[int, ...]
    in_step: tuple[int, ...]
    taps: tuple[Tap, ...]


@dataclass(frozen=True)
class Strip:
    """Partitions lo..hi-1 of one tile taking part in a product, and the channel at each (-1: none)."""

    tile: int
    lo: int
    hi: int
    channels: np.ndarray


def conv_phases(node: Node, out_sizes: Sequence[int]) -> list[Phase]:
    """The single phase of a convolution."""
    kernel, strides = node.attrs["kernel_shape"], node.attrs["strides"]
    dilations, pads = node.attrs["dilations"], node.attrs["pads"]
    taps = tuple(
        Tap(k, tuple(i * d - p for i, d, p in zip(k, dilations, pads, strict=False)))
        for k in itertools.product(*(range(n) for n in kernel))
    )
    ones = (1,) * len(kernel)
    return [Phase((0,) * len(kernel), ones, tuple(out_sizes), tuple(strides), taps)]


def transposed_phases(node: Node, out_sizes: Sequence[int]) -> list[Phase]:
    """One phase per residue of the output index modulo the stride: out = stride * j + a reads in = j + (a + pad - k * dil) / stride."""
    kernel, strides = node.attrs["kernel_shape"], node.attrs["strides"]
    dilations, pads = node.attrs["dilations"], node.attrs["pads"]
    phases = []
    for a in itertools.product(*(range(s) for s in strides)):
        counts = tuple(-(-(o - x) // s) if o > x else 0 for o, x, s in zip(out_sizes, a, strides, strict=True))
        taps = []
        for k in itertools.product(*(range(n) for n in kernel)):
            reach = [x + p - i * d for x, p, i, d in zip(a, pads, k, dilations, strict=False)]
            if all(r % s == 0 for r, s in zip(reach, strides, strict=True)):
                taps.append(Tap(k, tuple(r // s for r, s in zip(reach, strides, strict=True))))
        if all(counts):
            phases.append(Phase(a, tuple(strides), counts, (1,) * len(kernel), tuple(taps)))
    return phases


def pads_needed(phases: Sequence[Phase], in_sizes: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Zero fill read before and after each spatial axis (axis numbers of the N, C, spatial... tensor)."""
    need: dict[int, tuple[int, int]] = {}
    for d, size in enumerate(in_sizes):
        lo = min((t.offset[d] for p in phases for t in p.taps), default=0)
        hi = max(((p.count[d] - 1) * p.in_step[d] + t.offset[d] for p in phases for t in p.taps), default=0)
        need[d + 2] = (max(0, -lo), max(0, hi - (size - 1)))
    return need


def strips(t: Tensor, axis: int = 1) -> list[Strip]:
    """Per tile, the legal partition range covering the positions of the channel axis."""
    pos = t.positions()
    out = []
    for tile in np.unique(pos // PARTITIONS).tolist():
        here = np.flatnonzero(pos // PARTITIONS == tile)
        rows = pos[here] % PARTITIONS
        lo, hi = int(rows.min()), int(rows.max()) + 1
        lo = max(b for b in (0, 32, 64, 96) if b <= lo and legal_count(b) >= hi - b)
        channels = np.full(hi - lo, -1, dtype=np.int64)
        channels[rows - lo] = here
        out.append(Strip(int(tile), lo, hi, channels))
    return out


def out_runs(strip: Strip) -> list[tuple[int, int]]:
    """Legal (partition, count) pieces of the partitions of a strip that hold channels."""
    used = strip.channels >= 0
    pieces: list[tuple[int, int]] = []
    row = 0
    while row < len(used):
        if not used[row]:
            row += 1
            continue
        end = row
        while end < len(used) and used[end]:
            end += 1
        part, stop = strip.lo + row, strip.lo + end
        while part < stop:
            n = min(stop - part, legal_count(part))
            assert n > 0, "output channels start at an illegal partition"
            pieces.append((part, n))
            part += n
        row = end
    return pieces


def lower_conv(ctx: Context, node: Node) -> None:
    """Conv or ConvTranspose: x [N, C, ...], constant or computed w, epilogue."""
    name = node.output
    transposed = node.op == "ConvTranspose"
    whole = ctx.shape(name)
    phases = (transposed_phases if transposed else conv_phases)(node, whole[2:])
    weight = ctx.graph.const(node.inputs[1])
    assert weight is not None
    x = conv_input(ctx, node, phases)
    box = ctx.windows.get(name, {})
    residuals = {i: ctx.part(node.inputs[i], box) for i in residual_inputs(node)}
    out = ctx.output(name, (1,), pmap=_positions(node, x, weight, residuals, transposed))
    residuals = {i: _match(ctx, r, out) for i, r in residuals.items()}
    tail = Epilogue.of(ctx, node, out, 1, residuals)
    for number, phase in enumerate(phases):
        if phase.taps:
            convolve(ctx, f"{node.name}.{number}" if number else node.name, x, weight, out, phase,
                     node.attrs.get("group", 1), transposed, tail)
    ctx.tensors[name] = out


def conv_input(ctx: Context, node: Node, phases: Sequence[Phase]) -> Tensor:
    """The input on chip, channels on partitions, in the PE's type, with the zero fill the taps read."""
    x = ctx.tensor(node.inputs[0])
    if x.p_axes() != (1,) and ctx.shape(node.inputs[0])[1] > 1:
        x = relayout(ctx, x, (1,))
    need = pads_needed(phases, ctx.shape(node.inputs[0])[2:])
    pe = ctx.precision.matmul(x.dtype)
    if pe != x.dtype:
        key = ("operand", id(x), pe)
        if key not in ctx.cache:
            wanted = ctx.border(node.inputs[0], ctx.pads.get(node.inputs[0], need))
            ctx.cache[key] = (cast(ctx, x, pe, pads=wanted), x)
        x = ctx.cache[key][0]  # type: ignore[index]
    return padded(ctx, x, ctx.border(node.inputs[0], need), 0.0)


def _positions(
    node: Node, x: Tensor, weight: np.ndarray, residuals: dict[int, Tensor], transposed: bool
) -> np.ndarray | None:
    """Where output channels go: with the residual, else (depthwise) with the input, else dense."""
    for residual in residuals.values():
        if residual.p_axes() == (1,):
            return residual.pmap
    group = node.attrs.get("group", 1)
    cout = weight.shape[1] * group if transposed else weight.shape[0]
    if group > 1 and cout == x.shape[1] and x.pmap.ndim == 1:
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
    ctx: Context, key: str, x: Tensor, weight: np.ndarray, out: Tensor, phase: Phase, group: int, transposed: bool, tail: Epilogue
) -> None:
    """Accumulate every tap of one phase block by block and write each block through the epilogue."""
    pe = x.dtype
    ins, outs = strips(x), strips(out)
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


def column_blocks(batch: int, counts: Sequence[int], most: int) -> list[tuple[int, int, list[tuple[int, int]]]]:
    """Cut batch x spatial outputs into near-equal boxes of at most `most` columns: whole images, else rows, else pieces of rows."""
    per_image = prod(counts)
    if per_image <= most:
        n = max(1, most // per_image)
        parts = -(-batch // n)
        full = [(0, c) for c in counts]
        return [(batch * k // parts, batch * (k + 1) // parts, full) for k in range(parts)]
    boxes: list[list[tuple[int, int]]] = [[]]
    room = most
    cuts: list[list[tuple[int, int]]] = []
    for axis in range(len(counts)):
        inner = prod(counts[axis + 1 :])
        size = max(1, min(counts[axis], room // inner)) if inner <= room else 1
        parts = -(-counts[axis] // size)
        cuts.append([(counts[axis] * k // parts, counts[axis] * (k + 1) // parts) for k in range(parts)])
        room = room // size if size > 1 else room
    boxes = [list(b) for b in itertools.product(*cuts)]
    return [(n, n + 1, box) for n in range(batch) for box in boxes]


def _weights(
    ctx: Context, key: str, weight: np.ndarray, ins: list[Strip], outs: list[Strip], phase: Phase, group: int, transposed: bool, pe: str
) -> tuple[list[list[tuple[int, int, Tap]]], Stationary]:
    """Per output strip the (block number, input strip, tap) sequence, and the packed blocks; made once per layer."""
    where = (key, pe, tuple((s.tile, s.lo, s.channels.tobytes()) for s in ins), tuple((s.tile, s.lo, s.channels.tobytes()) for s in outs))
    if where in ctx.cache:
        return ctx.cache[where]  # type: ignore[return-value]
    blocks: list[Block] = []
    plan: list[list[tuple[int, int, Tap]]] = []
    for strip in outs:
        row: list[tuple[int, int, Tap]] = []
        for i, source in enumerate(ins):
            dense = dense_kernel(weight, source.channels, strip.channels, group, transposed)
            if dense is None:
                continue
            for tap in phase.taps:
                row.append((len(blocks), i, tap))
                blocks.append(Block(source.lo, dense[(slice(None), slice(None), *tap.kernel)]))
        plan.append(row)
    made = (plan, Stationary(ctx, key, blocks, pe))
    ctx.cache[where] = made
    return made


def dense_kernel(weight: np.ndarray, cin: np.ndarray, cout: np.ndarray, group: int, transposed: bool) -> np.ndarray | None:
    """[len(cin), len(cout), *kernel] with zeros where channels are absent or in different groups; None when all are."""
    if transposed:  # [Cin, Cout / group, ...]
        out_per, in_per = weight.shape[1], weight.shape[0] // group
    else:  # [Cout, Cin / group, ...]
        out_per, in_per = weight.shape[0] // group, weight.shape[1]
    ci, co = cin[:, None], cout[None, :]
    same = (ci >= 0) & (co >= 0) & (ci // in_per == co // out_per)
    if not same.any():
        return None
    if transposed:
        picked = weight[np.where(same, ci, 0), np.where(same, co % out_per, 0)]
    elif group == 1 and same.all() and len(cin) and (np.diff(cin) == 1).all() and (np.diff(cout) == 1).all():
        return np.swapaxes(weight[cout[0] : cout[-1] + 1, cin[0] : cin[-1] + 1], 0, 1)
    else:
        picked = weight[np.where(same, co, 0), np.where(same, ci % in_per, 0)]
    return np.where(same.reshape(same.shape + (1,) * (weight.ndim - 2)), picked, 0)


def _accumulate(
    ctx: Context, acc: View, x: Tensor, strip: Strip, blocks: list[tuple[int, int, Tap]], stationary: Stationary, phase: Phase,
    base: Sequence[int], sizes: Sequence[int], images: tuple[int, int], ins: list[Strip], shift: int,
) -> None:
    p = ctx.program
    n_stride = _stride(x, 0)
    strides = [_stride(x, d + 2) for d in range(len(sizes))]
    target = acc.ap(0, [1], [acc.sizes[0]], partition=strip.lo, partitions=strip.hi - strip.lo)
    last = len(blocks) - 1
    for k, (block, source, tap) in enumerate(blocks):
        at = (images[0] + shift) * n_stride
        dims = [(images[1] - images[0], n_stride)]
        for d, size in enumerate(sizes):
            index = base[d] * phase.in_step[d] + tap.offset[d] - x.origin.get(d + 2, 0)
            at += index * strides[d]
            dims.append((size, strides[d] * phase.in_step[d]))
        s = ins[source]
        moving = x.view(Run(0, s.tile, s.lo, s.hi - s.lo), dims, at)
        p.load_stationary(stationary.view(block))
        p.matmul(target, moving, start=k == 0, stop=k == last)


def _finish(
    ctx: Context, acc: View, out: Tensor, strip: Strip, phase: Phase, first: Sequence[int], base: Sequence[int], sizes: Sequence[int],
    images: tuple[int, int], tail: Epilogue, columns: int,
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
