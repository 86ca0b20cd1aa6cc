"""Whole tiles to DRAM scratch between distant uses, until what is left alive fits SBUF.

Gaps between uses are taken where most bytes are alive, the largest bytes x length first (Belady's farthest next use,
weighted). A tile that still equals what it was loaded from, or what was stored before, is not stored again. Not
responsible for addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from compiler.backend.dependencies import Access
from compiler.backend.schedule import footprint, live_bytes, lives
from compiler.backend.written import covered, fill
from isa.lang import AUTO, Copy, DramTensor, DramView, Instr, Tile, View, dma
from isa.program import SCRATCH, DebugEntry
from isa.spec import SPEC
from isa.word import DMA_COPY, SBUF

_TRIGGER = SPEC.by_name["dma_trigger"].opcode
NEAR = 8  # instructions: a gap shorter than this is not worth a round trip through DRAM


class Gap(NamedTuple):
    """A tile not used between positions `last` and `next` of program order, though needed again."""

    tile: int
    last: int
    next: int


def choose(accesses: Sequence[Access], tiles: Sequence[Tile], limit: int) -> tuple[list[Gap], int]:
    """Gaps to empty so that at most `limit` bytes stay alive, and a position that no gap relieves (-1: none)."""
    n = len(accesses)
    sizes = np.array([footprint(t, 1) if t.space == SBUF else 0 for t in tiles], dtype=np.int64)
    live = live_bytes(lives(range(n), accesses, len(tiles)), sizes, n)
    gaps = _gaps(accesses)
    table = np.array(gaps, dtype=np.int64).reshape(-1, 3)
    score = sizes[table[:, 0]] * (table[:, 2] - table[:, 1])
    taken: list[Gap] = []
    stuck = -1
    while len(live) and live.max() > limit:
        at = int(live.argmax())
        spans = np.flatnonzero((table[:, 1] < at) & (at < table[:, 2]) & (score > 0))
        if not len(spans):
            stuck = at if stuck < 0 else stuck
            live[at] = 0
            continue
        best = int(spans[score[spans].argmax()])
        score[best] = 0
        taken.append(gaps[best])
        live[gaps[best].last + 1 : gaps[best].next] -= sizes[gaps[best].tile]
    return sorted(taken), stuck


def _gaps(accesses: Sequence[Access]) -> list[Gap]:
    latest: dict[int, int] = {}
    out: list[Gap] = []
    for at, access in enumerate(accesses):
        for regions in access:
            for r in regions:
                if isinstance(r.place, Tile) and r.place.space == SBUF:
                    t = r.place.id
                    if at - latest.get(t, at) > NEAR:
                        out.append(Gap(t, latest[t], at))
                    latest[t] = at
    return out


class Spiller:
    """Rewrites a program for the chosen gaps.

    Attributes: tiles, tensors, debug, instrs: the program after `apply`. spilled_bytes: bytes stored and reloaded.
    """

    def __init__(
        self,
        instrs: Sequence[Instr],
        tiles: Sequence[Tile],
        tensors: Sequence[DramTensor],
        debug: Sequence[DebugEntry],
        accesses: Sequence[Access],
    ) -> None:
        self.instrs, self.tiles, self.tensors, self.debug = list(instrs), list(tiles), list(tensors), list(debug)
        self.accesses = accesses
        self.spilled_bytes = 0
        self._writers: dict[object, list[int]] = {}
        for at, (_, written) in enumerate(accesses):
            for r in written:
                self._writers.setdefault(r.place, []).append(at)

    def apply(self, gaps: Sequence[Gap]) -> None:
        """Store after each gap's last use, reload into a fresh tile before the next; later uses see the fresh tile."""
        stores: dict[int, list[Instr]] = {}
        reloads: dict[int, list[tuple[Tile, Tile, Instr]]] = {}
        now: dict[int, Tile] = {}  # original tile -> the tile that holds it
        saved: dict[int, tuple[DramView, int]] = {}  # original tile -> (where its bytes are, up to which position)
        own: dict[int, DramView] = {}  # original tile -> its scratch
        fills: dict[int, list[Instr]] = {}
        for gap in sorted(gaps, key=lambda g: (g.tile, g.last)):
            tile = self.tiles[gap.tile]
            held = now.get(gap.tile, tile)
            source = self._unchanged(tile, gap, saved.get(gap.tile))
            if source is None:
                if gap.tile not in own:
                    self._complete(tile, gap, fills)
                source = own[gap.tile] = own.get(gap.tile) or self._scratch(tile)
                stores.setdefault(gap.last, []).append(self._copy(source, whole(held), self._row(gap.last, "spill")))
            saved[gap.tile] = source, gap.last
            fresh = now[gap.tile] = Tile(len(self.tiles), tile.name, SBUF, tile.shape, tile.dtype)
            self.tiles.append(fresh)
            copy = self._copy(whole(fresh), source, self._row(gap.next, "reload"))
            reloads.setdefault(gap.next, []).append((tile, fresh, copy))
        self._rewrite(fills, stores, reloads)

    def _complete(self, tile: Tile, gap: Gap, fills: dict[int, list[Instr]]) -> None:
        """Have a tile filled before its first write when the writes up to the gap leave some of it out."""
        writers = [at for at in self._writers.get(tile, ()) if at <= gap.last]
        if writers and not covered(tile, [self.instrs[at] for at in writers]):
            fills.setdefault(writers[0], []).extend(fill(tile, self._row(writers[0], "spill")))

    def _rewrite(
        self,
        fills: dict[int, list[Instr]],
        stores: dict[int, list[Instr]],
        reloads: dict[int, list[tuple[Tile, Tile, Instr]]],
    ) -> None:
        out: list[Instr] = []
        now: dict[Tile, Tile] = {}
        for at, instr in enumerate(self.instrs):
            out += fills.get(at, ())
            for tile, fresh, copy in reloads.get(at, ()):
                out.append(copy)
                now[tile] = fresh
            for tile in {r.place for regions in self.accesses[at] for r in regions if r.place in now}:
                assert isinstance(tile, Tile)
                instr = replaced(instr, tile, now[tile])
            out.append(instr)
            out += stores.get(at, ())
        self.instrs = out

    def _unchanged(self, tile: Tile, gap: Gap, saved: tuple[DramView, int] | None) -> DramView | None:
        """The DRAM view the tile's bytes still equal at the gap, if there is one."""
        writers = [at for at in self._writers.get(tile, ()) if at <= gap.last]
        if saved is None:
            return self._origin(tile, writers)
        return None if any(at > saved[1] for at in writers) else saved[0]

    def _origin(self, tile: Tile, writers: Sequence[int]) -> DramView | None:
        """Where a tile was loaded from, if one plain load filled all of it and the source is never written after."""
        if len(writers) != 1:
            return None
        copies = self.instrs[writers[0]].copies
        if copies is None or copies[0].op != DMA_COPY or not isinstance(copies[0].src, DramView):
            return None
        dst, src = copies[0].dst, copies[0].src
        if not isinstance(dst, View) or dst.shape != tile.shape or dst.start or dst.steps != whole(tile).steps:
            return None
        same = dst.dtype is tile.dtype and dst.partition == 0
        return src if same and not any(at > writers[0] for at in self._writers.get(src.tensor, ())) else None

    def _scratch(self, tile: Tile) -> DramView:
        number = len(self.tensors) + 1
        tensor = DramTensor(number, f"spill.{number}", SCRATCH, tile.dtype, tile.shape)
        self.tensors.append(tensor)
        steps = tuple(prod(tile.shape[k + 1 :]) * tile.dtype.size for k in range(len(tile.shape)))
        return DramView(tensor, 0, steps, tile.shape, tile.dtype)

    def _copy(self, dst: View | DramView, src: View | DramView, row: int) -> Instr:
        on_chip = dst if isinstance(dst, View) else src
        assert isinstance(on_chip, View)
        self.spilled_bytes += on_chip.tile.bytes * on_chip.tile.partitions
        copies = dma.copies(dst, src, DMA_COPY)
        return Instr(_TRIGGER, AUTO, row, op0=AUTO, copies=copies, count=len(copies))

    def _row(self, at: int, purpose: str) -> int:
        entry = self.debug[self.instrs[at].debug]
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
        i.opcode,
        i.engine,
        i.debug,
        dst,
        src0,
        src1,
        dst1=dst1,
        ptr0=ptr0,
        ptr1=ptr1,
        imm0=i.imm0,
        imm1=i.imm1,
        op0=i.op0,
        op1=i.op1,
        func=i.func,
        flags=i.flags,
        axes=i.axes,
        count=i.count,
        arg=i.arg,
        pattern=i.pattern,
        updates=i.updates,
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
        Copy(
            k.op, dst, src, k.dst_off, k.src_off, k.sizes, k.dst_steps, k.src_steps, index, k.index_step, k.index_limit
        )
        for k in i.copies
    ]
    return Instr(i.opcode, i.engine, i.debug, op0=i.op0, count=i.count, copies=copies)
