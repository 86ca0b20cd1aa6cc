"""Reductions, softmax, layer normalisation: over the free dimension on the vector engine, over partitions on the PE."""
from __future__ import annotations

from math import prod

import numpy as np

from compiler.ir import Node
from compiler.layout import F, P, Run, Tensor, align_dims, blocks, engine_runs, linear_offsets, merge_dims
from compiler.lowering.constants import const_like
from compiler.lowering.context import MOST_FREE, Context
from compiler.lowering.elementwise import _apply_tail
from compiler.lowering.move import addressable, apply, cast, like, psum_view
from compiler.lowering.operand import result
from compiler.lowering.transpose import relayout
from isa.lang import View

REDUCE = {"ReduceSum": "add", "ReduceMean": "add", "ReduceMax": "max", "ReduceMin": "min", "GlobalAveragePool": "add",
          "GlobalMaxPool": "max"}


def free_last(ctx: Context, t: Tensor, axes: list[int]) -> Tensor:
    """`t` with these logical axes on the free dimension; another axis takes the partitions."""
    if t.plain and all(t.space_of(a) in (F, "") for a in axes):
        return addressable(ctx, t)
    rest = [a for a in range(len(t.shape)) if a not in axes and t.shape[a] > 1]
    want = (max(rest, key=lambda a: t.shape[a]),) if rest else ()
    return relayout(ctx, t, want)


def lower_reduce(ctx: Context, node: Node) -> None:
    """ReduceSum / Mean / Max / Min and global pooling over constant axes; keepdims as the shape says."""
    x = ctx.tensor(node.inputs[0])
    rank = len(x.shape)
    axes = _axes(ctx, node, rank)
    op = REDUCE[node.op]
    mean = node.op in ("ReduceMean", "GlobalAveragePool")
    on_p = [a for a in axes if P in x.space_of(a)]
    if on_p and op == "add" and x.dtype != "int32" and set(on_p) == set(x.p_axes()) and x.plain and x.reachable:
        x = _sum_partitions(ctx, x, on_p)
        axes_free = [a for a in axes if a not in on_p]
    else:
        x = free_last(ctx, x, axes)
        axes_free = axes
    kept = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    name = node.output
    count = prod(ctx.shape(node.inputs[0])[a] for a in axes)
    out = ctx.alloc(
        kept, x.p_axes(), ctx.storage(name), pmap=x.pmap.reshape([x.shape[a] for a in x.p_axes()]), name=name
    )
    _reduce_free(ctx, x, out, axes_free, op, 1.0 / count if mean else None)
    final = out.reshape(ctx.shape(name))
    assert final is not None
    ctx.tensors[name] = final
    if node.attrs.get("epilogue"):
        _apply_tail(ctx, node, final)


def _axes(ctx: Context, node: Node, rank: int) -> list[int]:
    if node.op.startswith("Global"):
        return list(range(2, rank))
    const = ctx.graph.const(node.input(1))
    axes = node.attrs.get("axes") if const is None else const.reshape(-1).tolist()
    return sorted(a % rank for a in axes) if axes is not None and len(axes) else list(range(rank))


