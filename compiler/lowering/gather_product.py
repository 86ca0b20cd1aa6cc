"""Gather without an indirect DMA (v1): one-hot columns of the indices, times the table, on the PE."""
from __future__ import annotations

from math import prod

import numpy as np

from compiler.ir import Graph, Node
from compiler.layout import Tensor, runs_of
from compiler.lowering.context import Context
from compiler.lowering.dram import dram_value, dram_view
from compiler.lowering.move import psum_view
from compiler.lowering.stationary import Block, Stationary
from isa.lang import View
from isa.word import PARTITIONS

#: a bf16 holds integers exactly up to here
EXACT = 256
#: bytes per partition that a table computed at run time may take
MOST_BYTES = 16384


def product_condition(graph: Graph, node: Node) -> str:
    """Why a Gather cannot be a product, "" when it can."""
    data, table = node.inputs[0], graph.const(node.inputs[0])
    shape = graph.shape(data)
    axis = node.attrs.get("axis", 0) % len(shape)
    if graph.dtype(data) in ("int32", "int64", "uint32", "uint64", "int16", "uint16"):
        if table is None or np.abs(table.astype(np.float64)).max(initial=0) > EXACT:
            return "v1 gathers by products of bf16, which do not hold these integers exactly"
    tiles = -(-shape[axis] // PARTITIONS)
    if table is None and tiles * (prod(shape) // shape[axis]) * 4 > MOST_BYTES:
        return "the Gather reads a large table computed at run time, and the DMA of v1 takes no indices"
    return ""


def gather_by_product(ctx: Context, node: Node) -> None:
    """out[..., i..., ...] = data[..., index[i...], ...] along one axis."""
    name, (data, index) = node.output, node.inputs[:2]
    shape, ids = ctx.shape(data), ctx.shape(index)
    axis = node.attrs.get("axis", 0) % len(shape)
    rest = [n for a, n in enumerate(shape) if a != axis]
    width = prod(rest)
    tiles = -(-shape[axis] // PARTITIONS)
    pe = ctx.precision.matmul("fp32")
    cuts = [(lo, min(lo + ctx.target.psum_bank_bytes // 4, width))
            for lo in range(0, width, ctx.target.psum_bank_bytes // 4)]
    moving = _Table(ctx, node, axis, cuts, tiles, pe)
    hot = _one_hot(ctx, name, index, shape[axis], tiles, pe)
    lead = [a for a in range(len(ids)) if ids[a] > 1]
    flat = ctx.alloc((*ids, width), tuple(lead), ctx.storage(name), name=name)
    for c, (lo, hi) in enumerate(cuts):
        for (run,) in runs_of(flat.positions()) or []:
            acc = psum_view(ctx, run.partition + run.count, hi - lo)[run.partition : run.partition + run.count]
            for k in range(tiles):
                ctx.program.load_stationary(hot[k][:, run.first : run.first + run.count])
                ctx.program.matmul(acc, moving(c, k), start=k == 0, stop=k == tiles - 1)
            engine = ctx.pick(("scalar", "vector"), hi - lo)
            ctx.program.tensor_copy(flat.view(run, [(hi - lo, 1)], lo), acc, engine=engine)
    ctx.tensors[name] = _in_place(flat, ids, rest, axis)


def _in_place(flat: Tensor, ids: tuple[int, ...], rest: list[int], axis: int) -> Tensor:
    """[ids..., width] as the result: the axes of the indices stand where the gathered axis was."""
    apart = flat.reshape((*ids, *rest))
    assert apart is not None  # plain axes regroup freely
    n = len(ids)
    return apart.transpose([*range(n, n + axis), *range(n), *range(n + axis, n + len(rest))])


class _Table:
    """The table with the gathered axis on partitions, [rows, hi - lo] of cut c and tile k on demand."""

    def __init__(self, ctx: Context, node: Node, axis: int, cuts: list[tuple[int, int]], tiles: int, pe: str) -> None:
        data = node.inputs[0]
        array = ctx.graph.const(data)
        self.tiles, self.cuts = tiles, cuts
        self.packed: Stationary | None = None
        if array is not None:
            table = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
            blocks = [Block(0, table[k * PARTITIONS : (k + 1) * PARTITIONS, lo:hi]) for lo, hi in cuts
                      for k in range(tiles)]
            self.packed = Stationary(ctx, node.output, blocks, pe)
            return
        shape = ctx.shape(data)
        dram_value(ctx, data)
        far = dram_view(ctx, data).permute(axis, *(a for a in range(len(shape)) if a != axis))
        width = prod(shape) // shape[axis]
        self.loaded: list[View] = []
        for k in range(tiles):
            rows = far[k * PARTITIONS : (k + 1) * PARTITIONS]
            tile = ctx.program.sbuf((rows.shape[0], width), far.dtype.name, name=f"{node.output}.table")
            ctx.program.dma(tile, rows, purpose="load")
            if far.dtype.name != pe:
                narrow = ctx.program.sbuf((rows.shape[0], width), pe, name=f"{node.output}.table")
                ctx.program.tensor_copy(narrow, tile, engine=ctx.pick(("scalar", "vector"), width))
                tile = narrow
            self.loaded.append(tile)

    def __call__(self, c: int, k: int) -> View:
        if self.packed is not None:
            return self.packed.view(c * self.tiles + k)
        return self.loaded[k][:, slice(*self.cuts[c])]


def _one_hot(ctx: Context, name: str, index: str, rows: int, tiles: int, pe: str) -> list[View]:
    """[rows of tile k, count]: 1 where the (wrapped) index is the row's number."""
    p, count = ctx.program, prod(ctx.shape(index))
    ids = p.sbuf((PARTITIONS, count), "int32", name=f"{name}.index")
    p.dma(ids, dram_value(ctx, index).reshape(count).ap(0, [0, 4], [PARTITIONS, count]), purpose="load")
    shift = p.sbuf((PARTITIONS, count), "fp32", name=f"{name}.shift")
    p.tensor_scalar(shift, ids, "is_lt", 0.0, "mult", float(rows))
    wrapped = p.sbuf((PARTITIONS, count), "fp32", name=f"{name}.wrapped")
    p.tensor_tensor(wrapped, ids, shift, "add")
    numbers = np.arange(tiles * PARTITIONS, dtype=np.int64)
    column = ctx.columns(("row numbers", tiles), numbers.astype(np.float32), numbers, tiles).tiles[0]
    hot = []
    for k in range(tiles):
        top = min(PARTITIONS, rows - k * PARTITIONS)
        hot.append(p.sbuf((top, count), pe, name=f"{name}.hot{k}"))
        engine = ctx.pick(("vector",), count)
        p.tensor_scalar(hot[-1], wrapped[:top], "is_equal", column[:top, k : k + 1], engine=engine)
    return hot
