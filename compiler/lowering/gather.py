"""Gather and its relatives: computed indices drive an indirect DMA, constant ones are affine reads."""
from __future__ import annotations

from math import prod

import numpy as np

from compiler.ir import Graph, Node
from compiler.layout import runs_of
from compiler.lowering.context import Context, default_positions
from compiler.lowering.dram import dram_value, dram_view
from compiler.lowering.gather_product import gather_by_product, product_condition
from compiler.lowering.indirect import RowNumbers, dram_result, gather_rows, indirect_condition
from compiler.lowering.select import MOST_PIECES, gather_dram, pick, pick_dram, pieces_of_boxes, pieces_of_lists
from isa.target import Target
from isa.word import PARTITIONS

#: constant selections of more pieces than this are one indirect transfer where the DMA has it: each piece is a
#: transfer of its own, with its own start
FEW_PIECES = 32
#: share of a partition that rows gathered into SBUF at once may take
SBUF_SHARE = 0.25


def gather_condition(graph: Graph, node: Node, target: Target) -> str:
    """Why this Gather cannot be lowered, "" when it can."""
    shape, index = graph.shape(node.inputs[0]), graph.const(node.inputs[1])
    axis = node.attrs.get("axis", 0) % len(shape)
    indirect = "gather" in target.dma.ops
    if index is not None:
        few = pieces_of_lists(_picks(shape, axis, index)) <= MOST_PIECES
        return "" if few or indirect else _too_many(target)
    return indirect_condition(target, node.op, shape[axis]) if indirect else product_condition(graph, node)


def gather_elements_condition(graph: Graph, node: Node, target: Target) -> str:
    """Why this GatherElements or GatherND cannot be lowered, "" when it can."""
    shape, index = graph.shape(node.inputs[0]), graph.const(node.inputs[1])
    indirect = "gather" in target.dma.ops
    if index is not None and pieces_of_boxes(_positions(node, shape, index), MOST_PIECES) <= MOST_PIECES:
        return ""
    if index is not None and not indirect:
        return _too_many(target)
    return indirect_condition(target, node.op, prod(shape))


def _too_many(target: Target) -> str:
    return f"a selection of more than {MOST_PIECES} scattered pieces needs indices, and the DMA of " \
           f"{target.generation} takes none"


def lower_gather(ctx: Context, node: Node) -> None:
    """Gather along one axis."""
    data, index = node.inputs[:2]
    shape = ctx.shape(data)
    axis = node.attrs.get("axis", 0) % len(shape)
    const = ctx.graph.const(index)
    indirect = "gather" in ctx.target.dma.ops
    if const is not None and const.ndim == 0 and ctx.graph.const(data) is None:
        ctx.tensors[node.output] = ctx.tensor(data).index_axis(axis, int(const) % shape[axis])
    elif const is not None and not (indirect and pieces_of_lists(_picks(shape, axis, const)) > FEW_PIECES):
        _constant(ctx, node, _picks(shape, axis, const))
    elif not indirect:
        gather_by_product(ctx, node)
    elif prod(shape[:axis]) == 1 and _fits(ctx, node.output, prod(ctx.shape(index))):
        _rows(ctx, node, axis)
    else:
        _along(ctx, node, axis)


def _picks(shape: tuple[int, ...], axis: int, index: np.ndarray) -> list[np.ndarray]:
    """Per axis, the indices that a Gather by constants reads."""
    picks = [np.arange(n) for n in shape]
    picks[axis] = np.where(index < 0, index + shape[axis], index).reshape(-1).astype(np.int64)
    return picks


def _constant(ctx: Context, node: Node, picks: list[np.ndarray]) -> None:
    data = node.inputs[0]
    if data in ctx.tensors:
        ctx.tensors[node.output] = pick(ctx, node.output, ctx.tensors[data], picks)
        return
    final = pick_dram(ctx, node.output, dram_view(ctx, data), picks).reshape(ctx.shape(node.output))
    assert final is not None  # plain axes regroup freely
    ctx.tensors[node.output] = final


