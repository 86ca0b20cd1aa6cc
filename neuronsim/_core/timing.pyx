# The loop itself is C (machine.c, dma.c, events.c); this file checks arguments once, allocates and hands over pointers.
"""Compiled event loop: twin of `neuronsim.units.machine`."""
import numpy as np

from isa.dtypes import SIZES
from neuronsim.units.model import BLOCKED, RUNNING, Solution

from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libc.stdlib cimport calloc, free


cdef extern from "word.h" nogil:
    ctypedef struct word_t:
        pass


cdef extern from "machine.h" nogil:
    enum: ENGINES
    enum: DMA_ENGINES
    enum: PORTS
    enum: USES
    ctypedef struct event_t:
        int64_t tick
    ctypedef struct stream_t:
        const word_t *words
        int64_t begin
        int64_t end
        int64_t pc
        int64_t latency
        int64_t first_transfer
        int32_t wait
        uint8_t port_mask[3]
        uint8_t tensor
    ctypedef struct dma_t:
        int64_t *head
        int64_t *share
        int64_t *waited
    ctypedef struct dma_post_t:
        int64_t tick
    ctypedef struct use_t:
        const int64_t *ticks
        const int64_t *resources
        int64_t count
    ctypedef struct slot_t:
        int32_t status
        int32_t use_count
        int64_t first_transfer
        int64_t transfers
        const int64_t *service
        use_t uses[USES]
        dma_post_t *posts
    ctypedef struct machine_t:
        int64_t slot_count
        int64_t semaphores
        int64_t queues
        int64_t resources
        int64_t chips
        int64_t post_latency
        int64_t dma_latency
        const int64_t *cost
        const uint8_t *kinds
        const uint8_t *roles
        const int64_t *sizes
        int64_t now
        slot_t *slots
        stream_t *streams
        int64_t *values
        uint8_t *waiting
        int64_t *port_free
        int64_t *port_op
        dma_t *dma
        int64_t *order
        int64_t *queue_begin
        int64_t *queue_tail
        int64_t *resource_free
        int32_t *left
        event_t *heap
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
        int64_t *waited
        int64_t *engine_busy
        int64_t *dma_busy
    void machine_start(machine_t *m, int64_t slot, int64_t tick)
    int64_t machine_advance(machine_t *m, int64_t until)
    void machine_reset(machine_t *m)
    int64_t machine_state(const machine_t *m, int64_t *out, int64_t capacity)


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


