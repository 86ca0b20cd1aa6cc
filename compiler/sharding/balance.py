"""Where to cut a line of work so that the slowest stage is as fast as can be.

A stage takes the time of its pieces, a fixed part, what its two cuts cost it, and the time to fetch and to hand on what
crosses them. Where its weights do not fit SBUF it takes at least the time to stream the rest from DRAM. Where its
results go to another chip they cross the link: what it only hands on at once, what it makes itself at the end. Dynamic
programming over (stages so far, atoms so far) finds the smallest maximum exactly; among the cuts that reach it, those
that move least are taken: bytes handed on and weights fetched. Where the stages of a chip fetch so much together that
its DRAM is slower than they are, slower stages that fetch less are sought.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.sharding.line import Line
from compiler.sharding.rates import Rates
from isa.program import HANDOVER_BUFFERS

SLACK = 0.005  # of the slowest stage that moving less is worth
TRIES = 8  # halvings of the span between the fastest stages and the DRAM's time for what they fetch


def balance(line: Line, rates: Rates) -> list[int]:
    """Ends of the stages as numbers of atoms, ascending, the last one n; `rates.stages` of them."""
    band = _Band(line, rates.stages, rates)
    fastest = band.slowest() * (1 + SLACK)
    found = band.least_moved(fastest)
    low, high, best = fastest, _fetch_ns(line, found, rates), found
    if high <= low:
        return found
    band = _Band(line, rates.stages, rates, high)
    for _ in range(TRIES):
        limit = (low + high) / 2
        ends = band.least_moved(limit)
        fetch = _fetch_ns(line, ends, rates)
        low, high, best = (limit, high, best) if fetch > limit else (low, limit, ends)
    return best


def _fetch_ns(line: Line, ends: Sequence[int], rates: Rates) -> float:
    """Time of the busiest chip's DRAM for the weights that its stages fetch."""
    chips: dict[int, float] = {}
    for k, (low, end) in enumerate(spans(ends)):
        chips[rates.chip_of(k)] = chips.get(rates.chip_of(k), 0.0) + streamed_bytes(line, low, end, rates)
    return max(chips.values()) / rates.dram_bytes_per_ns


def slowest_ns(line: Line, rates: Rates) -> float:
    """Time of the slowest stage of the best cut."""
    return _Band(line, rates.stages, rates).slowest()


def stage_ns(line: Line, low: int, end: int, rates: Rates) -> float:
    """Time of the stage of atoms `low` .. `end` - 1, without links."""
    return float(_times(line, rates, np.arange(low, end)[::-1, None], np.array([end]))[-1, 0])


def streamed_bytes(line: Line, low: int, end: int, rates: Rates) -> float:
    """Weight bytes of the stage of atoms `low` .. `end` - 1 that find no room."""
    return float(_streamed(line, rates, np.arange(low, end)[::-1, None], np.array([end]))[-1, 0])


def linked_ns(time: float, own: float, relayed: float, rates: Rates) -> float:
    """Time of a stage that takes `time` on its core and sends `own` and `relayed` bytes over a link."""
    return max(time, rates.start_ns + relayed / rates.link_bytes_per_ns) + own / rates.link_bytes_per_ns


