# cython: language_level=3, boundscheck=False, wraparound=False
# Unchecked indexing: every operand is checked once by neuronsim/insns/bounds.py before it gets here.
"""Runs actions on the memories of a core without the GIL. Python surface of the C executor; see neuronsim/replay.py."""
import os

import numpy as np

from neuronsim.errors import ConfigError, SimulationError

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc


cdef extern from "word.h":
    ctypedef struct word_t:
        uint8_t opcode
    ctypedef struct descriptor_t:
        uint8_t op


cdef extern from "kernels/view.h":
    ctypedef struct memory_t:
        uint8_t *sbuf
        uint8_t *psum
        int64_t sbuf_pitch
        int64_t psum_pitch
        uint8_t **variables
    ctypedef struct kernels_t:
        const char *name
        double (*bare_tile)(const float *a, const float *b, int k, int repeats, float *out) noexcept nogil
    enum: SCRATCH_BYTES, STATIONARY_BYTES, STATIONARY_PITCH, PANEL_COLUMNS
    const kernels_t *ns_select_kernels(const char *name)
    int64_t ns_sample_bytes(const word_t *w)


cdef extern from "values.h":
    ctypedef struct action_t:
        int32_t op
    ctypedef int (*numpy_op_t)(void *context, int64_t op, const uint8_t *sample) noexcept nogil
    ctypedef struct executor_t:
        const kernels_t *kernels
        memory_t memory
        const word_t *streams[5]
        int64_t first[6]
        const descriptor_t *descriptors
        uint8_t *slots
        int64_t slot_count
        const action_t *actions
        int64_t action_count
        uint8_t **samples
        numpy_op_t numpy_op
        void *context
        int64_t psum_cell, slot_cell, cells
        const int64_t *variable_cell
        const int64_t *variable_shift
        int64_t nonfinite
        int find_nonfinite
    const word_t *ns_word(const executor_t *e, int64_t op) nogil
    int64_t ns_detect_samples(const executor_t *e, const int64_t *start, const int64_t *end, uint8_t *sampled) nogil
    int ns_dependencies(const executor_t *e, int32_t *pending, int64_t *first, int32_t **next) nogil
    int ns_run_serial(executor_t *e, void *scratch) nogil
    int ns_run_threads(executor_t *e, int threads, int32_t *pending, const int64_t *first, const int32_t *next) nogil


cdef const kernels_t *_kernels() except NULL:
    name = os.environ.get("NEURONSIM_CPU", "")
    encoded = name.encode()
    cdef const kernels_t *found = ns_select_kernels(encoded)
    if found == NULL:
        raise ConfigError(f"NEURONSIM_CPU={name}: unknown, or this host lacks it", code="CPU",
                          help="baseline, avx2 or avx512; unset it for the best available")
    return found


def cpu_level() -> str:
    """Name of the kernels in use: baseline, avx2 or avx512."""
    return (<bytes>_kernels().name).decode()


def bare_tile_flops(int k, int repeats):
    """Run the bare tile kernel; returns (floating point operations, checksum). For benchmarks."""
    a, b = np.ones((k, STATIONARY_PITCH), np.float32), np.ones((k, PANEL_COLUMNS), np.float32)
    out = np.zeros((16, PANEL_COLUMNS), np.float32)
    cdef float[:, ::1] av = a, bv = b, ov = out
    cdef const kernels_t *kernels = _kernels()
    cdef double flops
    with nogil:
        flops = kernels.bare_tile(&av[0, 0], &bv[0, 0], k, repeats, &ov[0, 0])
    return flops, float(out.sum())


cdef int _numpy_op(void *context, int64_t op, const uint8_t *sample) noexcept with gil:
    executor = <Executor>context
    try:
        copied = None
        if sample != NULL:
            copied = np.asarray(<uint8_t[:ns_sample_bytes(ns_word(&executor.e, op))]><uint8_t *>sample)
        executor.numpy_op(op, copied)
    except BaseException as error:  # carried across C, raised again by run()
        executor.error = error
        return 1
    return 0


