"""Softmax and LogSoftmax over one axis brought to the free dimension: max, exp with its sum, and one scaling pass."""
from __future__ import annotations

from dataclasses import dataclass
from math import prod

from compiler.ir import Node
from compiler.layout import F, Run, Tensor, align_dims, blocks, engine_runs, linear_offsets, merge_dims
from compiler.lowering.context import MOST_FREE, Context
from compiler.lowering.elementwise import _apply_tail
from compiler.lowering.operand import result
from compiler.lowering.reduce import free_last
from isa.lang import View

Dims = list[tuple[int, int]]
#: rows shorter than the least instruction interval are done many at a time, longer ones one by one with fused sums
SHORT_ROW = 64


@dataclass(frozen=True)
class Rows:
    """`count` rows of `width` elements: views over (row dims, element dims), and views of each row alone."""

    x: View
    out: View
    x_rows: list[View]
    out_rows: list[View]
    count: int
    width: int


def lower_softmax(ctx: Context, node: Node) -> None:
    """Softmax: exp(x - max) / sum. LogSoftmax: x - max - log(sum)."""
    name = node.output
    rank = len(ctx.shape(name))
    axis = node.attrs.get("axis", -1) % rank
    x = free_last(ctx, ctx.tensor(node.inputs[0]), [axis])
    out = result(ctx, name, x)
    for rows in _all_rows(x, out, axis):
        emit = _short if rows.width < SHORT_ROW and rows.count > 1 else _long
        emit(ctx, rows, node.op == "LogSoftmax")
    ctx.tensors[name] = out
    if node.attrs.get("epilogue"):
        _apply_tail(ctx, node, out)


def _all_rows(x: Tensor, out: Tensor, axis: int) -> list[Rows]:
    near, far = (merge_dims([(a.size, a.stride) for a in t.axes[axis] if a.space == F]) for t in (x, out))
    outer = [
        [(a.size, a.stride) for i, ax in enumerate(t.axes) if i != axis for a in ax if a.space == F and a.size > 1]
        for t in (x, out)
    ]
    width = prod(s for s, _ in near)
    found = []
    for src, dst in engine_runs(x.positions(), out.positions()):
        for (at, to), (a, b) in blocks(align_dims(outer), max(1, 4 - len(near)), MOST_FREE["sbuf"] // width):
            a, b = [d for d in a if d[0] > 1], [d for d in b if d[0] > 1]
            found.append(_rows(x, out, (src, dst), (at, to), (a, b), (near, far), width))
    return found


def _rows(
    x: Tensor,
    out: Tensor,
    runs: tuple[Run, Run],
    at: tuple[int, int],
    outer: tuple[Dims, Dims],
    inner: tuple[Dims, Dims],
    width: int,
) -> Rows:
    every = [
        [t.view(run, dims, start + k) for k in linear_offsets(rows).tolist()]
        for t, run, start, rows, dims in zip((x, out), runs, at, outer, inner, strict=True)
    ]
    whole = [
        t.view_dims(run, [*(rows or [(1, 1)]), *dims], start)
        for t, run, start, rows, dims in zip((x, out), runs, at, outer, inner, strict=True)
    ]
    return Rows(whole[0], whole[1], every[0], every[1], len(every[0]), width)


def _column(ctx: Context, rows: Rows, name: str, width: int = 1) -> View:
    """[P, count * width] scratch at the partitions of the result."""
    at, n = rows.out.partition, rows.count * width
    tile = ctx.program.sbuf((at + rows.out.partitions, n), "fp32", name=name)
    return tile.ap(0, [1], [n], partition=at, partitions=rows.out.partitions)


def _negative_max(ctx: Context, rows: Rows) -> View:
    top = _column(ctx, rows, "max")
    ctx.charge("vector", rows.count * rows.width / ctx.target.engines["vector"].clock_ghz)
    ctx.program.tensor_reduce(top, rows.x, "max", axes=len(rows.x_rows[0].sizes))
    ctx.program.tensor_scalar(top, top, "mult", -1.0)
    return top


def _long(ctx: Context, rows: Rows, log: bool) -> None:
    """Row by row: the scalar engine subtracts, takes exp and sums in one instruction."""
    p = ctx.program
    top, total = _negative_max(ctx, rows), _column(ctx, rows, "sum")
    temp = _column(ctx, rows, "exp", rows.width).reshape(rows.count, rows.width)
    for k, x in enumerate(rows.x_rows):
        ctx.charge("scalar", (rows.width + 64) / ctx.target.engines["scalar"].clock_ghz)
        p.activation_reduce(temp[:, k], x, "exp", total[:, k : k + 1], 1.0, top[:, k : k + 1])
    factor = _column(ctx, rows, "log" if log else "inverse")
    if log:
        p.activation(factor, total, "log")
    else:
        p.reciprocal(factor, total)
    for k, out in enumerate(rows.out_rows):
        one = factor[:, k : k + 1]
        if log:
            engine = ctx.pick(("vector",), rows.width)
            p.tensor_scalar(out, rows.x_rows[k], "add", top[:, k : k + 1], "subtract", one, engine=engine)
        else:
            p.tensor_scalar(out, temp[:, k], "mult", one, engine=ctx.pick(("vector", "scalar"), rows.width))


def _short(ctx: Context, rows: Rows, log: bool) -> None:
    """All rows at once: per-row values are read with step 0 along the row."""
    p, n = ctx.program, rows.count * rows.width
    shape = (rows.count, rows.width)

    def spread(column: View) -> View:
        return column.reshape(rows.count, 1).broadcast(1, rows.width)

    top, total = _negative_max(ctx, rows), _column(ctx, rows, "sum")
    shifted, power = (_column(ctx, rows, name, rows.width).reshape(*shape) for name in ("shifted", "exp"))
    ctx.charge("vector", 5 * n / ctx.target.engines["vector"].clock_ghz)
    ctx.charge("scalar", n / ctx.target.engines["scalar"].clock_ghz)
    p.tensor_tensor(shifted, rows.x, spread(top), "add")
    p.activation(power, shifted, "exp")
    p.tensor_reduce(total, power, "add", axes=1)
    factor = _column(ctx, rows, "log" if log else "inverse")
    if log:
        p.activation(factor, total, "log")
        p.tensor_tensor(rows.out, shifted, spread(factor), "subtract")
    else:
        p.reciprocal(factor, total)
        p.tensor_tensor(rows.out, power, spread(factor), "mult")
