"""The order of instructions: loads moved up (prefetch), then list scheduling inside a window.

Both keep every dependence. Both respect memory: an instruction that would start a tile's life earlier does so only
while
the bytes live at once stay within a budget. Not responsible for addresses or waits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from compiler.backend.dependencies import Access
from compiler.backend.estimate import Clock, Prices
from isa.lang import Instr, Tile
from isa.word import PSUM, SBUF

ALIGN = 64  # bytes; SBUF tiles start on multiples, as the container aligns weights (docs/architecture.md)


@dataclass(frozen=True)
class Budget:
    """Bytes per partition that may be live at once."""

    sbuf: int
    psum: int


@dataclass(frozen=True)
class Lives:
    """First and last position of each tile in an order; -1 for unused tiles."""

    first: np.ndarray
    last: np.ndarray


def footprint(tile: Tile, bank_bytes: int) -> int:
    """Bytes per partition a tile takes: SBUF aligned, PSUM in whole banks above one bank."""
    unit = ALIGN if tile.space == SBUF or tile.bytes <= bank_bytes else bank_bytes
    return -(-tile.bytes // unit) * unit


def lives(order: Sequence[int], accesses: Sequence[Access], tiles: int) -> Lives:
    """Life of each tile when instructions run in `order`."""
    first, last = [-1] * tiles, [-1] * tiles
    for at, i in enumerate(order):
        for regions in accesses[i]:
            for r in regions:
                if isinstance(r.place, Tile):
                    t = r.place.id
                    if first[t] < 0:
                        first[t] = at
                    last[t] = at
    return Lives(np.array(first, dtype=np.int64), np.array(last, dtype=np.int64))


def live_bytes(life: Lives, sizes: np.ndarray, n: int) -> np.ndarray:
    """[n] bytes live at each position, for tiles of the given sizes (0: not counted)."""
    change = np.zeros(n + 1, dtype=np.int64)
    used = life.first >= 0
    np.add.at(change, life.first[used], sizes[used])
    np.subtract.at(change, life.last[used] + 1, sizes[used])
    return change.cumsum()[:n]


def hoist_loads(
    instrs: Sequence[Instr],
    accesses: Sequence[Access],
    before: Sequence[Sequence[int]],
    life: Lives,
    sbuf: np.ndarray,
    budget: int,
) -> list[int]:
    """Program order with each load moved up as far as its dependences and `budget` bytes of SBUF allow.

    Loads keep their order among themselves, so the first used is the first fetched.
    Args: sbuf: [tiles] SBUF bytes of each tile, 0 for others. Returns: permutation of 0..n-1.
    """
    n = len(instrs)
    live = live_bytes(life, sbuf, n)
    slot = list(range(n))  # the position each instruction moves in front of
    moved = [False] * n
    reached = 0
    for at, instr in enumerate(instrs):
        if instr.copies is None or len(accesses[at][1]) != 1 or not isinstance(accesses[at][1][0].place, Tile):
            continue
        lower = reached
        for j in before[at]:
            lower = max(lower, slot[j] if moved[j] else j + 1)
        if any(isinstance(r.place, Tile) for r in accesses[at][0]):
            reached = lower  # reads the chip itself: stays, but later loads do not overtake it
            continue
        tile = accesses[at][1][0].place.id
        bytes_, end = int(sbuf[tile]), int(life.first[tile])
        if lower < end:
            full = np.flatnonzero(live[lower:end] + bytes_ > budget)
            lower = lower + int(full[-1]) + 1 if len(full) else lower
            live[lower:end] += bytes_
        if lower < at:
            slot[at], moved[at] = lower, True
        reached = max(reached, min(lower, at))
    return sorted(range(n), key=lambda i: (slot[i], not moved[i], i))


def tiles_used(accesses: Sequence[Access]) -> list[list[Tile]]:
    """The tiles each instruction touches, once each."""
    return [
        list({r.place.id: r.place for regions in access for r in regions if isinstance(r.place, Tile)}.values())
        for access in accesses
    ]


class _Memory:
    """Live bytes of one memory while a schedule grows."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.live = 0
        self.waiting: list[int] = []  # instructions held back for room