cdef class Machine:
    """The placed stages of a `Problem` on one machine: owner of a machine_t and of everything it points to.

    Twin of `neuronsim.units.machine.Machine`, which says what the methods do.
    """
    cdef machine_t m
    cdef _Arrays arrays
    cdef readonly object problem, solution

    def __cinit__(self, problem):
        self.arrays = _Arrays()
        self.problem, self.solution = problem, Solution.empty(problem)
        self.program(problem)
        self.state_arrays(problem)
        self.results(problem, self.solution)
        for slot in range(problem.slots):
            self.place(problem, slot)

    def __dealloc__(self):
        free(self.m.slots)
        free(self.m.streams)
        free(self.m.dma)

    @property
    def now(self):
        return self.m.now

    def start(self, int64_t slot, int64_t tick):
        with nogil:
            machine_start(&self.m, slot, tick)

    def advance(self, int64_t until):
        cdef int64_t found
        with nogil:
            found = machine_advance(&self.m, until)
        if found == BLOCKED:
            self.note_blocked()
        return found

    def reset(self):
        machine_reset(&self.m)

    def state(self):
        cdef int64_t size = machine_state(&self.m, NULL, 0)
        out = np.empty(size, np.int64)
        machine_state(&self.m, <int64_t *><uintptr_t>out.ctypes.data, size)
        return out.tobytes()

    cdef int note_blocked(self) except -1:
        for i in range(self.m.slot_count * ENGINES):
            running = self.m.slots[i // ENGINES].status == RUNNING and self.m.streams[i].pc < self.m.streams[i].end
            self.solution.pc[i] = self.m.streams[i].pc
            self.solution.blocked_wait[i] = self.m.streams[i].wait if running else -1
        return 0

    cdef int program(self, problem) except -1:
        cdef _Arrays a = self.arrays
        cdef Py_ssize_t n = problem.begin[-1], slots = problem.slots
        i64, u8 = np.dtype(np.int64), np.dtype(np.uint8)
        self.m.slot_count, self.m.semaphores = slots, problem.semaphores
        self.m.queues, self.m.resources, self.m.chips = problem.queues, problem.resources, problem.chips
        self.m.post_latency, self.m.dma_latency = problem.post_latency, problem.dma_latency
        self.m.cost = <const int64_t *>a.of(problem.cost, i64, n)
        self.m.kinds = <const uint8_t *>a.of(problem.kinds, u8, 256)
        self.m.roles = <const uint8_t *>a.of(problem.roles, u8, 256)
        self.m.sizes = <const int64_t *>a.of(SIZES, i64, 256)
        self.m.slots = <slot_t *>calloc(slots, sizeof(slot_t))
        self.m.streams = <stream_t *>calloc(slots * ENGINES, sizeof(stream_t))
        self.m.dma = <dma_t *>calloc(slots * DMA_ENGINES, sizeof(dma_t))
        if not (self.m.slots and self.m.streams and self.m.dma):
            raise MemoryError
        return 0

    cdef int state_arrays(self, problem) except -1:
        cdef _Arrays a = self.arrays
        cdef Py_ssize_t x = len(problem.trigger), slots = problem.slots, queues = problem.queues
        i64 = np.int64
        self.m.waiting = <uint8_t *>a.new(slots * problem.semaphores, np.uint8)
        self.m.port_free = <int64_t *>a.new(slots * PORTS, i64)
        self.m.port_op = <int64_t *>a.new(slots * PORTS, i64)
        self.m.order = <int64_t *>a.new(x, i64)
        self.m.queue_begin = <int64_t *>a.of(_queue_begin(problem), np.dtype(i64), slots * queues)
        self.m.queue_tail = <int64_t *>a.new(slots * queues, i64)
        self.m.resource_free = <int64_t *>a.new(problem.resources, i64)
        self.m.left = <int32_t *>a.new(x, np.int32)
        # of every slot: three events per engine, one per DMA engine, one post of them, one end
        self.m.heap = <event_t *>a.new(slots * (3 * ENGINES + DMA_ENGINES + 2) * sizeof(event_t) // 8, i64)
        return 0

    cdef int results(self, problem, solution) except -1:
        cdef _Arrays a = self.arrays
        cdef Py_ssize_t n = problem.begin[-1], x = len(problem.trigger), slots = problem.slots
        i64, i32 = np.dtype(np.int64), np.dtype(np.int32)
        self.m.values = <int64_t *>a.of(solution.values, i64, slots * problem.semaphores)
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
        self.m.waited = <int64_t *>a.of(solution.waited, i64, 2 * x)
        self.m.engine_busy = <int64_t *>a.of(solution.engine_busy, i64, slots * ENGINES)
        self.m.dma_busy = <int64_t *>a.of(solution.dma_busy, i64, slots * DMA_ENGINES)
        return 0

    cdef int place(self, problem, Py_ssize_t slot) except -1:
        cdef _Arrays a = self.arrays
        cdef slot_t *p = &self.m.slots[slot]
        cdef Py_ssize_t e, k, size = problem.service[slot].size
        i64 = np.dtype(np.int64)
        transfers = problem.transfers_of(slot)
        p.first_transfer, p.transfers = transfers.start, transfers.stop - transfers.start
        p.service = <const int64_t *>a.of(problem.service[slot], i64, size)
        p.posts = <dma_post_t *>a.new((p.transfers * DMA_ENGINES + 1) * sizeof(dma_post_t) // 8, np.int64)
        p.use_count = len(problem.uses[slot])
        if p.use_count > USES:
            raise TypeError(f"expected at most {USES} uses, got {p.use_count}")
        for k, use in enumerate(problem.uses[slot]):
            p.uses[k].ticks = <const int64_t *>a.of(use.ticks, i64, size)
            p.uses[k].count = len(use.resources)
            p.uses[k].resources = <const int64_t *>a.of(np.array(use.resources, np.int64), i64, p.uses[k].count)
        for e in range(slot * DMA_ENGINES, (slot + 1) * DMA_ENGINES):
            self.m.dma[e].head = <int64_t *>a.new(problem.queues, np.int64)
            self.m.dma[e].share = <int64_t *>a.new(problem.queues, np.int64)
            self.m.dma[e].waited = <int64_t *>a.new(2 * problem.queues, np.int64)
        for e in range(slot * ENGINES, (slot + 1) * ENGINES):
            self.stream(problem, e)
        return 0

    cdef int stream(self, problem, Py_ssize_t i) except -1:
        cdef stream_t *s = &self.m.streams[i]
        s.begin, s.end, s.latency = problem.begin[i], problem.begin[i + 1], problem.latency[i]
        s.pc = s.begin
        s.words = <const word_t *>self.arrays.of(problem.words[i], problem.words[i].dtype, s.end - s.begin)
        s.first_transfer = np.searchsorted(problem.trigger, s.begin)
        s.tensor = i % ENGINES == 0
        for space in range(3):
            s.port_mask[space] = problem.ports[i, space]
        return 0


def _queue_begin(problem):
    """Where each queue begins in the array of transfer ids, [slots * queues] int64."""
    part = np.searchsorted(problem.trigger, problem.begin)
    count = np.zeros((problem.slots, problem.queues), np.int64)
    for s, words in enumerate(problem.words):
        queue = words["op0"][problem.trigger[part[s]:part[s + 1]] - problem.begin[s]]
        count[s // ENGINES] += np.bincount(queue, minlength=problem.queues)
    return (np.cumsum(count) - count.ravel()).astype(np.int64)
