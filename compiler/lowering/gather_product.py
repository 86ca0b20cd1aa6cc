"""Gather without an indirect DMA (v1): one-hot columns of the indices, times the table, on the PE.

A float32 is the exact sum of three bfloat16, so a table in three parts is gathered without rounding. Large tables,
embeddings as a rule, are rounded like other operands of products: in parts they would take three times the time.
"""
from __future__ import annotations

from math import prod

import numpy as np

from compiler.ir import Graph, Node
from compiler.layout import Tensor, runs_of
from compiler.lowering.context import Context
from compiler.lowering.dram import dram_value, dram_view
from compiler.lowering.move import psum_view
from compiler.lowering.stationary import Block, Stationary
from compiler.passes.split_products import PARTS, constant_parts
from isa.lang import View
from isa.word import PARTITIONS

#: a bf16 holds integers exactly up to here, three of them up to there
EXACT, EXACT_PARTS = 256, 1 << 24
#: tables of at most so many elements are gathered exactly
MOST_EXACT = 1 << 16
#: bytes per partition that a table computed at run time may take
MOST_BYTES = 16384


def product_condition(graph: Graph, node: Node) -> str:
    """Why a Gather cannot be a product, "" when it can."""
    data, table = node.inputs[0], graph.const(node.inputs[0])
    shape = graph.shape(data)
    axis = node.attrs.get("axis", 0) % len(shape)
    if graph.dtype(data) in ("int32", "int64", "uint32", "uint64", "int16", "uint16"):
        most = EXACT_PARTS if prod(shape) <= MOST_EXACT else EXACT
        if table is None or np.abs(table.astype(np.float64)).max(initial=0) > most:
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
                parts = moving(c, k)
                for n, part in enumerate(parts):
                    last = k == tiles - 1 and n == len(parts) - 1
                    ctx.program.matmul(acc, part, start=k == n == 0, stop=last)
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
    """The table with the gathered axis on partitions: on demand the parts of cut c and tile k, each [rows, hi - lo]."""

    def __init__(self, ctx: Context, node: Node, axis: int, cuts: list[tuple[int, int]], tiles: int, pe: str) -> None:
        data = node.inputs[0]
        array = ctx.graph.const(data)
        self.tiles, self.cuts = tiles, cuts
        self.packed: Stationary | None = None
        if array is not None:
            table = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
            tables = _constant_parts(table) if pe == "bf16" and array.size <= MOST_EXACT else [table]
            blocks = [Block(0, part[k * PARTITIONS : (k + 1) * PARTITIONS, lo:hi]) for lo, hi in cuts
                      for k in range(tiles) for part in tables]
            self.count = len(tables)
            self.packed = Stationary(ctx, node.output, blocks, pe)
            return
        shape = ctx.shape(data)
        dram_value(ctx, data)
        far = dram_view(ctx, data).permute(axis, *(a for a in range(len(shape)) if a != axis))
        width = prod(shape) // shape[axis]
        exact = pe == "bf16" and prod(shape) <= MOST_EXACT
        self.loaded: list[list[View]] = []
        for k in range(tiles):
            rows = far[k * PARTITIONS : (k + 1) * PARTITIONS]
            tile = ctx.program.sbuf((rows.shape[0], width), far.dtype.name, name=f"{node.output}.table")
            ctx.program.dma(tile, rows, purpose="load")
            self.loaded.append(_parts(ctx, tile, pe, PARTS if exact and far.dtype.name == "fp32" else 1))

    def __call__(self, c: int, k: int) -> list[View]:
        if self.packed is not None:
            first = (c * self.tiles + k) * self.count
            return [self.packed.view(n) for n in range(first, first + self.count)]
        return [part[:, slice(*self.cuts[c])] for part in self.loaded[k]]


def _constant_parts(table: np.ndarray) -> list[np.ndarray]:
    """As many bfloat16 as the table is the sum of, at least one."""
    parts = constant_parts(table)
    return parts[:1] + [part for part in parts[1:] if part.any()]


def _parts(ctx: Context, tile: View, pe: str, count: int) -> list[View]:
    """A loaded tile in the PE's type, or as the sum of `count` of those."""
    if tile.dtype.name == pe:
        return [tile]
    p, (rows, width), parts = ctx.program, tile.shape, []
    for k in range(count):
        parts.append(p.sbuf((rows, width), pe, name="table"))
        p.tensor_copy(parts[-1], tile, engine=ctx.pick(("scalar", "vector"), width))
        if k + 1 < count:
            rest = p.sbuf((rows, width), "fp32", name="table.rest")
            p.tensor_tensor(rest, tile, parts[-1], "subtract")
            tile = rest
    return parts


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
