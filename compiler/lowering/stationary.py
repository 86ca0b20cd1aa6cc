"""Constant stationary matrices: packed in consumption order into DRAM, loaded in units large enough for the DMA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.lowering.context import Context
from isa.dtypes import dtype as dtype_of
from isa.lang import View

#: bytes per partition of one load: at 4 KiB the DMA is saturated
#: (nki/deep-dives/nki-dma-bandwidth-guide.rst: contiguous bytes per partition against bandwidth)
UNIT_BYTES = 8192


@dataclass(frozen=True)
class Block:
    """One stationary matrix: `values` [rows, columns] for partitions `partition` .. `partition + rows - 1`."""

    partition: int
    values: np.ndarray


class Stationary:
    """The blocks of one layer; `view(i)` loads the unit holding block i on first use and returns its SBUF view."""

    def __init__(self, ctx: Context, name: str, blocks: Sequence[Block], dtype: str) -> None:
        self.ctx, self.name, self.dtype = ctx, name, dtype
        self.blocks = blocks
        size = dtype_of(dtype).size
        self.place: list[tuple[int, int]] = []  # (unit, first column)
        self.units: list[tuple[int, int]] = []  # (rows, columns)
        self._tiles: dict[int, View] = {}
        for block in blocks:
            columns = block.values.shape[1]
            rows = block.partition + block.values.shape[0]
            if not self.units or (self.units[-1][1] + columns) * size > UNIT_BYTES:
                self.units.append((0, 0))
            top, used = self.units[-1]
            self.place.append((len(self.units) - 1, used))
            self.units[-1] = (max(top, rows), used + columns)
        if blocks:
            self._pack()

    def _pack(self) -> None:
        kind = dtype_of(self.dtype).numpy
        starts = np.cumsum([0, *(r * c for r, c in self.units)])
        flat = np.zeros(int(starts[-1]), dtype=kind)
        for block, (unit, column) in zip(self.blocks, self.place, strict=True):
            rows, columns = self.units[unit]
            table = flat[starts[unit] : starts[unit + 1]].reshape(rows, columns)
            k, m = block.values.shape
            table[block.partition : block.partition + k, column : column + m] = block.values
        self.dram = self.ctx.constant(f"{self.name}.weight", flat)
        self.starts = starts

    def view(self, index: int) -> View:
        """[rows, columns] of block `index` in SBUF."""
        unit, column = self.place[index]
        if unit not in self._tiles:
            rows, columns = self.units[unit]
            tile = self.ctx.program.sbuf((rows, columns), self.dtype, name=f"{self.name}.w{unit}")
            size = dtype_of(self.dtype).size
            start = int(self.starts[unit]) * size
            self.ctx.program.dma(tile, self.dram.ap(start, [columns * size, size], [rows, columns]), purpose="load")
            self._tiles[unit] = tile
        block = self.blocks[index]
        k, m = block.values.shape
        return self._tiles[unit].ap(column, [1], [m], partition=block.partition, partitions=k)

    def release(self) -> None:
        """Forget the loaded units, so that a later use loads them again (weights streamed once per pass)."""
        self._tiles.clear()
