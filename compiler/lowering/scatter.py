"""ScatterElements and ScatterND: a copy of the data in DRAM, into which rows of updates are written.

With a reduction, updates of one row are first combined among themselves (every update with all that have the same row
number), so that writing one row several times writes the same values.
"""
from __future__ import annotations

from math import prod

import numpy as np

from compiler.ir import Graph, Node
from compiler.lowering.context import Context
from compiler.lowering.dma import dma_tensor
from compiler.lowering.dram import dram_value, dram_view
from compiler.lowering.gather import FEW_PIECES, element_rows
from compiler.lowering.indirect import RowNumbers, dram_result, indirect_condition, scatter_rows
from compiler.lowering.select import MOST_PIECES, pieces_of_boxes, scatter_dram
from compiler.lowering.transpose import rows_last
from isa.lang import DramView, View
from isa.target import Target
from isa.word import PARTITIONS

#: reduction -> (operation, its neutral element)
REDUCTIONS = {"add": ("add", 0.0), "mul": ("mult", 1.0), "max": ("max", -np.inf), "min": ("min", np.inf)}
#: updates that are compared with each other at once, and elements of a partition that such a comparison may take
MOST_UPDATES = 8192
#: elements that one lane may combine: beyond, the host is faster
MOST_WORK = 1 << 26


