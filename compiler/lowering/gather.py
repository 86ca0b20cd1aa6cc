"""Gather: rows of a table by computed indices through the DMA, by constant indices through affine reads."""
from __future__ import annotations

from math import prod

import numpy as np

from compiler.errors import UnsupportedOp
from compiler.ir import Node
from compiler.layout import runs_of
from compiler.lowering.context import Context, default_positions
from compiler.lowering.dram import dram_value, dram_view
from compiler.lowering.move import psum_view
from compiler.lowering.select import gather_dram, pick, pick_dram
from compiler.lowering.stationary import Block, Stationary
from isa.word import PARTITIONS


def lower_gather(ctx: Context, node: Node) -> None:
    """Gather along one axis."""
    data, index = node.inputs[:2]
    axis = node.attrs.get("axis", 0) % len(ctx.shape(data))
    const = ctx.graph.const(index)
    if const is not None:
        _constant(ctx, node, data, axis, const)
    elif axis == 0:
        _rows(ctx, node, data, index)
    else:
        raise UnsupportedOp("Gather by computed indices along an inner axis has no lowering", where=node.name)


def _constant(ctx: Context, node: Node, data: str, axis: int, index: np.ndarray) -> None:
    shape = ctx.shape(data)
    index = np.where(index < 0, index + shape[axis], index)
    if index.ndim == 0 and ctx.graph.const(data) is None:
        ctx.tensors[node.output] = ctx.tensor(data).index_axis(axis, int(index))
        return
    picks = [np.arange(n) for n in shape]
    picks[axis] = index.reshape(-1).astype(np.int64)
    if data in ctx.tensors:
        ctx.tensors[node.output] = pick(ctx, node.output, ctx.tensors[data], picks)
        return
    final = pick_dram(ctx, node.output, dram_view(ctx, data), picks).reshape(ctx.shape(node.output))
    assert final is not None  # plain axes regroup freely
    ctx.tensors[node.output] = final


def _rows(ctx: Context, node: Node, data: str, index: str) -> None:
    """out[i..., :] = table[index[i...], :]: the index list on one partition drives an indirect DMA.

    Rows go to partitions.
    """
    if "gather" not in ctx.target.dma.ops:
        _rows_by_product(ctx, node, data, index)
        return
    name = node.output
    table = dram_value(ctx, data)
    rows = ctx.shape(data)[0]
    width = prod(ctx.shape(data)[1:])
    count = prod(ctx.shape(index))
    ids = ctx.program.sbuf((1, count), "int32", name=f"{name}.index")
    ctx.program.dma(ids, dram_value(ctx, index).reshape(1, count), purpose="load")
    # a negative index counts from the end: add the number of rows where it is below zero
    shift = ctx.program.sbuf((1, count), "fp32", name=f"{name}.shift")
    ctx.program.tensor_scalar(shift, ids, "is_lt", 0.0, "mult", float(rows))
    wrapped = ctx.program.sbuf((1, count), "int32", name=f"{name}.wrapped")
    ctx.program.tensor_tensor(wrapped, ids, shift, "add")
    shape = ctx.shape(index)
    lead = [a for a in range(len(shape)) if shape[a] > 1]
    pmap = default_positions([shape[a] for a in lead])
    full = (*shape, width)
    flat = ctx.alloc(full, tuple(lead), ctx.storage(name), pmap=pmap, name=name)
    far = table.reshape(rows, width)
    for (run,) in runs_of(flat.positions(), legal=False) or []:
        dst = flat.tiles[run.tile].ap(0, [1], [width], partition=run.partition, partitions=run.count)
        ctx.program.dma_gather(dst, far, wrapped[:, run.first : run.first + run.count], rows, purpose="load")
    out = flat.reshape(ctx.shape(name))
    assert out is not None
    ctx.tensors[name] = out


