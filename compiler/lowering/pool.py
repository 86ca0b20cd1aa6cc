"""Max and average pooling, 1-D to 3-D: windowed reductions read through access patterns on the vector engine."""
from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from compiler.ir import Graph, Node
from compiler.layout import F, Tensor, engine_runs, merge_dims, runs_of
from compiler.lowering.constants import const_like
from compiler.lowering.context import Context
from compiler.lowering.conv import MOST_AXES
from compiler.lowering.conv_plan import Phase, conv_phases, pads_needed
from compiler.lowering.move import addressable, like, move_dma, padded, pointwise
from compiler.lowering.transpose import relayout
from compiler.windows import MOST_COMPARED
from isa.lang import View
from isa.target import Target


def pool_condition(graph: Graph, node: Node, target: Target) -> str:
    """Why this pooling has no lowering, "" when it has one."""
    if len(graph.shape(node.inputs[0])) > MOST_AXES + 2:
        return "windows over more than three axes"
    if node.op == "MaxPool" and len(node.outputs) > 1:
        return f"Indices of windows of more than {MOST_COMPARED} elements"
    return ""


def unpool_condition(graph: Graph, node: Node, target: Target) -> str:
    """Why a MaxUnpool was not expanded."""
    return "a given output shape other than the one its windows cover"


def lower_pool(ctx: Context, node: Node) -> None:
    """MaxPool or AveragePool."""
    maximum = node.op == "MaxPool"
    name = node.output
    whole = ctx.shape(name)
    phase = conv_phases(node, whole[2:])[0]
    x = addressable(ctx, relayout(ctx, ctx.tensor(node.inputs[0]), (1,)))
    need = ctx.border(node.inputs[0], pads_needed([phase], ctx.shape(node.inputs[0])[2:]))
    x = padded(ctx, x, need, ctx.fills.get(node.inputs[0], 0.0) if maximum else 0.0)
    out = ctx.output(name, (1,), pmap=x.pmap)
    direct = runs_of(x.positions(), out.positions(), any_order=True) is not None
    target = out if direct else like(ctx, x_window(x, out), out.dtype, "pooled")
    if maximum:
        _reduce_windows(ctx, node, x, target, phase, "max")
    else:
        sums = target if out.dtype == "fp32" else like(ctx, target, "fp32", "sums")
        _reduce_windows(ctx, node, x, sums, phase, "add")
        _average(ctx, node, target, sums)
    if target is not out:
        move_dma(ctx, out, target)
    ctx.tensors[name] = out


def x_window(x: Tensor, out: Tensor) -> Tensor:
    """A description with x's positions and out's logical shape, for allocation."""
    return replace(out, pmap=x.pmap, tiles=x.tiles)


def _reduce_windows(ctx: Context, node: Node, x: Tensor, out: Tensor, phase: Phase, op: str) -> None:
    kernel = tuple(node.attrs["kernel_shape"])
    dilation = tuple(node.attrs["dilations"])
    steps = [next((a.stride for a in x.axes[d + 2] if a.space == F), 0) for d in range(len(kernel))]
    out_steps = [next((a.stride for a in out.axes[d + 2] if a.space == F), 0) for d in range(len(kernel))]
    n_in, n_out = (next((a.stride for a in t.axes[0] if a.space == F), 0) for t in (x, out))
    first = phase.taps[0].offset
    shift = out.origin.get(0, 0) - x.origin.get(0, 0)
    spans = out.shape[2:]
    base = sum(
        (out.origin.get(d + 2, 0) * phase.in_step[d] + first[d] - x.origin.get(d + 2, 0)) * steps[d]
        for d in range(len(kernel))
    )
    window = merge_dims([(kernel[d], steps[d] * dilation[d]) for d in range(len(kernel))])
    grid_in = [(out.shape[0], n_in)] + [(spans[d], steps[d] * phase.in_step[d]) for d in range(len(kernel))]
    grid_out = [(out.shape[0], n_out)] + [(spans[d], out_steps[d]) for d in range(len(kernel))]
    outer_window, inner_window = _split_window(window)
    for (source, dest) in engine_runs(x.positions(), out.positions()):
        for at, to, near, far in _grid_blocks(grid_in, grid_out, 4 - len(inner_window), prod(kernel), ctx):
            for k, extra in enumerate(outer_window):
                src = x.view_dims(source, [*near, *inner_window], base + shift * n_in + at + extra)
                dst = out.view(dest, far, to)
                _reduce_one(
                    ctx,
                    dst,
                    src,
                    op,
                    len(inner_window),
                    k == 0,
                    prod(s for s, _ in far),
                    prod(s for s, _ in inner_window),
                )


