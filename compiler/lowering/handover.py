"""What pipeline stages hand over, in the order in which it lies on chip, so that a partition is one run of memory.

A DMA pays for every run that is contiguous on both sides. Row-major, a value with its last axis on partitions would
cross element by element, an image row by row. `PackRows` writes it block by block instead, a block being a few tiles
side by side, so that each partition is one run; `UnpackRows` reads it so. Blocks are no larger than long runs need,
since the first can cross while the last is computed.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import numpy as np

from compiler.ir import Graph, Node
from compiler.layout import Atom, F, P, Run, Tensor
from compiler.lowering.context import Context
from compiler.lowering.dma import dma_tensor
from compiler.lowering.dram import dram_value
from compiler.lowering.move import cast, copy
from compiler.lowering.transpose import relayout
from isa.lang import DramView, View
from isa.word import PARTITIONS

#: bytes of a run that spends about as long moving as starting: 90 ns at 27.2 bytes per ns (isa/targets)
LONG_RUN = 2048
#: a run of fewer bytes is worth an engine's copy to where it becomes part of a longer one
SHORT_RUN = 256
#: operators that only describe their operand anew: what they show is laid out where the operand is made
VIEWS = ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze")


def lower_pack_rows(ctx: Context, node: Node) -> None:
    """PackRows: a value to the flat form in which it is handed over (attributes: see `sharding.arrange`)."""
    name = node.output
    matrix = _as_matrix(ctx, node)
    far = ctx.outputs[name] if name in ctx.outputs else ctx.scratch(name, ctx.shape(name), ctx.storage(name))
    columns = matrix.shape[1]
    for first, count, rows in blocks_of(matrix.shape[0], columns * matrix.itemsize):
        begin = first * PARTITIONS * columns
        block = far[begin : begin + count * rows * columns].reshape(rows, count, columns)
        for low, high, view in _side_by_side(matrix, first, count, rows):
            ctx.program.dma(block[:, low:high], view, purpose="store")
    ctx.dram[name] = far


def lower_unpack_rows(ctx: Context, node: Node) -> None:
    """UnpackRows: a value that was handed over in flat form, on chip as it lay there."""
    name, far = node.output, ctx.dram[node.inputs[0]]
    permuted, rows, columns = _sizes(node)
    tiles: list[View] = []
    for first, count, high in blocks_of(rows, columns * far.dtype.size):
        begin = first * PARTITIONS * columns
        block = ctx.program.sbuf((high, count * columns), far.dtype, name=name)
        ctx.program.dma(block, far[begin : begin + high * count * columns].reshape(high, count * columns),
                        purpose="load")
        tiles += [block[:, k * columns : (k + 1) * columns] for k in range(count)]
    matrix = Tensor(tuple(tiles), far.dtype.name, ((Atom(rows, P),), (Atom(columns, F, 1),)),
                    np.arange(rows, dtype=np.int32))
    apart = matrix.reshape(permuted)
    assert apart is not None  # rows and columns are products of whole factors
    out = apart.transpose([int(k) for k in np.argsort(node.attrs["order"])]).reshape(ctx.shape(name))
    assert out is not None
    ctx.tensors[name] = _as_allocated(out)


def _as_allocated(tensor: Tensor) -> Tensor:
    """The same tensor, described as `Context.alloc` does: so a Concat knows it for the equal of what is made here."""
    axes, stride = [], 1
    for axis in reversed(tensor.axes):
        axes.append(axis or (Atom(1, F, stride),))
        stride *= prod(a.size for a in axis if a.space == F)
    return replace(tensor, axes=tuple(reversed(axes)), fill=0.0)


def joint_values(graph: Graph) -> frozenset[str]:
    """Values whose tiles should lie side by side, since they are packed."""
    found: set[str] = set()
    pending = [n.inputs[0] for n in graph.nodes if n.op == "PackRows"]
    while pending:
        name = pending.pop()
        node = graph.producer(name)
        if node is not None and node.op in (*VIEWS, "Concat"):
            pending += [i for i in node.inputs[: None if node.op == "Concat" else 1] if not graph.is_const(i)]
        else:
            found.add(name)
    return frozenset(found)


def blocks_of(rows: int, row_bytes: int) -> Iterator[tuple[int, int, int]]:
    """(first tile, tiles, partitions) of the blocks of a matrix: full tiles by several, then what is left."""
    full, left = divmod(rows, PARTITIONS)
    step = max(1, LONG_RUN // row_bytes)
    for first in range(0, full, step):
        yield first, min(step, full - first), PARTITIONS
    if left:
        yield full, 1, left


def _sizes(node: Node) -> tuple[list[int], int, int]:
    """Factors in the order in which they are handed over, rows and columns of the matrix they make."""
    permuted = [node.attrs["factors"][k] for k in node.attrs["order"]]
    at = node.attrs["rows"]
    return permuted, prod(permuted[:at]), prod(permuted[at:])


def _as_matrix(ctx: Context, node: Node) -> Tensor:
    """The operand as [rows, columns], rows densely on partitions, columns contiguous; as it lies where that is so."""
    source = node.inputs[0]
    _, rows, columns = _sizes(node)
    tensor = ctx.tensor(source)
    if any(pads != (0, 0) for pads in tensor.pads.values()):
        tensor = cast(ctx, tensor, tensor.dtype)  # rows of an image without what lies between them
    apart = tensor.reshape(node.attrs["factors"])
    matrix = apart.transpose(node.attrs["order"]).reshape((rows, columns)) if apart is not None else None
    if matrix is None:
        matrix = _through_dram(ctx, node, dram_value(ctx, source))
    matrix = relayout(ctx, matrix, (0,))
    dense = np.array_equal(matrix.positions(), np.arange(rows)) or rows == 1
    flat = matrix.axes[1] in ((Atom(columns, F, 1),), ()) and matrix.dtype == ctx.storage(node.output)
    joint = columns * matrix.itemsize > SHORT_RUN or all(
        _follows(matrix, k, columns) for k in range(1, rows // PARTITIONS))
    if dense and flat and joint:
        return matrix
    near = ctx.alloc(matrix.shape, (0,), ctx.storage(node.output), name="packed", joint=True)
    copy(ctx, near, matrix)
    return near


def _through_dram(ctx: Context, node: Node, view: DramView) -> Tensor:
    """The matrix of a value in DRAM that is laid out otherwise than foreseen."""
    permuted, rows, columns = _sizes(node)
    at = node.attrs["rows"]
    pmap = np.arange(rows, dtype=np.int32).reshape(permuted[:at])
    near = ctx.alloc(permuted, tuple(range(at)), view.dtype.name, pmap=pmap, name="packed")
    far = view.reshape(tuple(node.attrs["factors"])).permute(*node.attrs["order"])
    dma_tensor(ctx, near, far, store=False, purpose="relayout")
    matrix = near.reshape((rows, columns))
    assert matrix is not None  # it has been laid out so
    return matrix


def _side_by_side(matrix: Tensor, first: int, count: int, rows: int) -> Iterator[tuple[int, int, View]]:
    """(from, to, view) of runs of tiles `first` .. that lie one behind the other in memory."""
    columns = matrix.shape[1]
    low = 0
    while low < count:
        high = low + 1
        while high < count and _follows(matrix, first + high, columns):
            high += 1
        run = Run(0, first + low, 0, rows)
        yield low, high, matrix.view_dims(run, [(high - low, columns), (columns, 1)])
        low = high


def _follows(matrix: Tensor, tile: int, columns: int) -> bool:
    """Whether a tile begins where the one before ends."""
    before, here = matrix.tiles[tile - 1], matrix.tiles[tile]
    return here.tile is before.tile and here.start == before.start + columns * matrix.itemsize
