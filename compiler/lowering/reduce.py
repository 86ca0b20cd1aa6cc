"""Reductions: over the free dimension on the vector engine, sums over partitions on the PE."""
from __future__ import annotations

from math import prod

import numpy as np

from compiler.errors import UnsupportedOp
from compiler.ir import Graph, Node, numpy_dtype
from compiler.layout import F, P, Run, Tensor, align_dims, blocks, engine_runs, merge_dims
from compiler.lowering.constants import const_like
from compiler.lowering.context import MOST_FREE, Context
from compiler.lowering.dram import natural_axes
from compiler.lowering.elementwise import _apply_tail
from compiler.lowering.move import addressable, cast, copy, psum_view
from compiler.lowering.transpose import load_rows, relayout
from isa.lang import View
from isa.target import Target
from isa.word import PARTITIONS

REDUCE = {"ReduceSum": "add", "ReduceMean": "add", "ReduceMax": "max", "ReduceMin": "min", "ReduceProd": "mult",
          "GlobalAveragePool": "add", "GlobalMaxPool": "max"}
#: free dimensions of an access that a reduction runs over; the fourth steps from result to result
MOST_INNER = 3
#: of SBUF: a value in DRAM beyond the first is reduced in pieces of the second, several of which are under way
WHOLE_SHARE, PIECE_SHARE = 0.6, 0.1


def reduce_condition(graph: Graph, node: Node, target: Target) -> str:
    """Reductions need known axes, and means need fractions."""
    if node.input(1) and not graph.is_const(node.inputs[1]):
        return f"the axes of a {node.op} are computed at run time"
    if node.op == "ReduceMean" and numpy_dtype(graph.dtype(node.output)).kind in "iu":
        return "a ReduceMean of integers rounds in a way the device does not"
    return ""


def free_last(ctx: Context, t: Tensor, axes: list[int]) -> Tensor:
    """`t` with these logical axes on the free dimension; another axis takes the partitions."""
    if t.plain and all(t.space_of(a) in (F, "") for a in axes):
        return addressable(ctx, t)
    rest = [a for a in range(len(t.shape)) if a not in axes and t.shape[a] > 1]
    want = (max(rest, key=lambda a: t.shape[a]),) if rest else ()
    return relayout(ctx, t, want)


def lower_reduce(ctx: Context, node: Node) -> None:
    """ReduceSum / Mean / Max / Min / Prod and global pooling over constant axes; keepdims as the shape says."""
    name, source = node.output, node.inputs[0]
    reason = reduce_condition(ctx.graph, node, ctx.target)
    if reason:
        raise UnsupportedOp(reason, where=node.name)
    axes = _axes(ctx, node, len(ctx.shape(source)))
    op = REDUCE[node.op]
    integer = numpy_dtype(ctx.graph.dtype(source)).kind != "f"
    x, left = _toward_free(ctx, _in_pieces(ctx, source, axes, op, integer) or ctx.tensor(source), axes, op, integer)
    mean = node.op in ("ReduceMean", "GlobalAveragePool")
    scale = 1.0 / prod(ctx.shape(source)[a] for a in axes) if mean else None
    final = _reduced(ctx, x, left, op, ctx.storage(name), scale, name).reshape(ctx.shape(name))
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


