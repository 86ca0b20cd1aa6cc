"""Gather: rows of a table by computed indices through the DMA, by constant indices through affine reads."""
from __future__ import annotations

from math import prod

import numpy as np

from compiler.errors import UnsupportedOp
from compiler.ir import Node
from compiler.layout import runs_of
from compiler.lowering.context import Context, default_positions
from compiler.lowering.move import dma_tensor, dram_value
from compiler.lowering.views import _pick, gather_dram


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
    if index.ndim == 0 and (data in ctx.tensors or ctx.graph.const(data) is None):
        ctx.tensors[node.output] = ctx.tensor(data).index_axis(axis, int(index))
        return
    if index.ndim == 1 and (data in ctx.tensors or ctx.graph.const(data) is None):
        picks = [np.arange(n) for n in shape]
        picks[axis] = index.astype(np.int64)
        ctx.tensors[node.output] = _pick(ctx, node.output, ctx.tensor(data), picks)
        return
    flat = np.arange(prod(shape)).reshape(shape).take(index, axis=axis)
    ctx.tensors[node.output] = gather_dram(ctx, node.output, dram_value(ctx, data), flat)


def _rows(ctx: Context, node: Node, data: str, index: str) -> None:
    """out[i..., :] = table[index[i...], :]: the index list on one partition drives an indirect DMA; rows go to partitions."""
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


__all__ = ["dma_tensor", "lower_gather", "lower_gather_elements"]
