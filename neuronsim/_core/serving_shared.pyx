# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""How runs on the cores of a chip slow each other down when no machine tells: DMA without instructions.

A run has a clock that shows how far it is in the time it takes alone, and lumps of data to move, most to or from DRAM,
each by one of its DMA engines. The engine asks for a lump when the clock shows the lump's release and the lump before
it has been moved. The DRAM of a chip serves lumps in the order they are asked for, whoever asks, as it serves the
shares of transfers on the machine. A lump that is moved after it is due makes the clock late by as much, from its gate
on: what is released before does not depend on it. Alone, a gap may lie before it is due, in which nothing but it is
waited for: that much of what the clock is late already makes up for itself. A lump's end is known when it is asked for,
so each is one event.
"""
from libc.stdint cimport int32_t, int64_t

import cython
import numpy as np

cdef enum:
    NONE = -1


@cython.final
cdef class Shared:
    """Runs on all cores of an instance, and the DRAM of its chips."""

    def __cinit__(self, const int32_t[::1] first, const int64_t[::1] ticks, const int64_t[:, ::1] lumps,
                  const int32_t[::1] order, *, int cores, int cores_per_chip):
        """Args:
            first: [programs + 1], program p has the rows first[p]:first[p + 1] of `lumps` and `order`, at least one.
            ticks: [programs] of a run alone.
            lumps: [n, 8] release, due, gate, gap, DRAM time (0: from SBUF to SBUF), time of the DMA engine (>= 1), that
                engine, the lump of the program that it moves next or -1. Alone, none is due before it has been moved.
            order: [n] the lumps of each program by their gates, those of one gate by when they are due.
        """
        longest = max([first[p + 1] - first[p] for p in range(len(ticks))], default=0)
        self.first, self.ticks, self.order, self.cores_per_chip = first, ticks, order, cores_per_chip
        self.lumps = np.zeros(len(lumps), dtype=_LUMP)
        for i in range(len(lumps)):
            self.lumps[i] = Lump(lumps[i, 0], lumps[i, 1], lumps[i, 2], lumps[i, 3], lumps[i, 4], lumps[i, 5],
                                 <int32_t>lumps[i, 6], <int32_t>lumps[i, 7])
        self.runs = np.zeros(cores, dtype=_RUN)
        self.at = np.zeros((cores, CHAINS), dtype=np.int32)
        self.done = np.zeros((cores, longest), dtype=np.int64)
        self.free = np.zeros(cores // cores_per_chip, dtype=np.int64)

    cdef void begin(self, int32_t core, int32_t program, int64_t now) noexcept nogil:
        """A run of the program begins."""
        cdef Run *run = &self.runs[core]
        cdef int32_t i, chain, base = self.first[program]
        run.program, run.asked, run.met, run.began, run.zero = program, 0, 0, now, now
        for chain in range(CHAINS):
            run.blocked[chain] = NONE
        for i in range(self.first[program + 1] - base - 1, -1, -1):
            self.done[core, i] = NONE
            run.blocked[self.lumps[base + i].chain] = i  # in the end the first of its chain
        self.foreseen = 0
        self._look(core, now)

    cdef void ask(self, int32_t core, int32_t chain, int64_t now) noexcept nogil:
        """The chain asks for its next lump."""
        cdef Run *run = &self.runs[core]
        cdef int32_t i = self.at[core, chain]
        cdef Lump *lump = &self.lumps[self.first[run.program] + i]
        cdef int64_t *free = &self.free[core // self.cores_per_chip]
        self.done[core, i] = now + lump.service
        if lump.work:
            free[0] = max(free[0], now) + lump.work
            self.done[core, i] = max(free[0], self.done[core, i])
        run.asked += 1
        run.blocked[chain] = lump.next
        self.foreseen = 0
        if run.asked == self.first[run.program + 1] - self.first[run.program]:
            self.next[0] = Next(self._when(core, self.ticks[run.program]), CHAINS)
            self.foreseen = 1
        else:
            self._look(core, now)

    cdef void _look(self, int32_t core, int64_t now) noexcept nogil:
        """Foresee when blocked chains ask, where that is known now."""
        cdef Run *run = &self.runs[core]
        cdef Lump *lump
        cdef int32_t chain, i
        cdef int64_t tick
        for chain in range(CHAINS):
            i = run.blocked[chain]
            if i == NONE:
                continue
            lump = &self.lumps[self.first[run.program] + i]
            tick = self._when(core, lump.release)
            if tick == NONE:
                continue
            run.blocked[chain] = NONE
            tick = max(tick, now)
            if run.asked and self.lumps[self.first[run.program] + self.at[core, chain]].next == i:
                tick = max(tick, self.done[core, self.at[core, chain]])
            self.at[core, chain] = i
            self.next[self.foreseen] = Next(tick, chain)
            self.foreseen += 1

    cdef int64_t _when(self, int32_t core, int64_t clock) noexcept nogil:
        """The tick at which the run's clock shows `clock`; NONE while a lump gated before has not been asked for."""
        cdef Run *run = &self.runs[core]
        cdef Lump *lump
        cdef int32_t i, base = self.first[run.program]
        while run.met < self.first[run.program + 1] - base:
            i = self.order[base + run.met]
            lump = &self.lumps[base + i]
            if lump.gate > clock:
                break
            if self.done[core, i] == NONE:
                return NONE
            run.zero = max(run.began, max(run.zero - lump.gap, self.done[core, i] - lump.due))
            run.met += 1
        return run.zero + clock


_LUMP = np.dtype([*((name, "i8") for name in ("release", "due", "gate", "gap", "work", "service")), ("chain", "i4"),
                  ("next", "i4")])
_RUN = np.dtype([("program", "i4"), ("asked", "i4"), ("met", "i4"), ("pad", "i4"), ("began", "i8"), ("zero", "i8"),
                 ("blocked", "i4", int(CHAINS))])