def _times(line: Line, rates: Rates, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """[d, j] times of the stages of atoms start[d, j] .. end[j] - 1; start[d] is one less than start[d - 1]."""
    prefix = np.concatenate([[0.0], line.ns.cumsum()])
    moved = _moved_ns(line.crossing, rates)
    work = prefix[end] - prefix[start] + moved[start] + moved[end]
    times = 2 * rates.start_ns + line.enter[start] + line.leave[end] + work
    return np.maximum(times, _streamed(line, rates, start, end) / rates.stream_bytes_per_ns)


def _moved_ns(crossing: np.ndarray, rates: Rates) -> np.ndarray:
    """Time between buffers and working tiles for what crosses each cut; most of what is too much goes through DRAM."""
    slow = np.minimum(rates.fetch_bytes_per_ns, rates.dram_bytes_per_ns)
    return crossing / np.where(crossing > rates.buffered, slow, rates.fetch_bytes_per_ns)


def _streamed(line: Line, rates: Rates, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """[d, j] weight bytes of the same stages that find no room beside handover buffers and what a run needs."""
    held = np.concatenate([[0.0], line.weights.cumsum()])
    weights = held[end] - held[start] + line.repeated[start]
    scratch = np.maximum.accumulate(line.scratch[start], axis=0)
    buffers = HANDOVER_BUFFERS * np.ceil(np.minimum(line.crossing[start], rates.buffered) / rates.partitions)
    return np.clip(weights + scratch + buffers - rates.room, 0, weights) * rates.partitions


class _Band:
    """Times of the stages worth a look: [d, j] is the stage of the d + 1 atoms that end with atom j.

    Args:
        limit: ns of work in stages to look at even if others would be faster.
    """

    def __init__(self, line: Line, stages: int, rates: Rates, limit: float = 0.0) -> None:
        self.line, self.rates, self.stages = line, rates, stages
        n = len(line.atoms)
        prefix = np.concatenate([[0.0], line.ns.cumsum()])
        # some cut has no stage with more work than this
        most = max(prefix[-1] / stages + line.ns.max(initial=0.0), limit)
        first = np.searchsorted(prefix, prefix[1:] - most * (1 + 1e-9))
        width = int((np.arange(1, n + 1) - first).max())
        start = np.arange(n) - np.arange(width)[:, None]
        self.valid = start >= 0
        self.start = np.maximum(start, 0)
        times = _times(line, rates, self.start, np.arange(1, n + 1))
        self.streamed = _streamed(line, rates, self.start, np.arange(1, n + 1))
        for (low, end), ns in line.known.items():
            if end - low <= width:
                times[end - low - 1, end - 1] = ns
        self.times = np.where(self.valid, times, np.inf)
        self.linked = self._linked()

    def _linked(self) -> np.ndarray:
        """[d, j] `linked_ns` of the stages."""
        passing = np.zeros_like(self.times)  # bytes of a stage's results that it has not made itself
        for born, until, size in self.line.values:
            for end in range(born + 2, until + 1):  # it crosses the cuts from born + 1 to until
                passing[: end - born - 1, end - 1] += size
        link = self.rates.link_bytes_per_ns
        own = self.line.crossing[1:] - passing
        return np.maximum(self.times, self.rates.start_ns + passing / link) + own / link

    def slowest(self) -> float:
        """The smallest possible time of the slowest stage."""
        found = self._first()
        for k in range(1, self.stages):
            found = np.maximum(self._before(found), self._stage(k)).min(axis=0)
        return float(found[-1])

    def least_moved(self, limit: float) -> list[int]:
        """Ends of stages of at most `limit` that move the fewest bytes in sum; a shorter stage on a tie."""
        each = self.line.crossing[self.start] + self.streamed
        moved = np.where(self.valid & (self.start == 0) & (self._stage(0) <= limit), each, np.inf).min(axis=0)
        chosen: list[np.ndarray] = []
        for k in range(1, self.stages):
            cost = np.where(self._stage(k) <= limit, self._before(moved) + each, np.inf)
            chosen.append(cost.argmin(axis=0))
            moved = cost.min(axis=0)
        ends = [len(self.line.atoms)]
        for best in reversed(chosen):
            ends.append(ends[-1] - 1 - int(best[ends[-1] - 1]))
        return ends[::-1]

    def _stage(self, k: int) -> np.ndarray:
        """[d, j] times as stage k: what all but the last hand on crosses a link at the end of a chip."""
        return self.linked if self.rates.crosses(k) and k < self.stages - 1 else self.times

    def _first(self) -> np.ndarray:
        """[n] time of the first stage, by the atom it ends with."""
        return np.where(self.valid & (self.start == 0), self._stage(0), np.inf).min(axis=0)

    def _before(self, values: np.ndarray) -> np.ndarray:
        """[d, j] the value of the stages before, where they end where this stage starts."""
        return np.where(self.valid & (self.start > 0), values[self.start - 1], np.inf)


def spans(ends: Sequence[int]) -> list[tuple[int, int]]:
    """(first atom, end) of every stage."""
    return list(zip([0, *ends[:-1]], ends, strict=True))
