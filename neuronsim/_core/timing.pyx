# The loop itself is C (machine.c, dma.c, events.c); this file checks arguments once, allocates and hands over pointers.
"""Compiled event loop: twin of `neuronsim.units.machine`."""
import numpy as np

from isa.dtypes import SIZES
from neuronsim.units.model import Solution

from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libc.stdlib cimport calloc, free


cdef extern from "word.h" nogil:
    ctypedef struct word_t:
        pass


cdef extern from "machine.h" nogil:
    enum: ENGINES
    enum: DMA_ENGINES
    enum: PORTS
    ctypedef struct event_t:
        int64_t tick
    ctypedef struct box_t:
        int64_t low
    ctypedef struct stream_t:
        const word_t *words
        int64_t begin
        int64_t end
        int64_t pc
        int64_t load_op
        int64_t latency
        int64_t post_op
        int64_t enqueue_op
        int64_t transfer
        int32_t wait
        uint8_t port_mask[3]
        uint8_t tensor
    ctypedef struct dma_t:
        int64_t *head
        int64_t *share
        int32_t queue
    ctypedef struct dma_post_t:
        int64_t tick
    ctypedef struct machine_t:
        int32_t cores
        int32_t semaphores
        int32_t queues
        int64_t post_latency
        int64_t dma_latency
        const int64_t *cost
        const uint8_t *kinds
        const uint8_t *roles
        const int64_t *sizes
        const int64_t **service
        const int64_t **dram
        const int32_t *chip
        stream_t *streams
        int64_t *values
        uint8_t *waiting
        int64_t *port_free
        int64_t *port_op
        dma_t *dma
        int64_t *order
        int64_t *queue_begin
        int64_t *queue_tail
        int64_t *dram_free
        box_t *writes
        int32_t *left
        event_t *heap
        dma_post_t *posts
        int64_t *start
        int64_t *finish
        int64_t *retire
        int64_t *wait_start
        uint8_t *cause
        int32_t *cause_id
        int32_t *cause_op
        const int64_t *trigger
        const int32_t *stream_of
        int64_t *enqueued
        int64_t *first
        int64_t *last
        int64_t *engine_busy
        int64_t *dma_busy
    int machine_run(machine_t *m)


cdef extern from *:
    """
    #include "word.h"
    #define AT(type, field) {#type "." #field, offsetof(type, field)}
    static const struct { const char *name; size_t offset; } OFFSETS[] = {
        AT(operand_t, start), AT(operand_t, partition), AT(operand_t, partitions), AT(operand_t, dtype),
        AT(operand_t, space), AT(operand_t, step), AT(operand_t, size),
        AT(pointer_t, start), AT(pointer_t, partition), AT(pointer_t, dtype), AT(pointer_t, space),
        AT(pointer_t, zero),
        AT(word_t, opcode), AT(word_t, flags), AT(word_t, op0), AT(word_t, op1), AT(word_t, func), AT(word_t, axes),
        AT(word_t, count), AT(word_t, debug), AT(word_t, imm0), AT(word_t, imm1), AT(word_t, wait_sem),
        AT(word_t, wait_val), AT(word_t, post_sem), AT(word_t, post_inc), AT(word_t, arg), AT(word_t, ptr0),
        AT(word_t, ptr1), AT(word_t, dst), AT(word_t, src0), AT(word_t, src1),
        AT(descriptor_t, op), AT(descriptor_t, src_dtype), AT(descriptor_t, dst_dtype), AT(descriptor_t, flags),
        AT(descriptor_t, debug), AT(descriptor_t, src_var), AT(descriptor_t, dst_var), AT(descriptor_t, src_off),
        AT(descriptor_t, dst_off), AT(descriptor_t, size), AT(descriptor_t, src_step), AT(descriptor_t, dst_step),
        AT(descriptor_t, index_off), AT(descriptor_t, index_step), AT(descriptor_t, index_limit),
    };
    enum { OFFSET_COUNT = sizeof OFFSETS / sizeof *OFFSETS };
    static const char *offset_name(int i) { return OFFSETS[i].name; }
    static size_t offset_of(int i) { return OFFSETS[i].offset; }
    """
    enum: OFFSET_COUNT
    const char *offset_name(int i)
    size_t offset_of(int i)


