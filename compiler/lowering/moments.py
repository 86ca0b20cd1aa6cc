"""Mean and variance by bn_stats and bn_aggr, for each channel or group of channels, and scales and shifts by them."""
from __future__ import annotations

from math import prod

import numpy as np

from compiler.ir import Node
from compiler.layout import F, Run, Tensor, blocks
from compiler.lowering.context import Context
from compiler.lowering.mix import mix_channels
from compiler.lowering.move import addressable, apply, cast, copy, like
from compiler.lowering.operand import as_column, operand_like, reference, result
from compiler.lowering.reduce import column_like, free_dims, free_last
from compiler.lowering.rows import lines
from compiler.lowering.softmax import SHORT_ROW
from compiler.lowering.transpose import relayout
from isa.lang import View

#: elements that one bn_stats takes; source: isa/tables/vector.yaml
MOST_STATS = 512


def row_moments(ctx: Context, x: Tensor, axes: list[int], run: Run, at: int, dst: View) -> None:
    """dst [P, 2] fp32 = mean and population variance of one row."""
    parts = list(blocks([free_dims(x, axes)], 4, MOST_STATS))
    stats = column_like(ctx, dst, 6 * len(parts), "stats")
    ctx.charge("vector", sum(prod(s for s, _ in dims) for _, (dims,) in parts) / ctx.target.engines["vector"].clock_ghz)
    for k, ((offset,), (dims,)) in enumerate(parts):
        ctx.program.bn_stats(stats[:, 6 * k : 6 * k + 6], x.view(run, dims, at + offset))
    ctx.program.bn_aggr(dst, stats)


def lower_moments(ctx: Context, node: Node) -> None:
    """Mean and population variance of x over `axes`, which stay with size 1; float32.

    With `groups`: over groups of channels (axis 1) as well; each channel gets the moments of its group.
    """
    axes, groups = list(node.attrs["axes"]), int(node.attrs.get("groups", 0))
    x = ctx.tensor(node.inputs[0])
    x = addressable(ctx, relayout(ctx, x, (1,))) if groups else free_last(ctx, x, axes)
    kept = [1 if a in axes else n for a, n in enumerate(x.shape)]
    pmap = x.pmap.reshape([x.shape[a] for a in x.p_axes()])
    both = ctx.alloc([*kept, 2], x.p_axes(), "fp32", pmap=pmap, name="moments")
    for line in lines((x, axes), (both, [len(kept)])):
        row_moments(ctx, x, axes, line.runs[0], line.at[0], both.view(line.runs[1], [(2, 1)], line.at[1]))
    mean, variance = (both.index_axis(len(kept), k) for k in range(2))
    if groups:
        _share(ctx, node.name, mean, variance, groups)
    for name, t in zip(node.outputs, (mean, variance), strict=True):
        if name:
            ctx.tensors[name] = t if ctx.storage(name) == "fp32" else cast(ctx, t, ctx.storage(name))


def _share(ctx: Context, name: str, mean: Tensor, variance: Tensor, groups: int) -> None:
    """Moments of channels become those of their groups, in place.

    The variance of a group is the mean of its channels' variances and of their means' squared distances from its mean.
    """
    channels = mean.shape[1]
    group = np.arange(channels) // (channels // groups)
    matrix = (group[:, None] == group[None, :]).astype(np.float32) * np.float32(groups / channels)
    pe = "fp32" if "fp32" in ctx.target.matmul_dtypes else "bf16"
    p = ctx.program

    def emit_copy(acc: View, views: list[View], n: int) -> None:
        p.tensor_copy(views[0], acc, engine=ctx.pick(("scalar", "vector"), n))

    def spread(dst: View, src: list[View], n: int) -> None:
        ctx.charge("vector", 6 * n / ctx.target.engines["vector"].clock_ghz)
        away = column_like(ctx, dst, n, "away")
        p.tensor_tensor(away, src[0], src[1], "subtract")
        p.tensor_tensor(away, away, away, "mult")
        p.tensor_tensor(dst, away, src[2], "add")

    centre, total = like(ctx, mean, "fp32", "centre"), like(ctx, mean, pe, "spread")
    source = cast(ctx, mean, pe)
    mix_channels(ctx, f"{name}.groups", matrix, source, [centre], emit_copy)
    apply(ctx, total, [mean, centre, variance], spread)
    copy(ctx, mean, centre)
    mix_channels(ctx, f"{name}.groups", matrix, total, [variance], emit_copy)


def lower_scale_shift(ctx: Context, node: Node) -> None:
    """y = x * scale + shift with values computed at run time, broadcast to x.

    Where these are constant along enough of the free dimension, one instruction reads both as columns.
    """
    name = node.output
    ref = reference(ctx, node.inputs[:1], ctx.window_shape(name), name)
    x = operand_like(ctx, node.inputs[0], ref)
    out = result(ctx, name, ref)
    scale, shift = (operand_like(ctx, i, out) for i in node.inputs[1:3])
    vary = [i for i in range(len(out.shape)) if any(a.space == F and a.stride and a.size > 1
                                                    for t in (scale, shift) for a in t.axes[i])]
    parts: list[tuple[Tensor, ...]] = [(out, x, scale, shift)]
    if prod(n for i, n in enumerate(out.shape) if i not in vary and out.space_of(i) != "P") >= SHORT_ROW:
        for axis in reversed(vary):
            parts = [tuple(t.index_axis(axis, k) for t in part) for part in parts for k in range(out.shape[axis])]
    p = ctx.program

    def emit(dst: View, src: list[View], n: int) -> None:
        a, b = as_column(src[1]), as_column(src[2])
        if a is None or b is None:
            wide = column_like(ctx, dst, n, "scaled")
            p.tensor_tensor(wide, src[0], src[1], "mult", engine=ctx.pick(("vector",), 2 * n))
            p.tensor_tensor(dst, wide, src[2], "add", engine=ctx.pick(("vector",), 2 * n))
        elif ctx.pick(("vector", "scalar"), n) == "vector":
            p.tensor_scalar(dst, src[0], "mult", a, "add", b)
        else:
            p.activation(dst, src[0], "copy", a, b)

    for dst, *sources in parts:
        apply(ctx, dst, sources, emit)
    ctx.tensors[name] = out