class ListScheduler:
    """Greedy list scheduling: of the instructions inside the window, the one that can start first, oldest on a tie.

    A window of 0 keeps each engine's order (and no budget): the estimate of an order as it is.
    """

    def __init__(
        self,
        order: Sequence[int],
        uses: Sequence[Sequence[Tile]],
        engines: Sequence[int],
        before: Sequence[Collection[int]],
        prices: Prices,
        footprints: Sequence[int],
        budget: Budget,
        window: int,
    ) -> None:
        n = len(order)
        self.order, self.prices, self.window = order, prices, window or n
        self.engine = [engines[i] for i in order]
        self.transfer = [prices.shares[i] is not None for i in order]
        place = [0] * n
        for at, i in enumerate(order):
            place[i] = at
        self.missing = [0] * n
        self.after: list[list[int]] = [[] for _ in range(n)]
        for at, i in enumerate(order):
            self.missing[at] = len(before[i])
            for j in before[i]:
                self.after[place[j]].append(at)
        self.following: dict[int, int] = {}  # next on the same engine, where its order is kept
        if not window:
            self._chain()
            budget = Budget(1 << 62, 1 << 62)
        self.footprints = footprints
        self.uses = [uses[i] for i in order]
        self.left = [0] * len(footprints)
        for tiles in self.uses:
            for t in tiles:
                self.left[t.id] += 1
        self.started = [False] * len(footprints)
        self.memory = {SBUF: _Memory(budget.sbuf), PSUM: _Memory(budget.psum)}

    def _chain(self) -> None:
        """Make each instruction follow the one before it on its engine."""
        previous: dict[int, int] = {}
        for at, e in enumerate(self.engine):
            if e in previous:
                self.missing[at] += 1
                self.following[previous[e]] = at
            previous[e] = at

    def run(self) -> tuple[list[int], int]:
        """(order, estimated ticks of the whole)."""
        n = len(self.order)
        self.ready = [0] * n
        self.done = [False] * n
        self.clock = Clock(self.prices)
        self.soon: list[list[tuple[int, int]]] = [[] for _ in range(5)]  # (ready, index): not yet startable
        self.now: list[list[int]] = [[] for _ in range(5)]  # startable when the engine is free, oldest first
        self.admitted, self.oldest, end = 0, 0, 0
        out: list[int] = []
        self._admit()
        while len(out) < n:
            at = self._pick()
            end = max(end, self._start(at))
            out.append(self.order[at])
        return out, end

    def _admit(self) -> None:
        n = len(self.order)
        while self.oldest < n and self.done[self.oldest]:
            self.oldest += 1
        limit = min(n, self.oldest + self.window)
        while self.admitted < limit:
            at = self.admitted
            self.admitted += 1
            if not self.missing[at]:
                heappush(self.soon[self.engine[at]], (self.ready[at], at))

    def _pick(self) -> int:
        while True:
            best, best_start, chosen = -1, 0, -1
            for e in range(5):
                soon, now, free = self.soon[e], self.now[e], self.clock.free[e]
                while soon and soon[0][0] <= free:
                    heappush(now, heappop(soon)[1])
                if now:
                    at, start = now[0], free
                elif soon:
                    start, at = soon[0]
                else:
                    continue
                if best < 0 or start < best_start or (start == best_start and at < best):
                    best, best_start, chosen = at, start, e
            if best < 0:
                return self._forced()
            if self.now[chosen]:
                heappop(self.now[chosen])
            else:
                heappop(self.soon[chosen])
            held = self._held_by(best)
            if self.done[best]:
                continue
            if held is None:
                return best
            held.waiting.append(best)

    def _held_by(self, at: int) -> _Memory | None:
        """The memory without room for the tiles this instruction would bring to life."""
        for t in self.uses[at]:
            if not self.started[t.id]:
                memory = self.memory[t.space]
                if memory.live and memory.live + self.footprints[t.id] > memory.limit:
                    return memory
        return None

    def _forced(self) -> int:
        """Nothing fits: the oldest goes on, since program order is known to be possible."""
        for memory in self.memory.values():
            if self.oldest in memory.waiting:
                memory.waiting.remove(self.oldest)
        return self.oldest

    def _start(self, at: int) -> int:
        e, transfer = self.engine[at], self.transfer[at]
        same, other = self.clock.issue(self.order[at], e, self.ready[at])
        self.done[at] = True
        self._use(at)
        for j in self.after[at]:
            interlocked = self.engine[j] == e and not transfer and not self.transfer[j]
            self.ready[j] = max(self.ready[j], same if interlocked else other)
            self._freed(j)
        if at in self.following:
            self._freed(self.following[at])
        self._admit()
        return other

    def _freed(self, j: int) -> None:
        self.missing[j] -= 1
        if not self.missing[j] and j < self.admitted:
            heappush(self.soon[self.engine[j]], (self.ready[j], j))

    def _use(self, at: int) -> None:
        for t in self.uses[at]:
            memory = self.memory[t.space]
            if not self.started[t.id]:
                self.started[t.id] = True
                memory.live += self.footprints[t.id]
            self.left[t.id] -= 1
            if not self.left[t.id]:
                memory.live -= self.footprints[t.id]
                for j in memory.waiting:
                    heappush(self.soon[self.engine[j]], (self.ready[j], j))
                memory.waiting.clear()