def _rows_by_product(ctx: Context, node: Node, data: str, index: str) -> None:
    """The same without an indirect DMA (v1): one-hot columns of the indices, times the table, on the PE."""
    name, p = node.output, ctx.program
    table = ctx.graph.const(data)
    if table is None:
        raise UnsupportedOp("Gather from a computed table needs an indirect DMA", where=node.name)
    rows, count = ctx.shape(data)[0], prod(ctx.shape(index))
    table = table.reshape(rows, -1)
    pe = ctx.precision.matmul("fp32")
    spread = dram_value(ctx, index)
    ids = p.sbuf((PARTITIONS, count), "int32", name=f"{name}.index")
    p.dma(ids, spread.reshape(count).ap(0, [0, 4], [PARTITIONS, count]), purpose="load")
    shift = p.sbuf((PARTITIONS, count), "fp32", name=f"{name}.shift")
    p.tensor_scalar(shift, ids, "is_lt", 0.0, "mult", float(rows))
    wrapped = p.sbuf((PARTITIONS, count), "fp32", name=f"{name}.wrapped")
    p.tensor_tensor(wrapped, ids, shift, "add")
    tiles = -(-rows // PARTITIONS)
    numbers = np.arange(tiles * PARTITIONS, dtype=np.int64)
    column = ctx.columns(("row numbers", tiles), numbers.astype(np.float32), numbers, tiles).tiles[0]
    width = ctx.target.psum_bank_bytes // 4
    cuts = [(lo, min(lo + width, table.shape[1])) for lo in range(0, table.shape[1], width)]
    made = [Block(0, table[k * PARTITIONS : (k + 1) * PARTITIONS, lo:hi]) for lo, hi in cuts for k in range(tiles)]
    moving = Stationary(ctx, name, made, pe)
    hot = []
    for k in range(tiles):
        top = min(PARTITIONS, rows - k * PARTITIONS)
        hot.append(p.sbuf((top, count), pe, name=f"{name}.hot{k}"))
        p.tensor_scalar(
            hot[-1], wrapped[:top], "is_equal", column[:top, k : k + 1], engine=ctx.pick(("vector",), count)
        )
    shape = ctx.shape(index)
    lead = [a for a in range(len(shape)) if shape[a] > 1]
    flat = ctx.alloc((*shape, table.shape[1]), tuple(lead), ctx.storage(name), name=name)
    for c, (lo, hi) in enumerate(cuts):
        for (run,) in runs_of(flat.positions()) or []:
            acc = psum_view(ctx, run.partition + run.count, hi - lo)[run.partition : run.partition + run.count]
            for k in range(tiles):
                p.load_stationary(hot[k][:, run.first : run.first + run.count])
                p.matmul(acc, moving.view(c * tiles + k), start=k == 0, stop=k == tiles - 1)
            p.tensor_copy(flat.view(run, [(hi - lo, 1)], lo), acc, engine=ctx.pick(("scalar", "vector"), hi - lo))
    out = flat.reshape(ctx.shape(name))
    assert out is not None
    ctx.tensors[name] = out


def lower_gather_elements(ctx: Context, node: Node) -> None:
    """GatherElements and GatherND by constant indices."""
    data, index = node.inputs[:2]
    const = ctx.graph.const(index)
    if const is None:
        raise UnsupportedOp(f"{node.op} by computed indices has no lowering", where=node.name)
    shape = ctx.shape(data)
    number = np.arange(prod(shape)).reshape(shape)
    if node.op == "GatherElements":
        axis = node.attrs.get("axis", 0) % len(shape)
        flat = np.take_along_axis(number, np.where(const < 0, const + shape[axis], const), axis=axis)
    else:
        batch = node.attrs.get("batch_dims", 0)
        flat = _gather_nd(number, const, batch)
    source = dram_value(ctx, data)
    if not flat.shape:
        flat = flat.reshape(())
    ctx.tensors[node.output] = gather_dram(ctx, node.output, source, flat)


def _gather_nd(number: np.ndarray, index: np.ndarray, batch: int) -> np.ndarray:
    depth = index.shape[-1]
    if batch == 0:
        return number[tuple(np.moveaxis(index, -1, 0))]
    lead = index.shape[:batch]
    rows = [_gather_nd(number[at], index[at], 0) for at in np.ndindex(*lead)]
    assert depth + batch <= number.ndim
    return np.stack(rows).reshape(*lead, *rows[0].shape)