def scatter_condition(graph: Graph, node: Node, target: Target) -> str:
    """Why this Scatter cannot be lowered, "" when it can."""
    shape, reduction = graph.shape(node.inputs[0]), node.attrs.get("reduction", "none")
    index = graph.const(node.inputs[1])
    if reduction == "none":
        known = index is not None and _pieces(node, shape, index, MOST_PIECES) <= MOST_PIECES
        return "" if known else indirect_condition(target, node.op, prod(shape))
    dtype = graph.dtype(node.inputs[0])
    if "float" not in dtype and (reduction in ("add", "mul") and not dtype.endswith(("32", "64"))):
        return f"{dtype} values that are added or multiplied by a {node.op} may wrap around"
    count = _count(node, graph.shape(node.inputs[1]))
    if count > MOST_UPDATES or -(-count // PARTITIONS) * graph.value(node.inputs[2]).size > MOST_WORK:
        return f"a {node.op} that combines so many updates ({count}) compares each with each"
    return indirect_condition(target, node.op, prod(shape))


def _count(node: Node, index: tuple[int, ...]) -> int:
    """Rows that are written."""
    return prod(index[:-1]) if node.op == "ScatterND" else prod(index)


def _pieces(node: Node, shape: tuple[int, ...], index: np.ndarray, most: int) -> int:
    return pieces_of_boxes(_targets(node, shape, index), most)


def _targets(node: Node, shape: tuple[int, ...], index: np.ndarray) -> np.ndarray:
    """Element numbers that constant indices write, in the shape of the updates."""
    rows = element_rows(node, shape, index.shape)
    digits = index.reshape(-1, len(rows.sizes)).astype(np.int64)
    digits = np.where(digits < 0, digits + np.array(rows.sizes), digits)
    number = digits @ np.array(rows.strides) + (0 if rows.offsets is None else rows.offsets)
    if node.op == "ScatterElements":
        return number.reshape(index.shape)
    rest = shape[index.shape[-1] :]
    inner = np.arange(prod(rest))
    return (number[:, None] * len(inner) + inner).reshape(*index.shape[:-1], *rest)


def lower_scatter(ctx: Context, node: Node) -> None:
    """Rows of updates into a copy of the data."""
    data, index, updates = node.inputs[:3]
    shape, const = ctx.shape(data), ctx.graph.const(index)
    to = _copied(ctx, node.output, data)
    source = dram_value(ctx, updates)
    rows = element_rows(node, shape, ctx.shape(index))
    count = _count(node, ctx.shape(index))
    width = prod(ctx.shape(updates)) // count
    table = to.reshape(prod(shape) // width, width)
    if node.attrs.get("reduction", "none") != "none":
        _reduced(ctx, node, table, source.reshape(count, width), rows)
        return
    if const is not None:
        most = FEW_PIECES if "scatter" in ctx.target.dma.ops else MOST_PIECES
        flat = _targets(node, shape, const)
        if pieces_of_boxes(flat, most) <= most:
            scatter_dram(ctx, node.output, to, source.reshape(*flat.shape), flat)
            return
    scatter_rows(ctx, table, source.reshape(count, width), rows)


def _copied(ctx: Context, name: str, data: str) -> DramView:
    to = dram_result(ctx, name, ctx.storage(data))
    if data in ctx.tensors and data not in ctx.dram:
        dma_tensor(ctx, rows_last(ctx, ctx.tensors[data]), to, store=True, purpose="relayout")
    else:
        ctx.program.dma(to, dram_view(ctx, data), purpose="relayout")
    return to


def _reduced(ctx: Context, node: Node, table: DramView, source: DramView, rows: RowNumbers) -> None:
    """table[row i] = table[row i] op (all source[j] whose row is the same), 128 updates at a time."""
    p, name = ctx.program, node.output
    count, width = source.shape
    numbers = ctx.scratch(f"{name}.rows", (1, count), "int32")
    for first, n, piece in rows.pieces(ctx):
        p.dma(numbers[:, first : first + n], piece, purpose="relayout")
    line = p.sbuf((1, count), "int32", name=f"{name}.line")
    p.dma(line, numbers, purpose="load")
    everywhere = p.sbuf((PARTITIONS, count), "int32", name=f"{name}.rows")
    p.dma(everywhere, numbers.ap(0, [0, 4], [PARTITIONS, count]), purpose="load")
    wide = max(1, MOST_UPDATES // count)
    made = []
    for lo in range(0, width, wide):
        hi = min(lo + wide, width)
        spread = p.sbuf((PARTITIONS, hi - lo, count), source.dtype.name, name=f"{name}.updates")
        steps = [0, source.steps[1], source.steps[0]]
        p.dma(spread, source[:, lo:hi].ap(0, steps, [PARTITIONS, hi - lo, count]), purpose="load")
        for first in range(0, count, PARTITIONS):
            n = min(PARTITIONS, count - first)
            same = _same(ctx, numbers, everywhere, first, n)
            old = p.sbuf((n, hi - lo), table.dtype.name, name=f"{name}.old")
            p.dma_gather(old, table[:, lo:hi], line[:, first : first + n], purpose="load")
            made.append((lo, hi, first, n, _combined(ctx, node, old, spread[:n], same)))
    for lo, hi, first, n, new in made:  # all old rows are read before the first is written
        p.dma_scatter(table[:, lo:hi], new, line[:, first : first + n], purpose="store")


def _same(ctx: Context, numbers: DramView, everywhere: View, first: int, n: int) -> View:
    """[n, count] uint8: whether update first + i and update j have the same row."""
    own = ctx.program.sbuf((n, 1), "int32", name="own")
    ctx.program.dma(own, numbers[:, first : first + n].reshape(n, 1), purpose="load")
    same = ctx.program.sbuf((n, everywhere.count), "uint8", name="same")
    engine = ctx.pick(("vector",), everywhere.count)
    ctx.program.tensor_scalar(same, everywhere[:n], "is_equal", own, engine=engine)
    return same


def _combined(ctx: Context, node: Node, old: View, spread: View, same: View) -> View:
    """[n, w] = old op (over j where same: spread[:, w, j])."""
    p, (op, neutral) = ctx.program, REDUCTIONS[node.attrs["reduction"]]
    n, w, count = spread.shape
    ctx.charge("vector", 3 * w * count / ctx.target.engines["vector"].clock_ghz)
    chosen = p.sbuf((n, w, count), spread.dtype.name, name="chosen")
    p.memset(chosen, neutral, engine="vector")
    p.tensor_copy_predicated(chosen, spread, same[:, None, :].broadcast(0, w))
    total = p.sbuf((n, w), "fp32", name="total")
    p.tensor_reduce(total, chosen, op, axes=1)
    new = p.sbuf((n, w), old.dtype.name, name="new")
    p.tensor_tensor(new, old, total, op)
    return new