def _in_pieces(ctx: Context, source: str, axes: list[int], op: str, integer: bool) -> Tensor | None:
    """A value in DRAM that SBUF has no room for, reduced piece by piece along one of the axes; None for others."""
    shape, lanes = ctx.shape(source), natural_axes(ctx, source)
    free = [a for a in axes if a not in lanes]
    if source in ctx.tensors or source not in ctx.dram or not free:
        return None
    far = ctx.dram[source]
    deep = -(-prod(shape[a] for a in lanes) // PARTITIONS)
    each = deep * prod(n for a, n in enumerate(shape) if a not in lanes) * far.dtype.size
    room = ctx.target.sbuf_partition_bytes
    if each <= WHOLE_SHARE * room:
        return None
    cut = max(free, key=lambda a: shape[a])
    count = min(shape[cut], -(-each // int(PIECE_SHARE * room)))
    parts = ctx.alloc([count if a == cut else 1 if a in free else n for a, n in enumerate(shape)], lanes,
                      _partial_type(far.dtype.name, op, integer), name="parts")
    for k in range(count):
        low, high = shape[cut] * k // count, shape[cut] * (k + 1) // count
        piece = ctx.alloc([high - low if a == cut else n for a, n in enumerate(shape)], lanes, far.dtype.name,
                          name="piece")
        load_rows(ctx, piece, far[tuple(slice(low, high) if a == cut else slice(None) for a in range(len(shape)))])
        to = parts.slice_axis(cut, k, k + 1)
        assert to is not None  # an axis of a new tensor is one atom
        copy(ctx, to, _reduced(ctx, piece, free, op, parts.dtype))
    return parts


def _toward_free(ctx: Context, x: Tensor, axes: list[int], op: str, integer: bool) -> tuple[Tensor, list[int]]:
    """A smaller tensor, and the axes along which it is still to be reduced, all of them on the free dimension.

    What lies on the free dimension is reduced first, so that little is left to bring there from the partitions.
    """
    on_p = [a for a in axes if P in x.space_of(a)]
    if not on_p or not x.plain or not x.reachable:
        return free_last(ctx, x, axes), axes
    rest = [a for a in axes if a not in on_p and x.shape[a] > 1]
    if rest:
        x = _reduced(ctx, x, rest, op, _partial(x, op, integer))
    if op == "add" and not integer and set(on_p) == set(x.p_axes()):
        return _sum_partitions(ctx, x, on_p), []
    return free_last(ctx, x, on_p), on_p


def _partial(x: Tensor, op: str, integer: bool) -> str:
    """Type of partial results."""
    return _partial_type(x.dtype, op, integer)


def _partial_type(dtype: str, op: str, integer: bool) -> str:
    if op in ("max", "min"):
        return dtype
    return "int32" if integer else "fp32"


def _sum_partitions(ctx: Context, x: Tensor, axes: list[int]) -> Tensor:
    """Sum over all P axes by a product with a column of ones; the result is on one partition, the P axes of size 1."""
    pe = ctx.precision.matmul(x.dtype)
    src = x if x.dtype == pe else cast(ctx, x, pe)
    ones = const_like(ctx, "ones", np.ones(1, np.float32), src.transpose(range(len(src.shape))), pe)
    shape = [1 if a in axes else n for a, n in enumerate(x.shape)]
    out = ctx.alloc(shape, (), "fp32", name="sum")
    dims = [[(a.size, a.stride) for i, ax in enumerate(t.axes) if i not in axes for a in ax if a.space == F]
            for t in (src, out)]
    runs = [r for (r,) in engine_runs(src.positions())]
    for (at, to), (near, far) in blocks(align_dims(dims), 4, ctx.target.psum_bank_bytes // 4):
        n = prod(s for s, _ in near)
        acc = psum_view(ctx, 1, n, "sum")
        for k, r in enumerate(runs):
            ctx.program.load_stationary(ones.tiles[r.tile].ap(0, [1], [1], partition=r.partition, partitions=r.count))
            ctx.program.matmul(acc, src.view(r, near, at), start=k == 0, stop=k == len(runs) - 1)
        ctx.program.tensor_copy(out.view(Run(0, 0, 0, 1), far, to), acc, engine=ctx.pick(("scalar", "vector"), n))
    return out


def _reduced(
    ctx: Context, x: Tensor, axes: list[int], op: str, dtype: str, scale: float | None = None, name: str = "partial"
) -> Tensor:
    """x reduced over F axes (times scale), which stay with size 1, at the partitions of x."""
    if len(free_dims(x, axes)) > MOST_INNER:
        half = axes[len(axes) // 2 :]
        x = _reduced(ctx, x, half, op, "fp32" if op in ("add", "mult") else x.dtype)
        axes = axes[: len(axes) // 2]
    kept = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    out = ctx.alloc(kept, x.p_axes(), dtype, pmap=x.pmap.reshape([x.shape[a] for a in x.p_axes()]), name=name)
    rest = [a for a in range(len(x.shape)) if a not in axes]
    outer = [[(a.size, a.stride) for i in rest for a in t.axes[i] if a.space == F and a.size > 1] for t in (x, out)]
    inner = free_dims(x, axes)
    window = prod(s for s, _ in inner)
    most = max(1, MOST_FREE["sbuf"] // window)
    for src_run, dst_run in engine_runs(x.positions(), out.positions()):
        for (at, to), (near, far) in blocks(align_dims(outer), 4 - len(inner), most):
            near = [d for d in near if d[0] > 1]
            pieces = [x.view_dims(src_run, [*(near or [(1, 1)]), *dims], at + offset)
                      for (offset,), (dims,) in blocks([inner], len(inner), MOST_FREE["sbuf"])]
            _emit(ctx, out.view(dst_run, far or [(1, 1)], to), pieces, op, len(inner), scale)
    return out


def free_dims(t: Tensor, axes: list[int]) -> list[tuple[int, int]]:
    """(size, stride) along the free dimension over these axes, merged where possible."""
    return merge_dims([(a.size, a.stride) for i in axes for a in t.axes[i] if a.space == F])


def _emit(ctx: Context, dst: View, pieces: list[View], op: str, axes: int, scale: float | None) -> None:
    """One instruction where the elements of a result fit one access, else one per piece and one for all pieces."""
    p, n = ctx.program, dst.count
    ctx.charge("vector", sum(v.count for v in pieces) / ctx.target.engines["vector"].clock_ghz)
    if len(pieces) > 1:
        parts = column_like(ctx, dst, len(pieces), "parts")
        for k, piece in enumerate(pieces):
            p.tensor_reduce(parts[:, k : k + 1], piece, op, axes=len(piece.sizes))
        pieces, axes = [parts], 1
    if pieces[0].count == n:  # nothing left to reduce
        engine = ctx.pick(("vector", "scalar"), n)
        if scale is None:
            p.tensor_copy(dst, pieces[0], engine=engine)
        else:
            p.tensor_scalar(dst, pieces[0], "mult", scale, engine=engine)
        return
    if scale is None:
        p.tensor_reduce(dst, pieces[0], op, axes=axes)
        return
    total = column_like(ctx, dst, n, "sum")
    p.tensor_reduce(total, pieces[0], op, axes=axes)
    p.tensor_scalar(dst, total, "mult", scale, engine=ctx.pick(("vector", "scalar"), n))


def column_like(ctx: Context, dst: View, width: int, name: str, dtype: str = "fp32") -> View:
    """[P, width] scratch at the partitions of a view."""
    tile = ctx.program.sbuf((dst.partition + dst.partitions, width), dtype, name=name)
    return tile.ap(0, [1], [width], partition=dst.partition, partitions=dst.partitions)
