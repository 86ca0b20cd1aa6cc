"""Addresses of tiles: SBUF byte offsets and PSUM banks, from the lives of the tiles in the scheduled order.

Two tiles whose lives overlap never share a byte. SBUF: first a circular scan, which leaves freed bytes alone as long as
there is other room, so that a write rarely waits for the last reader of a reused address; where that fragments too
much, greedy
by size. PSUM: the bank free for longest; tiles of at most a bank never cross a bank border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from compiler.backend.schedule import Lives, footprint, live_bytes
from isa.lang import Tile
from isa.target import Target
from isa.word import PSUM, SBUF

LONG_LIFE = 4  # a tile that lives for more than 1/4 of the program is kept away from the circular part


@dataclass
class Failure:
    """Where a memory overflows: `position` in the order, bytes live there."""

    space: int
    position: int
    need: int
    have: int


@dataclass
class Allocation:
    """Byte offset of each tile (int64 [tiles]), peaks in bytes per partition, and what did not fit."""

    offsets: np.ndarray
    sbuf_peak: int = 0
    psum_peak: int = 0
    failure: Failure | None = None
    order: list[int] = field(default_factory=list)


def allocate(tiles: Sequence[Tile], life: Lives, n: int, target: Target) -> Allocation:
    """Place all used tiles. Never raises: `failure` says which memory did not suffice."""
    sizes = np.array([footprint(t, target.psum_bank_bytes) for t in tiles], dtype=np.int64)
    space = np.array([t.space for t in tiles], dtype=np.int64)
    offsets = np.zeros(len(tiles), dtype=np.int64)
    result = Allocation(offsets)
    used = life.first >= 0
    for memory, have in ((SBUF, target.sbuf_partition_bytes), (PSUM, target.psum_partition_bytes)):
        ids = np.flatnonzero(used & (space == memory))
        live = live_bytes(life, np.where(space == memory, sizes, 0), n)
        fits = _sbuf(ids, sizes, life, n, have, offsets) if memory == SBUF else _psum(ids, sizes, life, target, offsets)
        if not fits:
            position = int(live.argmax())
            result.failure = Failure(memory, position, max(int(live[position]), have + 1), have)
            return result
        peak = int(live.max()) if len(ids) else 0
        if memory == SBUF:
            result.sbuf_peak = peak
        else:
            result.psum_peak = peak
    return result


# ---- SBUF
def _sbuf(ids: np.ndarray, sizes: np.ndarray, life: Lives, n: int, have: int, offsets: np.ndarray) -> bool:
    return _circular(ids, sizes, life, n, have, offsets) or _greedy_by_size(ids, sizes, life, have, offsets)


def _circular(ids: np.ndarray, sizes: np.ndarray, life: Lives, n: int, have: int, offsets: np.ndarray) -> bool:
    """Next fit in order of birth; long-lived tiles are packed from the top."""
    length = life.last - life.first
    order = ids[np.lexsort((-sizes[ids], life.first[ids]))].tolist()
    ends = sorted(order, key=lambda t: int(life.last[t]))
    gaps = [(0, have)]  # free ranges, ascending
    dead, cursor = 0, 0
    firsts, lasts, bytes_ = life.first.tolist(), life.last.tolist(), sizes.tolist()
    at: dict[int, int] = {}
    for t in order:
        while lasts[ends[dead]] < firsts[t]:
            gone = ends[dead]
            dead += 1
            _release(gaps, at[gone], at[gone] + bytes_[gone])
        size = bytes_[t]
        lo = _top(gaps, size) if length[t] * LONG_LIFE > n else _next(gaps, size, cursor)
        if lo < 0:
            return False
        if length[t] * LONG_LIFE <= n:
            cursor = lo + size
        at[t] = lo
        _take(gaps, lo, lo + size)
    for t, lo in at.items():
        offsets[t] = lo
    return True


def _next(gaps: list[tuple[int, int]], size: int, cursor: int) -> int:
    """Lowest start at or after the cursor, else lowest start of all, else -1."""
    wrapped = -1
    for lo, hi in gaps:
        start = cursor if lo < cursor < hi else lo
        if start >= cursor and hi - start >= size:
            return start
        if wrapped < 0 and hi - lo >= size:
            wrapped = lo
    return wrapped


def _top(gaps: list[tuple[int, int]], size: int) -> int:
    for lo, hi in reversed(gaps):
        if hi - lo >= size:
            return hi - size
    return -1


def _take(gaps: list[tuple[int, int]], lo: int, hi: int) -> None:
    for k, (a, b) in enumerate(gaps):
        if a <= lo and hi <= b:
            gaps[k : k + 1] = [g for g in ((a, lo), (hi, b)) if g[0] < g[1]]
            return
    raise AssertionError("taken twice")


def _release(gaps: list[tuple[int, int]], lo: int, hi: int) -> None:
    k = 0
    while k < len(gaps) and gaps[k][1] < lo:
        k += 1
    end = k
    while end < len(gaps) and gaps[end][0] <= hi:
        lo, hi = min(lo, gaps[end][0]), max(hi, gaps[end][1])
        end += 1
    gaps[k:end] = [(lo, hi)]


def _greedy_by_size(ids: np.ndarray, sizes: np.ndarray, life: Lives, have: int, offsets: np.ndarray) -> bool:
    """Largest first, each at the lowest offset free during its life. Source: arXiv 2001.03288 (greedy by size)."""
    order = ids[np.lexsort((life.first[ids], -sizes[ids]))]
    n = len(order)
    first, last, size = life.first[order], life.last[order], sizes[order]
    start = np.zeros(n, dtype=np.int64)
    for k in range(n):
        rivals = np.flatnonzero((first[:k] <= last[k]) & (last[:k] >= first[k]))
        rivals = rivals[np.argsort(start[rivals], kind="stable")]
        ends = np.maximum.accumulate(np.append(0, start[rivals] + size[rivals]))
        room = np.append(start[rivals], have) - ends
        found = np.flatnonzero(room >= size[k])
        if not len(found):
            return False
        start[k] = ends[found[0]]
    offsets[order] = start
    return True


# ---- PSUM
def _psum(ids: np.ndarray, sizes: np.ndarray, life: Lives, target: Target, offsets: np.ndarray) -> bool:
    bank, banks = target.psum_bank_bytes, target.psum_banks
    freed = [-1] * banks  # position at which the bank was last released
    inside: list[dict[int, tuple[int, int]]] = [{} for _ in range(banks)]  # tile -> (lo, hi) inside the bank
    order = ids[np.lexsort((-sizes[ids], life.first[ids]))].tolist()
    where: dict[int, list[int]] = {}
    alive: list[int] = []
    for t in order:
        now, size = int(life.first[t]), int(sizes[t])
        for gone in [a for a in alive if life.last[a] < now]:
            for b in where[gone]:
                freed[b] = max(freed[b], int(life.last[gone]))
                del inside[b][gone]
            alive.remove(gone)
        found = _banks(size, bank, freed, inside)
        if found is None:
            return False
        first, lo = found
        where[t] = list(range(first, first - (-size // bank)))
        for b in where[t]:
            inside[b][t] = (lo, min(bank, lo + size))
        offsets[t] = first * bank + lo
        alive.append(t)
    return True


def _banks(size: int, bank: int, freed: list[int], inside: list[dict[int, tuple[int, int]]]) -> tuple[int, int] | None:
    """(first bank, offset inside it): empty banks released longest ago before parts of used ones."""
    need = -(-size // bank)
    runs = [b for b in range(len(freed) - need + 1) if not any(inside[b : b + need])]
    if runs:
        return min(runs, key=lambda b: (max(freed[b : b + need]), b)), 0
    if need > 1:
        return None
    for b in sorted(range(len(freed)), key=lambda b: (freed[b], b)):
        lo = 0
        for a, z in sorted(inside[b].values()):
            if a - lo >= size:
                return b, lo
            lo = max(lo, z)
        if bank - lo >= size:
            return b, lo
    return None