def _fits(ctx: Context, name: str, rows: int) -> bool:
    """Whether so many rows of a result, side by side on partitions, leave room for the rest."""
    each = prod(ctx.shape(name)) // rows * 4
    return -(-rows // PARTITIONS) * each <= SBUF_SHARE * ctx.target.sbuf_partition_bytes


def _rows(ctx: Context, node: Node, axis: int) -> None:
    """Rows of an embedding: each goes to a partition."""
    name, (data, index) = node.output, node.inputs[:2]
    rows, shape = ctx.shape(data)[axis], ctx.shape(index)
    width = prod(ctx.shape(data)) // rows
    table = dram_value(ctx, data).reshape(rows, width)
    lead = [a for a in range(len(shape)) if shape[a] > 1]
    pmap = default_positions([shape[a] for a in lead])
    flat = ctx.alloc((*shape, width), tuple(lead), ctx.storage(name), pmap=pmap, name=name)
    places = runs_of(flat.positions(), legal=False) or []
    for first, n, numbers in RowNumbers.along(index, rows).pieces(ctx):
        for (run,) in places:
            lo, hi = max(run.first, first), min(run.first + run.count, first + n)
            if lo < hi:
                start = run.partition + lo - run.first
                dst = flat.tiles[run.tile].ap(0, [1], [width], partition=start, partitions=hi - lo)
                ctx.program.dma_gather(dst, table, numbers[:, lo - first : hi - first], rows, purpose="load")
    out = flat.reshape(ctx.shape(name))
    assert out is not None  # plain axes regroup freely
    ctx.tensors[name] = out


def _along(ctx: Context, node: Node, axis: int) -> None:
    """Along any axis, DRAM to DRAM."""
    data, index = node.inputs[:2]
    shape, count = ctx.shape(data), prod(ctx.shape(index))
    rest = [a for a in range(len(shape)) if a != axis]
    source = dram_view(ctx, data).permute(axis, *rest)
    to = dram_result(ctx, node.output).reshape(*shape[:axis], count, *shape[axis + 1 :]).permute(axis, *rest)
    gather_rows(ctx, to, source, RowNumbers.along(index, shape[axis]))


def lower_gather_elements(ctx: Context, node: Node) -> None:
    """GatherElements and GatherND: rows of one element or of a slice."""
    data, index = node.inputs[:2]
    shape, const = ctx.shape(data), ctx.graph.const(index)
    if const is not None:
        flat = _positions(node, shape, const)
        most = FEW_PIECES if "gather" in ctx.target.dma.ops else MOST_PIECES
        if pieces_of_boxes(flat, most) <= most:
            ctx.tensors[node.output] = gather_dram(ctx, node.output, dram_value(ctx, data), flat)
            return
    rows = element_rows(node, shape, ctx.shape(index))
    count = prod(ctx.shape(index)) // len(rows.sizes)
    width = prod(ctx.shape(node.output)) // count
    source = dram_value(ctx, data).reshape(prod(shape) // width, width)
    gather_rows(ctx, dram_result(ctx, node.output).reshape(count, width), source, rows)


def element_rows(node: Node, shape: tuple[int, ...], index: tuple[int, ...]) -> RowNumbers:
    """Rows that GatherElements, GatherND, ScatterElements and ScatterND address in a tensor of `shape`.

    Args:
        index: the shape of the indices, operand 1 of the node. A row is one element for the ...Elements, what the
            indices leave of the shape for the ...ND.
    """
    if node.op.endswith("ND"):
        batch, depth = node.attrs.get("batch_dims", 0), index[-1]
        steps = _row_steps(shape[: batch + depth])
        known = np.zeros(index[:-1], np.int64)
        for a in range(batch):
            known += (np.arange(shape[a]) * steps[a]).reshape([-1 if b == a else 1 for b in range(len(index) - 1)])
        return RowNumbers(node.inputs[1], shape[batch : batch + depth], steps[batch:], known.reshape(-1))
    axis = node.attrs.get("axis", 0) % len(shape)
    steps = _row_steps(shape)
    known = sum((np.arange(n) * steps[a]).reshape([-1 if b == a else 1 for b in range(len(index))])
                for a, n in enumerate(index) if a != axis) + np.zeros(index, np.int64)
    return RowNumbers(node.inputs[1], (shape[axis],), (steps[axis],), known.reshape(-1))


def _row_steps(shape: tuple[int, ...]) -> list[int]:
    """Row-major steps over dimensions whose innermost counts rows."""
    return [prod(shape[a + 1 :]) for a in range(len(shape))]


def _positions(node: Node, shape: tuple[int, ...], index: np.ndarray) -> np.ndarray:
    """Element numbers of the operand that constant indices read, in the shape of the result."""
    number = np.arange(prod(shape)).reshape(shape)
    if node.op == "GatherND":
        return np.asarray(_gather_nd(number, index, node.attrs.get("batch_dims", 0)))
    axis = node.attrs.get("axis", 0) % len(shape)
    window = tuple(slice(None) if a == axis else slice(0, n) for a, n in enumerate(index.shape))
    return np.take_along_axis(number[window], np.where(index < 0, index + shape[axis], index), axis=axis)


def _gather_nd(number: np.ndarray, index: np.ndarray, batch: int) -> np.ndarray:
    if batch == 0:
        return number[tuple(np.moveaxis(index, -1, 0))]
    lead = index.shape[:batch]
    rows = [_gather_nd(number[at], index[at], 0) for at in np.ndindex(*lead)]
    return np.stack(rows).reshape(*lead, *rows[0].shape)
