"""Runs that share a chip's DRAM, lump by lump; the model is in `serving_shared.pyx`."""
cimport cython
from libc.stdint cimport int32_t, int64_t

cdef enum:
    CHAINS = 16               # DMA engines of a core

cdef struct Lump:
    int64_t release, due      # on the clock of a run alone
    int64_t gate, gap         # when what waits for it first shows; how long that stands still for it, alone
    int64_t work, service     # ticks of DRAM time, and of the DMA engine
    int32_t chain, next       # its DMA engine, and what that moves after it (-1: nothing)

cdef struct Run:
    int32_t program
    int32_t asked, met, pad   # lumps asked for; gates that are behind
    int64_t began, zero       # the tick at which the run began, and that at which its clock would have shown 0
    int32_t[CHAINS] blocked   # lump of each chain whose release is not known yet, -1: none

cdef struct Next:
    int64_t tick
    int32_t chain             # that asks then; CHAINS: the run ends

@cython.final
cdef class Shared:
    cdef const int32_t[::1] first, order
    cdef const int64_t[::1] ticks
    cdef Lump[::1] lumps
    cdef int32_t cores_per_chip
    cdef Run[::1] runs
    cdef int32_t[:, ::1] at    # [cores, chains] lump that the chain asks for next
    cdef int64_t[:, ::1] done  # [cores, lumps] when each lump of the run has been moved, -1: not asked for
    cdef int64_t[::1] free     # [chips] when the DRAM has served all that was asked for
    cdef Next[CHAINS + 1] next # what the last call foresaw
    cdef int32_t foreseen
    cdef void begin(self, int32_t core, int32_t program, int64_t now) noexcept nogil
    cdef void ask(self, int32_t core, int32_t chain, int64_t now) noexcept nogil
    cdef void _look(self, int32_t core, int64_t now) noexcept nogil
    cdef int64_t _when(self, int32_t core, int64_t clock) noexcept nogil
