"""What waits for the transfers of a stage, read off a run alone: for the request-level model.

A word depends on the words before it in its stream, and on the posts that raised the semaphores it waits for.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

from isa.program import Stage
from isa.target import Target
from isa.trace import Cause
from isa.word import ENGINES
from neuronsim.timing import Timeline

_NEVER = 2**62


@dataclass(frozen=True)
class Waits:
    """By transfer, [x] int64 ticks of a run alone.

    Attributes:
        due: when a word first waits for its result, less the semaphore's latency; the end of the run where none does.
        gate: the first enqueue of a transfer that this one holds up when it ends late; the end where there is none.
        gap: how long that word's engine stood still for this transfer with no other engine at work.
    """

    due: np.ndarray
    gate: np.ndarray
    gap: np.ndarray

    @classmethod
    def of(cls, stage: Stage, timeline: Timeline, target: Target) -> Waits:
        words = np.concatenate([stage.stream(e) for e in ENGINES])
        posts = _Posts.of(words, timeline, target)
        first = _first_words(words, timeline, posts)
        latency = target.ns_to_ticks(target.semaphore_latency_ns)
        waited = first >= 0
        due = np.where(waited, timeline.start[first] - latency, timeline.total_ticks)
        ends_it = waited & (timeline.cause[first] == Cause.DMA) & (timeline.cause_op[first] == timeline.transfer_op)
        gap = np.zeros(len(due), dtype=np.int64)
        gap[ends_it] = _idle(timeline, timeline.wait_start[first[ends_it]], timeline.start[first[ends_it]])
        return cls(due, np.minimum(_gates(words, timeline, posts), timeline.total_ticks), gap)


def _idle(timeline: Timeline, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """[k] int64 ticks in which no word was at work from each begin to its end; where they overlap the first counts."""
    order = np.argsort(end, kind="stable")
    begin, end = np.maximum(begin[order], np.append(0, end[order][:-1])), end[order]
    computing = timeline.engine != ENGINES.index("sync")  # which only starts transfers
    starts = np.sort(timeline.start[computing])
    by_start = np.argsort(timeline.start[computing], kind="stable")
    until = np.maximum.accumulate(timeline.end[computing][by_start])
    before = np.append(0, until[:-1])
    worked = np.append(0, np.cumsum(np.maximum(until - np.maximum(before, starts), 0)))

    def busy(tick: np.ndarray) -> np.ndarray:
        """Ticks with a word at work until then."""
        k = np.searchsorted(starts, tick, side="right")
        return worked[k] - np.maximum(np.append(0, until)[k] - tick, 0)

    found = np.zeros(len(order), dtype=np.int64)
    found[order] = np.maximum(end - begin - (busy(end) - busy(begin)), 0)
    return found


@dataclass(frozen=True)
class _Posts:
    """How far semaphores were before what posts to them: [n] by word, [x] by transfer; -1 for what posts nothing."""

    words: np.ndarray
    transfers: np.ndarray

    @classmethod
    def of(cls, words: np.ndarray, timeline: Timeline, target: Target) -> _Posts:
        count, ops = len(words), timeline.transfer_op
        rises = words["post_inc"].astype(np.int64)
        rises[ops] = 0
        semaphore = np.concatenate([words["post_sem"], words["post_sem"][ops]])
        rise = np.concatenate([rises, np.full(len(ops), target.dma.engines)])
        order = np.lexsort((np.concatenate([timeline.retire, timeline.transfer_end]), semaphore))
        level = np.zeros(len(order), dtype=np.int64)
        level[order] = np.cumsum(rise[order]) - rise[order]
        first = np.flatnonzero(np.diff(semaphore[order], prepend=-1))
        level[order] -= np.repeat(level[order[first]], np.diff(first, append=len(order)))
        level[semaphore == 0] = -1
        level[ops] = -1  # a trigger's post is its transfer's
        return cls(level[:count], level[count:])


@dataclass
class _Waiters:
    """Who waits for one semaphore: values, negated and ascending, and the least key of a word that waits for as much
    or more."""

    values: list[int] = field(default_factory=list)
    least: list[int] = field(default_factory=list)

    def add(self, value: int, key: int) -> None:
        at = bisect_right(self.values, -value)
        self.values.insert(at, -value)
        self.least.insert(at, self.least[at - 1] if at else _NEVER)
        for k in range(at, len(self.least)):
            self.least[k] = min(self.least[k], key)

    def above(self, level: int) -> int:
        """The least key of the words that wait for more than `level`."""
        at = bisect_right(self.values, -level - 1)
        return self.least[at - 1] if at else _NEVER


def _gates(words: np.ndarray, timeline: Timeline, posts: _Posts) -> np.ndarray:
    """[x] int64 the first enqueue of a transfer whose trigger depends on the transfer, `_NEVER` without.

    From the last word to the first: what depends on a word started after it.
    """
    enqueue = np.full(len(words), _NEVER)
    enqueue[timeline.transfer_op] = timeline.transfer_enqueue
    waiters: dict[int, _Waiters] = {}
    behind = [_NEVER] * len(ENGINES)
    columns = (enqueue, timeline.engine, words["post_sem"], posts.words, words["wait_sem"], words["wait_val"])
    order = np.lexsort((np.arange(len(words)), timeline.start))[::-1]
    for first, engine, post, level, semaphores, values in zip(*(c[order].tolist() for c in columns)):
        if level >= 0 and post in waiters:
            first = min(first, waiters[post].above(level))
        behind[engine] = min(behind[engine], first)
        for semaphore, value in zip(semaphores, values):
            if semaphore:
                waiters.setdefault(semaphore, _Waiters()).add(value, behind[engine])
    return _of_transfers(words, timeline, posts, waiters)


def _first_words(words: np.ndarray, timeline: Timeline, posts: _Posts) -> np.ndarray:
    """[x] int64 the word that first waits for each transfer, -1 where none does."""
    by_start = np.argsort(timeline.start, kind="stable")
    waiters: dict[int, _Waiters] = {}
    row, side = np.nonzero(words["wait_sem"][by_start[::-1]])
    rank = len(words) - 1 - row  # by start
    chosen = by_start[rank]
    semaphores, values = words["wait_sem"][chosen, side], words["wait_val"][chosen, side]
    for semaphore, value, key in zip(semaphores.tolist(), values.tolist(), rank.tolist()):
        waiters.setdefault(semaphore, _Waiters()).add(value, key)
    found = _of_transfers(words, timeline, posts, waiters)
    return np.where(found < _NEVER, by_start[np.minimum(found, len(words) - 1)], -1)


def _of_transfers(
    words: np.ndarray, timeline: Timeline, posts: _Posts, waiters: dict[int, _Waiters]
) -> np.ndarray:
    """[x] int64 the least key of the words that wait for each transfer."""
    semaphores = words["post_sem"][timeline.transfer_op].tolist()
    return np.array([
        waiters[semaphore].above(level) if semaphore in waiters else _NEVER
        for semaphore, level in zip(semaphores, posts.transfers.tolist())
    ], dtype=np.int64)