def layout():
    """Byte offset of every field of the C records, by "record.field"."""
    return {offset_name(i).decode(): offset_of(i) for i in range(OFFSET_COUNT)}


cdef class _Arrays:
    """Keeps the arrays alive whose addresses the machine holds, and checks each once."""
    cdef list kept

    def __cinit__(self):
        self.kept = []

    cdef void *of(self, array, dtype, Py_ssize_t size) except? NULL:
        if array.dtype != dtype or array.size != size or not array.flags.c_contiguous:
            raise TypeError(f"expected {size} contiguous {dtype}, got {array.size} {array.dtype}")
        if not array.flags.aligned:
            array = array.copy()
        self.kept.append(array)
        return <void *><uintptr_t>array.ctypes.data

    cdef void *new(self, Py_ssize_t size, dtype) except? NULL:
        return self.of(np.zeros(max(size, 1), dtype), np.dtype(dtype), max(size, 1))


cdef class _Machine:
    """Owner of a machine_t and of everything it points to."""
    cdef machine_t m
    cdef _Arrays arrays

    def __cinit__(self, problem, solution):
        self.arrays = _Arrays()
        self.program(problem)
        self.state(problem)
        self.results(problem, solution)

    def __dealloc__(self):
        free(self.m.streams)
        free(self.m.dma)
        free(self.m.service)
        free(self.m.dram)

    cdef int program(self, problem) except -1:
        cdef _Arrays a = self.arrays
        cdef Py_ssize_t n = problem.begin[-1], cores = problem.cores, core
        i64 = np.dtype(np.int64)
        self.m.cores, self.m.semaphores, self.m.queues = cores, problem.semaphores, problem.queues
        self.m.post_latency, self.m.dma_latency = problem.post_latency, problem.dma_latency
        self.m.cost = <const int64_t *>a.of(problem.cost, i64, n)
        self.m.kinds = <const uint8_t *>a.of(problem.kinds, np.dtype(np.uint8), 256)
        self.m.roles = <const uint8_t *>a.of(problem.roles, np.dtype(np.uint8), 256)
        self.m.sizes = <const int64_t *>a.of(SIZES, i64, 256)
        self.m.chip = <const int32_t *>a.of(problem.chip, np.dtype(np.int32), cores)
        self.m.service = <const int64_t **>calloc(cores, sizeof(int64_t *))
        self.m.dram = <const int64_t **>calloc(cores, sizeof(int64_t *))
        self.m.streams = <stream_t *>calloc(cores * ENGINES, sizeof(stream_t))
        self.m.dma = <dma_t *>calloc(cores * DMA_ENGINES, sizeof(dma_t))
        if not (self.m.service and self.m.dram and self.m.streams and self.m.dma):
            raise MemoryError
        for core in range(cores):
            self.m.service[core] = <const int64_t *>a.of(problem.service[core], i64, problem.service[core].size)
            self.m.dram[core] = <const int64_t *>a.of(problem.dram[core], i64, problem.service[core].size)
        for i in range(cores * ENGINES):
            self.stream(problem, i)
        return 0

    cdef int stream(self, problem, Py_ssize_t i) except -1:
        cdef stream_t *s = &self.m.streams[i]
        s.begin, s.end, s.latency = problem.begin[i], problem.begin[i + 1], problem.latency[i]
        s.words = <const word_t *>self.arrays.of(problem.words[i], problem.words[i].dtype, s.end - s.begin)
        s.pc = s.begin
        s.transfer = np.searchsorted(problem.trigger, s.begin)
        s.load_op = s.post_op = s.enqueue_op = s.wait = -1
        s.tensor = i % ENGINES == 0
        for space in range(3):
            s.port_mask[space] = problem.ports[i, space]
        return 0

    cdef int state(self, problem) except -1:
        cdef _Arrays a = self.arrays
        cdef Py_ssize_t n = problem.begin[-1], x = len(problem.trigger), cores = problem.cores
        cdef Py_ssize_t queues = problem.queues, e
        i64 = np.int64
        self.m.values = NULL
        self.m.waiting = <uint8_t *>a.new(cores * problem.semaphores, np.uint8)
        self.m.port_free = <int64_t *>a.new(cores * PORTS, i64)
        self.m.port_op = <int64_t *>a.new(cores * PORTS, i64)
        self.m.order = <int64_t *>a.new(x, i64)
        self.m.queue_begin = <int64_t *>a.of(_queue_begin(problem), np.dtype(i64), cores * queues)
        self.m.queue_tail = <int64_t *>a.new(cores * queues, i64)
        self.m.dram_free = <int64_t *>a.new(int(problem.chip.max()) + 1, i64)
        self.m.writes = <box_t *>a.new(2 * n * sizeof(box_t) // 8, i64)
        self.m.left = <int32_t *>a.of(np.full(x, DMA_ENGINES, np.int32), np.dtype(np.int32), x)
        self.m.heap = <event_t *>a.new(2 * (cores * (3 * ENGINES + DMA_ENGINES) + 1), i64)
        self.m.posts = <dma_post_t *>a.new((x * DMA_ENGINES + 1) * sizeof(dma_post_t) // 8, i64)
        for e in range(cores * DMA_ENGINES):
            self.m.dma[e].head = <int64_t *>a.new(queues, i64)
            self.m.dma[e].share = <int64_t *>a.new(queues, i64)
            self.m.dma[e].queue = queues - 1
        return 0

    cdef int results(self, problem, solution) except -1:
        cdef _Arrays a = self.arrays
        cdef Py_ssize_t n = problem.begin[-1], x = len(problem.trigger), cores = problem.cores
        i64, i32 = np.dtype(np.int64), np.dtype(np.int32)
        self.m.values = <int64_t *>a.of(solution.values, i64, cores * problem.semaphores)
        self.m.start = <int64_t *>a.of(solution.start, i64, n)
        self.m.finish = <int64_t *>a.of(solution.end, i64, n)
        self.m.retire = <int64_t *>a.of(solution.retire, i64, n)
        self.m.wait_start = <int64_t *>a.of(solution.wait_start, i64, n)
        self.m.cause = <uint8_t *>a.of(solution.cause, np.dtype(np.uint8), n)
        self.m.cause_id = <int32_t *>a.of(solution.cause_id, i32, n)
        self.m.cause_op = <int32_t *>a.of(solution.cause_op, i32, n)
        self.m.trigger = <const int64_t *>a.of(problem.trigger, i64, x)
        self.m.stream_of = <const int32_t *>a.of(problem.stream_of_trigger, i32, x)
        self.m.enqueued = <int64_t *>a.of(solution.enqueued, i64, x)
        self.m.first = <int64_t *>a.of(solution.first, i64, x)
        self.m.last = <int64_t *>a.of(solution.last, i64, x)
        self.m.engine_busy = <int64_t *>a.of(solution.engine_busy, i64, cores * ENGINES)
        self.m.dma_busy = <int64_t *>a.of(solution.dma_busy, i64, cores * DMA_ENGINES)
        return 0


def _queue_begin(problem):
    """First slot of each queue in the array of transfer ids, [cores * queues] int64."""
    stream = problem.stream_of_trigger
    queue = [problem.words[s]["op0"][op - problem.begin[s]] for s, op in zip(stream, problem.trigger)]
    slot = stream.astype(np.int64) // ENGINES * problem.queues + np.array(queue, np.int64)
    count = np.bincount(slot, minlength=problem.cores * problem.queues)
    return np.ascontiguousarray(np.cumsum(count) - count, dtype=np.int64)


def run(problem):
    """Run a `Problem` to its end or to a deadlock and return the `Solution`."""
    solution = Solution.empty(problem)
    cdef _Machine machine = _Machine(problem, solution)
    cdef int status
    with nogil:
        status = machine_run(&machine.m)
    solution.deadlock = status != 0
    for i in range(problem.cores * ENGINES):
        solution.pc[i] = machine.m.streams[i].pc
        solution.blocked_wait[i] = machine.m.streams[i].wait if machine.m.streams[i].pc < machine.m.streams[i].end else -1
    return solution