def _split_window(window: list[tuple[int, int]]) -> tuple[list[int], list[tuple[int, int]]]:
    """Window dims beyond two become separate reductions at these offsets."""
    inner = window[-2:]
    offsets = [0]
    for size, stride in window[:-2]:
        offsets = [o + k * stride for o in offsets for k in range(size)]
    return offsets, inner


def _grid_blocks(
    near: Sequence[tuple[int, int]], far: Sequence[tuple[int, int]], dims: int, window: int, ctx: Context
) -> list[tuple[int, int, list[tuple[int, int]], list[tuple[int, int]]]]:
    """Blocks of at most `dims` dims of the output grid: (input offset, output offset, input dims, output dims)."""
    keep = max(1, dims)
    sizes = [s for s, _ in near]
    live = [i for i, s in enumerate(sizes) if s > 1]
    looped, kept = live[: max(0, len(live) - keep)], live[max(0, len(live) - keep) :]
    out = []
    for index in itertools.product(*(range(sizes[i]) for i in looped)):
        at = sum(k * near[i][1] for k, i in zip(index, looped, strict=True))
        to = sum(k * far[i][1] for k, i in zip(index, looped, strict=True))
        out.append((at, to, [near[i] for i in kept] or [(1, 1)], [far[i] for i in kept] or [(1, 1)]))
    return out


def _reduce_one(ctx: Context, dst: View, src: View, op: str, axes: int, first: bool, n: int, window: int) -> None:
    p = ctx.program
    ctx.charge("vector", n * window / ctx.target.engines["vector"].clock_ghz)
    if first:
        p.tensor_reduce(dst, src, op, axes=axes)
        return
    rows = dst.partition + dst.partitions
    tmp = p.sbuf((rows, n), "fp32", name="window").ap(0, [1], [n], partition=dst.partition, partitions=dst.partitions)
    p.tensor_reduce(tmp, src, op, axes=axes)
    p.tensor_tensor(dst, dst, tmp, op, engine="vector")


def _average(ctx: Context, node: Node, out: Tensor, sums: Tensor) -> None:
    """out = each sum divided by the number of elements its window covers."""
    scale = _inverse_counts(node, out.shape, out.origin, ctx.shape(node.inputs[0])[2:])
    if scale.size == 1 or (scale == scale.flat[0]).all():
        value = float(scale.flat[0])

        def emit_scalar(dst: View, sources: list[View], n: int) -> None:
            ctx.program.tensor_scalar(dst, sources[0], "mult", value, engine=ctx.pick(("vector", "scalar"), n))

        pointwise(ctx, out, [sums], emit_scalar)
        return
    factor = const_like(ctx, f"{node.name}.scale{sorted(out.origin.items())}", scale, out)

    def emit(dst: View, sources: list[View], n: int) -> None:
        ctx.program.tensor_tensor(dst, sources[0], sources[1], "mult", engine="vector")

    pointwise(ctx, out, [sums, factor], emit)


def _inverse_counts(node: Node, shape: Sequence[int], origin: dict[int, int], in_sizes: Sequence[int]) -> np.ndarray:
    """1 / window size for every output of the window [1, 1, spatial...]."""
    include = bool(node.attrs.get("count_include_pad", 0))
    total = np.ones((1, 1, *([1] * len(in_sizes))), dtype=np.float64)
    pads = node.attrs["pads"]
    for d, size in enumerate(in_sizes):
        k, s = node.attrs["kernel_shape"][d], node.attrs["strides"][d]
        dil = node.attrs["dilations"][d]
        start = (np.arange(shape[d + 2]) + origin.get(d + 2, 0)) * s - pads[d]
        taps = start[:, None] + np.arange(k) * dil
        if include:
            inside = (taps >= -pads[d]) & (taps < size + pads[d + len(in_sizes)])
        else:
            inside = (taps >= 0) & (taps < size)
        counts = inside.sum(axis=1).astype(np.float64)
        total = total * counts.reshape([-1 if i == d + 2 else 1 for i in range(len(in_sizes) + 2)])
    inverse = (1.0 / total).astype(np.float32)
    return inverse.reshape(-1)[:1] if (inverse == inverse.flat[0]).all() else inverse
