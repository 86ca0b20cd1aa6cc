"""Convolution kernels computed at run time, as stationary matrices: what `Stationary` is to constant ones.

An ungrouped kernel is brought on chip once, output channels on partitions where its rows are contiguous, and turned by
the PE so that input channels are on the partitions of the image; every block is then a strided view. A grouped kernel
is a few small blocks on the diagonal of a zero matrix, which the DMA puts there.
"""
from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from compiler.ir import Node
from compiler.layout import F, Run, Tensor
from compiler.lowering.context import MOST_FREE, Context
from compiler.lowering.conv_plan import Phase, Strip, Tap
from compiler.lowering.dma import dma_tensor
from compiler.lowering.dram import dram_value, dram_view
from compiler.lowering.move import move_dma
from compiler.lowering.transpose import relayout
from isa.lang import View
from isa.word import PARTITIONS


@dataclass(frozen=True)
class Blocks:
    """Stationary matrices that are on chip already: `view(number)` is [partitions, columns] in SBUF."""

    views: list[View]

    def view(self, number: int) -> View:
        return self.views[number]


class RunTimeKernel:
    """The kernel of one convolution: w [Cout, Cin / group, ...], of a transposed one [Cin, Cout / group, ...]."""

    def __init__(self, ctx: Context, name: str, x: Tensor, group: int, transposed: bool) -> None:
        self.ctx, self.name, self.dtype = ctx, name, x.dtype
        shape = ctx.shape(name)
        self.taps = shape[2:]
        self.axes = (0, 1) if transposed else (1, 0)  # of input and output channels
        self.per = [shape[a] // (group if a == 0 else 1) for a in self.axes]  # channels of one group
        self.base = int(x.positions().min()) // PARTITIONS
        self.held = self._turned(x) if group == 1 else None
        self.tiles: dict[tuple[int, int], View] = {}

    def plan(
        self, ins: list[Strip], outs: list[Strip], phase: Phase
    ) -> tuple[list[list[tuple[int, int, Tap]]], Blocks]:
        """Per output strip the (block number, input strip, tap) sequence of a phase, and the blocks."""
        views: list[View] = []
        plan = []
        for strip in outs:
            row = []
            for i, source in enumerate(ins):
                for tap in phase.taps if self._meets(source, strip) else ():
                    row.append((len(views), i, tap))
                    views.append(self._block(source, strip, tap))
            plan.append(row)
        return plan, Blocks(views)

    def _block(self, source: Strip, strip: Strip, tap: Tap) -> View:
        if self.held is not None and bool(strip.channels[0] >= 0 and (np.diff(strip.channels) == 1).all()):
            return self._direct(self.held, source, strip, tap)
        key = (source.tile, strip.tile)
        if key not in self.tiles:
            self.tiles[key] = self._assembled(source, strip)
        at = int(np.ravel_multi_index(tap.kernel, self.taps))
        return self.tiles[key].ap(at, [prod(self.taps)], [len(strip.channels)], partition=source.lo,
                                  partitions=source.hi - source.lo)

    def _meets(self, source: Strip, strip: Strip) -> bool:
        """Whether any two channels of the strips are in one group."""
        groups = [set((s.channels[s.channels >= 0] // n).tolist())
                  for s, n in zip((source, strip), self.per, strict=True)]
        return bool(groups[0] & groups[1])

    # ---- ungrouped -----------------------------------------------------------------------------------------------

    def _turned(self, x: Tensor) -> Tensor:
        """w with its input channels at the positions of x's channels (less whole tiles), zero in between."""
        ctx, axis = self.ctx, self.axes[0]
        w = relayout(ctx, self._loaded(), (axis,), self.dtype)
        positions = x.positions() - self.base * PARTITIONS
        if np.array_equal(w.positions(), positions) and w.plain:
            return w
        p_axes = (axis,) if w.shape[axis] > 1 else ()
        near = ctx.alloc(w.shape, (axis,), self.dtype, pmap=positions.reshape([w.shape[a] for a in p_axes]),
                         name=f"{self.name}.near")
        move_dma(ctx, near, w)
        return near

    def _loaded(self) -> Tensor:
        """w on chip; from DRAM with its outer axis on partitions, so that rows are read as they lie."""
        ctx = self.ctx
        if self.name in ctx.tensors:
            return ctx.tensors[self.name]
        tensor = ctx.alloc(ctx.shape(self.name), (0,), ctx.storage(self.name), name=self.name)
        dma_tensor(ctx, tensor, dram_view(ctx, self.name), store=False, purpose="load")
        return tensor

    def _direct(self, held: Tensor, source: Strip, strip: Strip, tap: Tap) -> View:
        strides = [next((a.stride for a in axis if a.space == F), 0) for axis in held.axes]
        columns = strides[self.axes[1]]
        at = int(strip.channels[0]) * columns + sum(k * s for k, s in zip(tap.kernel, strides[2:], strict=True))
        run = Run(0, source.tile - self.base, source.lo, source.hi - source.lo)
        return held.view(run, [(len(strip.channels), columns)], at)

    # ---- block by block ------------------------------------------------------------------------------------------

    def _assembled(self, source: Strip, strip: Strip) -> View:
        """[rows, columns * taps]: zeros, and w where a partition's and a column's channel are in one group."""
        ctx, width = self.ctx, prod(self.taps)
        dram = dram_value(ctx, self.name)
        tile = ctx.program.sbuf((source.hi, len(strip.channels) * width), dram.dtype.name, name=f"{self.name}.block")
        for piece in _pieces(tile):
            ctx.program.memset(piece, 0.0, engine=ctx.pick(("gpsimd", "vector"), piece.sizes[0]))
        steps = [dram.steps[a] for a in self.axes]
        for row, cin, rows in _runs(source.channels, self.per[0]):
            for column, cout, columns in _runs(strip.channels, self.per[1]):
                if cin // self.per[0] != cout // self.per[1]:
                    continue
                first = [cin, cout]
                inner = self.axes.index(1)  # the axis of w that counts inside a group
                first[inner] %= self.per[inner]
                far = dram.ap(sum(f * s for f, s in zip(first, steps, strict=True)), [*steps, dram.dtype.size],
                              [rows, columns, width])
                near = tile.ap(column * width, [width, 1], [columns, width], source.lo + row, rows)
                ctx.program.dma(near, far, purpose="load")
        return self._converted(tile)

    def _converted(self, tile: View) -> View:
        """A tile in the type the PE multiplies."""
        if tile.dtype.name == self.dtype:
            return tile
        out = self.ctx.program.sbuf(tile.shape, self.dtype, name=f"{self.name}.cast")
        for dst, src in zip(_pieces(out), _pieces(tile), strict=True):
            self.ctx.program.tensor_copy(dst, src, engine=self.ctx.pick(("vector", "scalar"), src.sizes[0]))
        return out


def run_time_kernel(ctx: Context, node: Node, x: Tensor, transposed: bool) -> RunTimeKernel:
    """The kernel of a node for an operand like `x`; laid out once for all visits and readers."""
    name, group = node.inputs[1], node.attrs.get("group", 1)
    key = ("kernel", name, group, transposed, x.dtype, x.positions().tobytes())
    if key not in ctx.cache:
        ctx.cache[key] = RunTimeKernel(ctx, name, x, group, transposed)
    kernel: RunTimeKernel = ctx.cache[key]
    return kernel


def _pieces(tile: View) -> list[View]:
    """A whole tile in accesses of a length that engines allow."""
    size = tile.shape[1]
    return [tile[:, start : min(size, start + MOST_FREE["sbuf"])] for start in range(0, size, MOST_FREE["sbuf"])]


def _runs(channels: np.ndarray, per: int) -> list[tuple[int, int, int]]:
    """(index, channel, count) of ranges of consecutive channels inside one group."""
    out: list[tuple[int, int, int]] = []
    for i, channel in enumerate(channels.tolist()):
        last = out[-1] if out else None
        if channel < 0:
            continue
        if last and i == last[0] + last[2] and channel == last[1] + last[2] and channel % per:
            out[-1] = (last[0], last[1], last[2] + 1)
        else:
            out.append((i, channel, 1))
    return out
