"""Whole tiles to DRAM scratch between distant uses, until the rest fits SBUF. Not responsible for where tiles then lie.

The tile with the farthest next use goes first (Belady). A tile that was loaded whole and not written since is not stored:
it is loaded again from where it came.
"""
from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from compiler.backend.dependencies import Access
from isa.lang import Copy, DramTensor, DramView, Instr, Tile, TileProgram, View
from isa.lang import dma
from isa.program import DebugEntry, SCRATCH
from isa.spec import SPEC
from isa.word import DMA_COPY, SBUF

_TRIGGER = SPEC.by_name["dma_trigger"].opcode
NEAR = 8  # instructions: a gap shorter than this is not worth a round trip through DRAM


class Spiller:
    """Rewrites the instructions of a program; counts the bytes it moves in `spilled_bytes`."""

    def __init__(self, program: TileProgram, auto: int) -> None:
        self.program = program
        self.tiles = list(program.tiles)
        self.tensors = list(program.tensors)
        self.debug = list(program.debug)
        self.instrs = list(program.instrs)
        self.spilled_bytes = 0
        self.auto = auto

    def relieve(self, accesses: Sequence[Access], position: int) -> bool:
        """Split one tile that lives across `position` (program order) without being used there. False: there is none."""
        found = self._farthest(accesses, position)
        if found is None:
            return False
        tile, last, next_ = found
        self._split(tile, accesses, last, next_)
        return True

    def _farthest(self, accesses: Sequence[Access], position: int) -> tuple[Tile, int, int] | None:
        before: dict[int, int] = {}
        after: dict[int, int] = {}
        by_id: dict[int, Tile] = {}
        for at, access in enumerate(accesses):
            for regions in access:
                for r in regions:
                    if isinstance(r.place, Tile) and r.place.space == SBUF:
                        by_id[r.place.id] = r.place
                        if at <= position:
                            before[r.place.id] = at
                        else:
                            after.setdefault(r.place.id, at)
        gaps = [(after[t], t) for t in before if t in after and before[t] < position and after[t] - before[t] > NEAR]
        if not gaps:
            return None
        next_, t = max(gaps, key=lambda g: (by_id[g[1]].bytes * (g[0] - before[g[1]]), -g[1]))
        return by_id[t], before[t], next_

    def _split(self, tile: Tile, accesses: Sequence[Access], last: int, next_: int) -> None:
        fresh = Tile(len(self.tiles), tile.name, SBUF, tile.shape, tile.dtype)
        self.tiles.append(fresh)
        entry = self._entry(last)
        source = self._origin(tile, accesses, last)
        out = self.instrs[: last + 1]
        if source is None:
            source = self._scratch(tile)
            out.append(self._copy(source, whole(tile), self._row(entry, "spill")))
        out += self.instrs[last + 1 : next_]
        out.append(self._copy(whole(fresh), source, self._row(entry, "reload")))
        out += [replaced(i, tile, fresh) for i in self.instrs[next_:]]
        self.instrs = out

    def _origin(self, tile: Tile, accesses: Sequence[Access], last: int) -> DramView | None:
        """The DRAM view a tile still equals: filled by one plain load of all of it and never written since."""
        writers = [at for at in range(last + 1) if any(r.place is tile for r in accesses[at][1])]
        if len(writers) != 1:
            return None
        copies = self.instrs[writers[0]].copies
        if copies is None or copies[0].op != DMA_COPY or not isinstance(copies[0].src, DramView):
            return None
        dst, src = copies[0].dst, copies[0].src
        if not isinstance(dst, View) or dst.shape != tile.shape or dst.start or dst.steps != whole(tile).steps:
            return None
        for at in range(writers[0] + 1, len(accesses)):
            if any(r.place is src.tensor for r in accesses[at][1]):
                return None
        return src

    def _scratch(self, tile: Tile) -> DramView:
        tensor = DramTensor(len(self.tensors) + 1, f"spill.{len(self.tensors) + 1}", SCRATCH, tile.dtype, tile.shape)
        self.tensors.append(tensor)
        steps = tuple(prod(tile.shape[k + 1 :]) * tile.dtype.size for k in range(len(tile.shape)))
        return DramView(tensor, 0, steps, tile.shape, tile.dtype)

    def _copy(self, dst: View | DramView, src: View | DramView, row: int) -> Instr:
        on_chip = dst if isinstance(dst, View) else src
        assert isinstance(on_chip, View)
        self.spilled_bytes += on_chip.tile.bytes * on_chip.tile.partitions
        copies = dma.copies(dst, src, DMA_COPY)
        return Instr(_TRIGGER, self.auto, row, op0=self.auto, copies=copies, count=len(copies))

    def _entry(self, at: int) -> DebugEntry:
        return self.debug[self.instrs[at].debug]

    def _row(self, entry: DebugEntry, purpose: str) -> int:
        made = DebugEntry(entry.layer, entry.op_type, entry.source, purpose)
        if made not in self.debug:
            self.debug.append(made)
        return self.debug.index(made)


def whole(tile: Tile) -> View:
    """The view of all of a tile."""
    sizes = tile.shape[1:]
    steps = tuple(prod(sizes[k + 1 :]) for k in range(len(sizes)))
    return View(tile, 0, tile.partitions, 0, steps, sizes, tile.dtype)


def _moved(v: View | None, old: Tile, new: Tile) -> View | None:
    if v is None or v.tile is not old:
        return v
    out = View(new, v.partition, v.partitions, v.start, v.steps, v.sizes, v.dtype)
    out._pattern = v._pattern
    return out


def replaced(i: Instr, old: Tile, new: Tile) -> Instr:
    """The instruction with every view of `old` looking into `new`."""
    if i.copies is not None:
        return _replaced_copies(i, old, new)
    views = (i.dst, i.src0, i.src1, i.dst1, i.ptr0, i.ptr1)
    if not any(v is not None and v.tile is old for v in views):
        return i
    dst, src0, src1, dst1, ptr0, ptr1 = (_moved(v, old, new) for v in views)
    return Instr(
        i.opcode, i.engine, i.debug, dst, src0, src1, dst1=dst1, ptr0=ptr0, ptr1=ptr1, imm0=i.imm0, imm1=i.imm1, op0=i.op0,
        op1=i.op1, func=i.func, flags=i.flags, axes=i.axes, count=i.count, arg=i.arg, pattern=i.pattern, updates=i.updates,
    )


def _replaced_copies(i: Instr, old: Tile, new: Tile) -> Instr:
    assert i.copies is not None
    c = i.copies[0]
    if not any(isinstance(v, View) and v.tile is old for v in (c.dst, c.src, c.index)):
        return i
    dst, src = (_moved(v, old, new) if isinstance(v, View) else v for v in (c.dst, c.src))
    index = _moved(c.index, old, new)
    assert dst is not None and src is not None
    copies = [
        Copy(k.op, dst, src, k.dst_off, k.src_off, k.sizes, k.dst_steps, k.src_steps, index, k.index_step, k.index_limit)
        for k in i.copies
    ]
    return Instr(i.opcode, i.engine, i.debug, op0=i.op0, count=i.count, copies=copies)


def tightest(live: np.ndarray) -> int:
    """Position with the most live bytes."""
    return int(live.argmax())