def _sum_partitions(ctx: Context, x: Tensor, axes: list[int]) -> Tensor:
    """Sum over all P axes by a product with a column of ones; the result is on one partition, the P axes of size 1."""
    pe = ctx.precision.matmul(x.dtype)
    src = x if x.dtype == pe else cast(ctx, x, pe)
    ones = const_like(ctx, "ones", np.ones(1, np.float32), src.transpose(range(len(src.shape))), pe)
    shape = [1 if a in axes else n for a, n in enumerate(x.shape)]
    out = ctx.alloc(shape, (), "fp32", name="sum")
    dims = [[(a.size, a.stride) for a in t.free_atoms()] for t in (src, out)]
    dims[1] = [d for a, d in ((a, (a.size, a.stride)) for i, ax in enumerate(out.axes) if i not in axes for a in ax)]
    dims[0] = [(a.size, a.stride) for i, ax in enumerate(src.axes) if i not in axes for a in ax if a.space == F]
    runs = [r for (r,) in engine_runs(src.positions())]
    for (at, to), (near, far) in blocks(align_dims(dims), 4, ctx.target.psum_bank_bytes // 4):
        n = prod(s for s, _ in near)
        acc = psum_view(ctx, 1, n, "sum")
        for k, r in enumerate(runs):
            ctx.program.load_stationary(ones.tiles[r.tile].ap(0, [1], [1], partition=r.partition, partitions=r.count))
            ctx.program.matmul(acc, src.view(r, near, at), start=k == 0, stop=k == len(runs) - 1)
        ctx.program.tensor_copy(out.view(Run(0, 0, 0, 1), far, to), acc, engine=ctx.pick(("scalar", "vector"), n))
    return out


def _reduce_free(ctx: Context, x: Tensor, out: Tensor, axes: list[int], op: str, scale: float | None) -> None:
    """out = reduce of x over F axes (times scale)."""
    inner = merge_dims([(a.size, a.stride) for i in axes for a in x.axes[i] if a.space == F])
    outer_in = [
        (a.size, a.stride)
        for i in range(len(x.shape))
        if i not in axes
        for a in x.axes[i]
        if a.space == F and a.size > 1
    ]
    outer_out = [
        (a.size, a.stride)
        for i in range(len(x.shape))
        if i not in axes
        for a in out.axes[i]
        if a.space == F and a.size > 1
    ]
    if scale is None and inner == [(1, 1)]:
        scale = 1.0
    p = ctx.program
    window = prod(s for s, _ in inner)
    room = max(1, MOST_FREE["sbuf"] // window)
    for src_run, dst_run in engine_runs(x.positions(), out.positions()):
        for (at, to), (near, far) in blocks(align_dims([outer_in, outer_out]), max(1, 4 - len(inner)), room):
            near = [d for d in near if d[0] > 1]
            n = prod(s for s, _ in near)
            src = x.view_dims(src_run, [*(near or [(1, 1)]), *inner], at)
            dst = out.view(dst_run, far or [(1, 1)], to)
            ctx.charge("vector", n * window / ctx.target.engines["vector"].clock_ghz)
            target = dst
            if scale is not None:
                rows = dst.partition + dst.partitions
                target = p.sbuf((rows, n), "fp32", name="sum").ap(
                    0, [1], [n], partition=dst.partition, partitions=dst.partitions
                )
            p.tensor_reduce(target, src, op, axes=len(inner))
            if scale is not None:
                p.tensor_scalar(dst, target, "mult", scale, engine=ctx.pick(("vector", "scalar"), n))


def lower_layer_norm(ctx: Context, node: Node) -> None:
    """LayerNormalization over the trailing axes: bn_stats and bn_aggr per row, then two fused passes."""
    name = node.output
    rank = len(ctx.shape(name))
    axis = node.attrs.get("axis", -1) % rank
    axes = list(range(axis, rank))
    x = free_last(ctx, ctx.tensor(node.inputs[0]), axes)
    if len(merge_dims([(a.size, a.stride) for i in axes for a in x.axes[i] if a.space == F])) > 1:
        x = cast(ctx, x, x.dtype)  # the statistics read a row as one run
    out = result(ctx, name, x)
    gamma = _row(ctx, node, 1, x, axes)
    beta = _row(ctx, node, 2, x, axes)
    wide = like(ctx, x, "fp32", "normal")
    outer = [(a.size, a.stride) for i in range(axis) for a in x.axes[i] if a.space == F and a.size > 1]
    outer_w = [(a.size, a.stride) for i in range(axis) for a in wide.axes[i] if a.space == F and a.size > 1]
    eps = float(node.attrs.get("epsilon", 1e-5))
    inner = merge_dims([(a.size, a.stride) for i in axes for a in x.axes[i] if a.space == F])
    inner_w = merge_dims([(a.size, a.stride) for i in axes for a in wide.axes[i] if a.space == F])
    for src_run, mid_run in engine_runs(x.positions(), wide.positions()):
        for a, b in np.stack([linear_offsets(outer), linear_offsets(outer_w)], axis=1).tolist():
            _normalise_row(ctx, x.view(src_run, inner, a), wide.view(mid_run, inner_w, b), gamma, mid_run, eps)
    _scale_shift(ctx, out, wide, beta)
    ctx.tensors[name] = out
    if node.attrs.get("epilogue"):
        _apply_tail(ctx, node, out)


def _row(ctx: Context, node: Node, index: int, x: Tensor, axes: list[int]) -> Tensor | None:
    array = ctx.graph.const(node.input(index))
    if array is None:
        return None
    return const_like(ctx, f"{node.name}.{index}", array, x)


def _normalise_row(ctx: Context, x: View, wide: View, gamma: Tensor | None, run: Run, eps: float) -> None:
    """wide = ((x - mean) * rstd) * gamma for one row of every partition."""
    p = ctx.program
    n = x.count
    chunks = [(n * k // c, n * (k + 1) // c) for c in [-(-n // 512)] for k in range(c)]
    rows = wide.partition + wide.partitions

    def small(width: int, name: str) -> View:
        return p.sbuf((rows, width), "fp32", name=name).ap(
            0, [1], [width], partition=wide.partition, partitions=wide.partitions
        )

    stats, moments, rstd = small(6 * len(chunks), "stats"), small(2, "moments"), small(1, "rstd")
    flat = x.reshape(n) if len(x.sizes) > 1 else x
    ctx.charge("vector", 3 * n / ctx.target.engines["vector"].clock_ghz)
    for k, (lo, hi) in enumerate(chunks):
        p.bn_stats(stats[:, 6 * k : 6 * k + 6], flat[:, lo:hi])
    p.bn_aggr(moments, stats)
    p.activation(rstd, moments[:, 1:2], "rsqrt", 1.0, eps)
    if gamma is None:
        p.tensor_scalar(wide, x, "subtract", moments[:, 0:1], "mult", rstd)
        return
    dims = [(a.size, a.stride) for axis in gamma.axes for a in axis if a.space == F and a.stride]
    row = gamma.view(Run(0, run.tile, run.partition, run.count), dims)
    p.scalar_tensor_tensor(wide, x, "subtract", moments[:, 0:1], "mult", row)
    p.tensor_scalar(wide, wide, "mult", rstd, engine=ctx.pick(("vector", "scalar"), n))


def _scale_shift(ctx: Context, out: Tensor, wide: Tensor, beta: Tensor | None) -> None:
    p = ctx.program

    def emit(dst: View, src: list[View], n: int) -> None:
        if beta is None:
            p.tensor_copy(dst, src[0], engine=ctx.pick(("scalar", "vector"), n))
        else:
            p.tensor_tensor(dst, src[0], src[1], "add", engine=ctx.pick(("vector",), 2 * n))

    apply(ctx, out, [wide] if beta is None else [wide, beta], emit)