cdef class Executor:
    """A stage bound to its memories.

    Args:
        sbuf, psum: [128, pitch] uint8.
        streams: five contiguous arrays of isa.word.WORD, in engine order.
        descriptors: array of isa.word.DESCRIPTOR.
        variables: uint8 array per DRAM variable in id order; read-only ones are never written.
        numpy_op: called with (op id, sample or None) for words without a kernel.
    """

    cdef executor_t e
    cdef object numpy_op, error, keep, slots, actions
    cdef int64_t sample_count

    def __cinit__(self):
        self.e.nonfinite = -1

    def __dealloc__(self):
        free(<void *>self.e.memory.variables)
        self._free_samples()

    def __init__(self, sbuf, psum, streams, descriptors, variables, numpy_op):
        cdef int64_t first = 0
        self.keep = [sbuf, psum, streams, descriptors, variables]
        self.numpy_op = numpy_op
        self.e.kernels = _kernels()
        self.e.memory.sbuf = <uint8_t *><uintptr_t>sbuf.ctypes.data
        self.e.memory.psum = <uint8_t *><uintptr_t>psum.ctypes.data
        self.e.memory.sbuf_pitch = sbuf.strides[0]
        self.e.memory.psum_pitch = psum.strides[0]
        self.e.descriptors = <const descriptor_t *><uintptr_t>descriptors.ctypes.data
        self.e.numpy_op = _numpy_op
        self.e.context = <void *>self
        for i in range(5):
            self.e.streams[i] = <const word_t *><uintptr_t>streams[i].ctypes.data
            self.e.first[i] = first
            first += len(streams[i])
        self.e.first[5] = first
        cdef uint8_t **pointers = <uint8_t **>calloc(len(variables) + 1, sizeof(uint8_t *))
        if pointers == NULL:
            raise MemoryError
        for i, variable in enumerate(variables):
            pointers[i] = <uint8_t *><uintptr_t>variable.ctypes.data
        self.e.memory.variables = pointers

    cdef void _free_samples(self) noexcept:
        cdef int64_t i
        if self.e.samples != NULL:
            for i in range(self.sample_count):
                free(self.e.samples[i])
            free(self.e.samples)
            self.e.samples = NULL

    def set_cells(self, int64_t psum_cell, int64_t slot_cell, int64_t cells, variable_cell, variable_shift):
        """Number of access cells: SBUF from 0, PSUM, stationary slots, DRAM variables."""
        self.keep += [variable_cell, variable_shift]
        self.e.psum_cell, self.e.slot_cell, self.e.cells = psum_cell, slot_cell, cells
        self.e.variable_cell = <const int64_t *><uintptr_t>variable_cell.ctypes.data
        self.e.variable_shift = <const int64_t *><uintptr_t>variable_shift.ctypes.data

    def set_actions(self, actions, int64_t sample_count, int64_t slot_count):
        """Contiguous array of `neuronsim.replay.ACTION`, numbers of samples and of stationary buffers."""
        self._free_samples()
        self.actions = actions
        self.e.actions = <const action_t *><uintptr_t>actions.ctypes.data
        self.e.action_count = len(actions)
        self.e.samples = <uint8_t **>calloc(sample_count + 1, sizeof(uint8_t *))
        self.sample_count = sample_count
        if self.e.samples == NULL:
            raise MemoryError
        self.slots = np.zeros(slot_count * STATIONARY_BYTES + 64, np.uint8)
        address = self.slots.ctypes.data
        self.e.slots = <uint8_t *><uintptr_t>((address + 63) // 64 * 64)
        self.e.slot_count = slot_count

    def detect_samples(self, const int64_t[::1] start, const int64_t[::1] end):
        """uint8 per action: 1 where its sources must be copied aside at its start. Ticks are per op id."""
        sampled = np.zeros(self.e.action_count + 1, np.uint8)
        cdef uint8_t[::1] out = sampled
        cdef int64_t found = 0
        if self.e.action_count:
            with nogil:
                found = ns_detect_samples(&self.e, &start[0], &end[0], &out[0])
        if found < 0:
            raise MemoryError
        return sampled[: self.e.action_count]

    def dependencies(self):
        """(pending int32 [n], first int64 [n + 1], next int32 [...]): the graph of the actions."""
        cdef int64_t n = self.e.action_count
        pending, first = np.zeros(n + 1, np.int32), np.zeros(n + 1, np.int64)
        cdef int32_t[::1] p = pending
        cdef int64_t[::1] f = first
        cdef int32_t *rows = NULL
        cdef int status
        with nogil:
            status = ns_dependencies(&self.e, &p[0], &f[0], &rows)
        if status:
            free(rows)
            raise MemoryError
        successors = np.zeros(int(f[n]) + 1, np.int32)
        cdef int32_t[::1] s = successors
        cdef int64_t i
        for i in range(f[n]):
            s[i] = rows[i]
        free(rows)
        return pending[:n], first, successors

    def run(self, bint find_nonfinite=False):
        """Execute in order on this thread. Returns: op id of the first new NaN or infinity, or -1."""
        scratch = np.zeros(SCRATCH_BYTES + 64, np.uint8)
        cdef void *aligned = <void *><uintptr_t>((scratch.ctypes.data + 63) // 64 * 64)
        cdef int status
        self.error, self.e.nonfinite, self.e.find_nonfinite = None, -1, find_nonfinite
        with nogil:
            status = ns_run_serial(&self.e, aligned)
        self._check(status)
        return self.e.nonfinite

    def run_threads(self, int threads, graph):
        """Execute by the dependency graph on `threads` threads."""
        cdef int32_t[::1] pending = np.concatenate([graph[0], np.zeros(1, np.int32)])
        cdef const int64_t[::1] first = graph[1]
        cdef const int32_t[::1] successors = graph[2]
        cdef int status
        self.error, self.e.find_nonfinite = None, False
        with nogil:
            status = ns_run_threads(&self.e, threads, &pending[0], &first[0], &successors[0])
        self._check(status)

    cdef _check(self, int status):
        error, self.error = self.error, None
        if error is not None:
            raise error
        if status:
            raise SimulationError("not enough host memory to run the program", code="HOST_MEMORY")
