"""When the semaphore waits of words were met, and by whom: found again from the program and the times of its posts.

A trace names only the constraint met last. Where that is a port, an engine may have waited for a post long before.
"""

from __future__ import annotations

import numpy as np

from isa.spec import SPEC
from isa.target import Target
from profiler.analyses.engine_time import ticks
from profiler.analyses.source import Source

_SHARES = 16  # a transfer posts one for each DMA engine; all have when it ends


class Posts:
    """All posts of a trace, in order of (run, semaphore, tick)."""

    def __init__(self, known: Source, target: Target) -> None:
        table, moves = known.trace.instructions, known.trace.transfers
        self._known, self._run = known, table["run"]
        seen = table["retire"] + ticks(known.trace, target, target.semaphore_latency_ns * 1e-9)
        amount = known.streams("post_inc")[known.word].astype(np.int64)
        seen[moves["op"]] += moves["end"] - table["retire"][moves["op"]]
        amount[table["opcode"] == SPEC.by_name["dma_trigger"].opcode] = _SHARES
        semaphore = known.streams("post_sem")[known.word].astype(np.int64)
        rows = np.flatnonzero(semaphore)
        key = self._key(rows, semaphore[rows])
        order = np.lexsort((seen[rows], key))
        self._op = rows[order]
        self._seen, self._group = seen[self._op], key[order]
        sums = np.cumsum(amount[self._op])
        first = np.searchsorted(self._group, self._group)
        self._value = sums - (sums - amount[self._op])[first] if len(rows) else sums
        self._width = int(self._value.max(initial=0)) + 1
        self._ordered = self._group * self._width + self._value

    def met(self, word: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tick at which the last wait of each word was met, and the row of the word that posted; -1 without a wait."""
        tick, op = np.full(len(word), -1, np.int64), np.full(len(word), -1, np.int64)
        if not len(self._op):
            return tick, op
        semaphores, values = (self._known.streams(c)[self._known.word[word]] for c in ("wait_sem", "wait_val"))
        for k in (0, 1):
            key = self._key(word, semaphores[:, k].astype(np.int64))
            value = np.minimum(values[:, k].astype(np.int64), self._width - 1)
            at = np.minimum(np.searchsorted(self._ordered, key * self._width + value), len(self._op) - 1)
            later = (semaphores[:, k] > 0) & (self._group[at] == key) & (self._seen[at] > tick)
            tick, op = np.where(later, self._seen[at], tick), np.where(later, self._op[at], op)
        return tick, op

    def _key(self, row: np.ndarray, semaphore: np.ndarray) -> np.ndarray:
        return self._run[row].astype(np.int64) * 65536 + semaphore
