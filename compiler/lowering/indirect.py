"""Rows of DRAM tensors named by indices that are computed at run time: indirect transfers and their row numbers."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from compiler.lowering.context import Context
from compiler.lowering.dram import dram_value
from isa.lang import DramView, View
from isa.target import Target

#: row numbers are computed in fp32, exact up to here
MOST_ROWS = 1 << 24
#: row numbers computed at once, in one partition (16 KiB of int32)
PIECE = 4096


@dataclass(frozen=True)
class RowNumbers:
    """Row number of every position: offsets[i] + sum over d of wrapped(index[i, d]) * strides[d].

    Attributes:
        index: value of integers, [count, depth] when flattened; negative ones count from the end.
        sizes: per d, the size of the axis it indexes. strides: per d, rows per step.
        offsets: [count] part of the row number known at compile time, None for zeros.
    """

    index: str
    sizes: Sequence[int]
    strides: Sequence[int]
    offsets: np.ndarray | None = None

    @classmethod
    def along(cls, index: str, size: int) -> RowNumbers:
        """The indices themselves, along an axis of `size`."""
        return cls(index, (size,), (1,))

    def pieces(self, ctx: Context) -> Iterator[tuple[int, int, View]]:
        """(first position, positions n, [1, n] int32 row numbers in SBUF) of the whole list, piece by piece."""
        depth = len(self.sizes)
        count = prod(ctx.shape(self.index)) // depth
        far = dram_value(ctx, self.index).reshape(1, count * depth)
        known = None
        if self.offsets is not None and self.offsets.any():
            known = ctx.constant(f"{self.index}.offsets", self.offsets.reshape(1, count).astype(np.int32))
        for first in range(0, count, PIECE):
            n = min(PIECE, count - first)
            ids = ctx.program.sbuf((1, n * depth), "int32", name=f"{self.index}.ids")
            ctx.program.dma(ids, far[:, first * depth : (first + n) * depth], purpose="load")
            base = None
            if known is not None:
                base = ctx.program.sbuf((1, n), "int32", name=f"{self.index}.offsets")
                ctx.program.dma(base, known[:, first : first + n], purpose="load")
            yield first, n, self._sum(ctx, ids, base, n)

    def _sum(self, ctx: Context, ids: View, total: View | None, n: int) -> View:
        p, depth = ctx.program, len(self.sizes)
        for d, (size, stride) in enumerate(zip(self.sizes, self.strides, strict=True)):
            ctx.charge("vector", 3 * n / ctx.target.engines["vector"].clock_ghz)
            digit = ids.ap(d, [depth], [n])
            shift = p.sbuf((1, n), "fp32", name="shift")
            p.tensor_scalar(shift, digit, "is_lt", 0.0, "mult", float(size))
            rows = p.sbuf((1, n), "int32", name="rows")
            p.tensor_tensor(rows, digit, shift, "add")
            if total is not None:
                summed = p.sbuf((1, n), "int32", name="rows")
                p.scalar_tensor_tensor(summed, rows, "mult", float(stride), "add", total)
                rows = summed
            elif stride != 1:
                scaled = p.sbuf((1, n), "int32", name="rows")
                p.tensor_scalar(scaled, rows, "mult", float(stride))
                rows = scaled
            total = rows
        assert total is not None
        return total


def gather_rows(ctx: Context, to: DramView, source: DramView, rows: RowNumbers) -> None:
    """to[i] = source[row i] along dimension 0, DRAM to DRAM; the other dimensions agree."""
    for first, n, numbers in rows.pieces(ctx):
        ctx.program.dma_gather(to[first : first + n], source, numbers, source.shape[0], purpose="load")


def scatter_rows(ctx: Context, to: DramView, source: DramView, rows: RowNumbers) -> None:
    """to[row i] = source[i] along dimension 0, in order of i, DRAM to DRAM."""
    for first, n, numbers in rows.pieces(ctx):
        ctx.program.dma_scatter(to, source[first : first + n], numbers, to.shape[0], purpose="store")


def dram_result(ctx: Context, name: str, dtype: str = "") -> DramView:
    """A row-major place in DRAM for a result that is written there: that of the model's output where types agree.

    Args:
        dtype: its type, the value's own storage when empty.
    """
    want = dtype or ctx.storage(name)
    face = ctx.outputs.get(name)
    if face is None or face.dtype.name != want:
        face = ctx.scratch(name, ctx.shape(name), want)
    ctx.tensors.pop(name, None)
    ctx.dram[name] = face
    return face


def indirect_condition(target: Target, op: str, rows: int) -> str:
    """Why an indirect transfer among so many rows is not possible, "" when it is."""
    if "gather" not in target.dma.ops:
        return f"the indices of the {op} are computed at run time, and the DMA of {target.generation} takes none"
    if rows > MOST_ROWS:
        return f"the {op} addresses {rows} rows, and row numbers are exact up to 2^24"
    return ""
