"""Semaphores: the waits and posts that make every hazard between engines and transfers an ordered one.

Hazards are found on physical addresses: a tile inherits the last accesses of the tiles whose bytes it reuses. What each
engine already knows is kept as a vector clock, so a wait that follows from an earlier one is never emitted.

Law (docs/architecture.md): an engine starts words in order and retires them in order; a wait for the post of word j of
another engine therefore implies all its earlier words, and all that word j had waited for. A transfer starts when
its trigger
does; it implies what the trigger had waited for, not the trigger's earlier words. Words of one engine are interlocked.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from compiler.backend.dependencies import Access, Histories
from compiler.backend.regions import Region
from isa.lang import Instr, Tile
from isa.word import ENGINES

FIRST_DMA_SEMAPHORE = 16  # 1..5 are the engines'; docs/architecture.md
DMA_INCREMENT = 16  # one for each DMA engine; nki/get-started/about/nki-dma-overview.rst
_ENGINES = len(ENGINES)

Wait = tuple[int, int]  # (engine, position) of a compute word, or (_ENGINES + DMA slot, use)


@dataclass
class Waits:
    """Result, by position in the order.

    Attributes:
        waits: per position, list of (semaphore, value).
        posts: (semaphore, increment) per position; semaphore 0 for none.
        follows: earlier positions each position has to follow, reuse of addresses included.
    """

    waits: list[list[tuple[int, int]]]
    posts: list[tuple[int, int]]
    follows: list[set[int]]


class _Reuse:
    """Which tile last owned each physical byte of a memory, as disjoint segments."""

    def __init__(self) -> None:
        self.starts: list[int] = []  # ascending, of `segments`
        self.segments: list[tuple[int, int, Tile]] = []

    def claim(self, lo: int, hi: int, tile: Tile) -> list[Tile]:
        """Give lo..hi to `tile`; return the earlier owners that lose bytes."""
        first = bisect_right(self.starts, lo)
        if first and self.segments[first - 1][1] > lo:
            first -= 1
        end = bisect_left(self.starts, hi, first)
        lost = self.segments[first:end]
        kept = [(lo, hi, tile)]
        if lost and lost[0][0] < lo:
            kept.insert(0, (lost[0][0], lo, lost[0][2]))
        if lost and lost[-1][1] > hi:
            kept.append((hi, lost[-1][1], lost[-1][2]))
        self.segments[first:end] = kept
        self.starts[first:end] = [start for start, _, _ in kept]
        return list({owner.id: owner for _, _, owner in lost}.values())


@dataclass
class _Life:
    """Accesses of one tile so far: newest position on each engine, transfers, and what it inherited unused.

    What is inherited has the number of partitions it reaches, which may be more than the tile's own.
    """

    partitions: int
    engines: list[int] = field(default_factory=lambda: [-1] * _ENGINES)
    transfers: set[int] = field(default_factory=set)
    inherited: dict[int, int] = field(default_factory=dict)

    def reach(self) -> dict[int, int]:
        """Position -> partitions, of all that the next owner of the bytes has to follow."""
        own = {p for p in self.engines if p >= 0} | self.transfers
        return {**self.inherited, **dict.fromkeys(own, self.partitions)}

    def follow(self, needs: set[int]) -> None:
        """Forget what the tile now follows itself, but for what reaches beyond its own partitions."""
        self.inherited = {p: n for p, n in self.inherited.items() if p not in needs or n > self.partitions}


class Synchroniser:
    """One pass over the order; see the module text."""

    def __init__(
        self,
        instrs: Sequence[Instr],
        accesses: Sequence[Access],
        engines: Sequence[int],
        offsets: np.ndarray,
        semaphores: int,
    ) -> None:
        self.instrs, self.accesses, self.engines, self.offsets = instrs, accesses, engines, offsets
        self.histories = Histories()
        self.reuse: dict[int, _Reuse] = {}
        self.tile_life: dict[Tile, _Life] = {}
        self.left: dict[Tile, list[tuple[int, int]]] = {}
        self.slots = semaphores - FIRST_DMA_SEMAPHORE
        self.clock = [np.full(_ENGINES + self.slots, 0, dtype=np.int64) for _ in range(_ENGINES)]
        self.uses = [0] * self.slots
        self.oldest = deque(range(self.slots))
        self.at_start: list[np.ndarray] = []  # clock of each position at its start
        self.slot_of: dict[int, tuple[int, int]] = {}  # transfer position -> (slot, use)
        self.last_transfer: dict[int, int] = {}  # slot -> position
        self.engine_at: list[int] = []
        self.needed: list[list[Wait]] = []
        self.follows: list[set[int]] = []

    def run(self, order: Sequence[int], after: Mapping[int, int]) -> Waits:
        """Waits and posts of the instructions in `order`; `after[i]` is one more instruction that i has to follow."""
        place = {i: at for at, i in enumerate(order)}
        for at, i in enumerate(order):
            self._step(at, i, {place[after[i]]} if i in after else set())
        return self._numbered(order)

    # ---- hazards
    def _step(self, at: int, i: int, extra: set[int]) -> None:
        access, engine, transfer = self.accesses[i], self.engines[i], self.instrs[i].copies is not None
        for regions in access:
            for r in regions:
                if isinstance(r.place, Tile) and r.place not in self.tile_life:
                    self._born(r.place)
        needs = self.histories.step(at, access) | extra
        for regions in access:
            for r in regions:
                if isinstance(r.place, Tile):
                    life = self.tile_life[r.place]
                    life.follow(needs)
                    if transfer:
                        life.transfers.add(at)
                    else:
                        life.engines[engine] = at
        waits = self._waits(at, engine, transfer, needs)
        if transfer:
            self._take_semaphore(at, engine, waits)
        self.at_start.append(self.clock[engine])
        self.needed.append(waits)
        self.follows.append(needs)
        self.engine_at.append(engine)

    def _born(self, tile: Tile) -> None:
        """First access: inherit from the tiles whose bytes this one takes."""
        life = self.tile_life[tile] = _Life(tile.partitions)
        lo = int(self.offsets[tile.id])
        hi = lo + tile.bytes
        history = self.histories.history(tile)
        for owner in self.reuse.setdefault(tile.space, _Reuse()).claim(lo, hi, tile):
            start = int(self.offsets[owner.id]) - lo
            a, b = max(0, start), min(tile.bytes, start + owner.bytes)
            for p, partitions in self._left_by(owner):
                history.writes.append((p, Region(tile, 0, partitions, a, b, True, (), (), b - a, 1)))
                life.inherited[p] = max(partitions, life.inherited.get(p, 0))

    def _left_by(self, owner: Tile) -> list[tuple[int, int]]:
        """(position, partitions) of what the next owners of a tile's bytes have to follow, in order.

        What another one of at least as many partitions has waited for itself is left out: whoever meets the one meets
        the other, and whoever follows the other has followed it.
        """
        found = self.left.get(owner)
        if found is None:
            known = np.zeros(_ENGINES + self.slots, dtype=np.int64)
            found = []
            for p, partitions in sorted(self.tile_life[owner].reach().items(), key=lambda r: (-r[1], -r[0])):
                key, value = self._sign(p)
                if known[key] < value:
                    known = self._learn(known, p, key, value)
                    found.append((p, partitions))
            found = self.left[owner] = sorted(found)
        return found

    # ---- vector clocks
    def _sign(self, p: int) -> tuple[int, int]:
        """(entry of a clock, its value from which on) position `p` is known to have ended."""
        slot = self.slot_of.get(p)
        return (self.engine_at[p], p + 1) if slot is None else (_ENGINES + slot[0], slot[1])

    def _waits(self, at: int, engine: int, transfer: bool, needs: set[int]) -> list[Wait]:
        """Waits of this position that nothing known implies, newest first; the engine's clock then knows them."""
        clock = self.clock[engine]
        out: list[Wait] = []
        for p in sorted(needs, reverse=True):
            key, value = self._sign(p)
            if clock[key] >= value or (key == engine and not transfer):
                continue
            clock = self._learn(clock, p, key, value)
            out.append((key, value))
        self.clock[engine] = clock
        return out

    def _learn(self, clock: np.ndarray, p: int, key: int, value: int) -> np.ndarray:
        clock = np.maximum(clock, self.at_start[p])
        clock[key] = max(clock[key], value)
        return clock

    def _take_semaphore(self, at: int, engine: int, waits: list[Wait]) -> None:
        """A semaphore whose earlier transfer is known to be complete, or else the one used longest ago and a wait
        for it."""
        clock = self.clock[engine]
        slot = next((s for s in list(self.oldest)[:8] if clock[_ENGINES + s] >= self.uses[s]), self.oldest[0])
        self.oldest.remove(slot)
        self.oldest.append(slot)
        if clock[_ENGINES + slot] < self.uses[slot]:
            self.clock[engine] = self._learn(clock, self.last_transfer[slot], _ENGINES + slot, self.uses[slot])
            waits.append((_ENGINES + slot, self.uses[slot]))
        self.uses[slot] += 1
        self.slot_of[at] = slot, self.uses[slot]
        self.last_transfer[slot] = at

    # ---- numbers
    def _numbered(self, order: Sequence[int]) -> Waits:
        """Give each engine's awaited words consecutive post counts."""
        awaited = {value - 1 for waits in self.needed for key, value in waits if key < _ENGINES}
        count, counts = [0] * _ENGINES, [0] * len(order)
        posts: list[tuple[int, int]] = [(0, 0)] * len(order)
        for at in range(len(order)):
            e = self.engine_at[at]
            if at in awaited:
                count[e] += 1
                counts[at] = count[e]
                posts[at] = e + 1, 1
            elif at in self.slot_of:
                posts[at] = FIRST_DMA_SEMAPHORE + self.slot_of[at][0], 1
        numbered = [
            [
                (k + 1, counts[v - 1]) if k < _ENGINES else (FIRST_DMA_SEMAPHORE + k - _ENGINES, DMA_INCREMENT * v)
                for k, v in w
            ]
            for w in self.needed
        ]
        return Waits(numbered, posts, self.follows)
