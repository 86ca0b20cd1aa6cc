"""What the parts of the request simulator share; the rules are in `serving.pyx`."""
cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t

from neuronsim._core.serving_heap cimport Heap
from neuronsim._core.serving_shared cimport Shared

cdef enum:  # kinds of stations
    CPU = 0
    LINK = 1
    CORE = 2

cdef enum:  # kinds of events, in their order within a tick
    CORE_ENDS = 0
    LINK_ENDS = 1
    CPU_ENDS = 2
    ARRIVES = 3
    CORE_ASKS = 4             # for DRAM, where `Shared` tells

cdef enum:
    NONE = -1
    BUFFERS = 2  # between a step on a core and its neighbour
    INDEX_BITS = 56

cdef struct Queue:            # of pieces, NONE: empty
    int32_t head, tail

cdef struct Station:
    int32_t kind, where, model, next, previous, slot
    int32_t program           # for `Shared`, NONE: constant ticks
    int32_t bounded           # what it makes goes into one of BUFFERS buffers
    int64_t ticks, switching
    Queue queue               # pieces that wait for the core, or (link) for a buffer
    int32_t waiting           # pieces here whose service has not begun
    int32_t reserved          # buffers behind it that are taken
    int64_t since             # when `waiting` changed last
    int64_t runs, busy, most, first, last, switches
    double area               # integral of `waiting` over time

cdef struct Core:
    int32_t stations, count   # slice of `hosted`
    int32_t running, piece, loaded
    int64_t begin, ended      # of the run under way; of the one before it, at first 0
    int64_t busy

cdef struct Line:             # first come, first served: a host link, or the threads of the host
    Queue queue
    int32_t free

cdef struct Piece:
    int64_t request, ready
    int32_t next, station, copy

cdef struct Model:
    int32_t copies, first_copy, turn, least_loaded, closed
    int64_t base, requests, issued, done, interval


cdef inline void put(Piece *pieces, Queue *queue, int32_t p) noexcept nogil:
    pieces[p].next = NONE
    if queue.tail == NONE:
        queue.head = p
    else:
        pieces[queue.tail].next = p
    queue.tail = p


cdef inline int32_t take(Piece *pieces, Queue *queue) noexcept nogil:
    cdef int32_t p = queue.head
    queue.head = pieces[p].next
    if queue.head == NONE:
        queue.tail = NONE
    return p


@cython.final
cdef class Loop:
    cdef Station *stations
    cdef Core *cores
    cdef Line *links
    cdef Line host
    cdef Piece *pieces
    cdef Model *models
    cdef Heap heap
    cdef int64_t started
    cdef int32_t n_stations, n_cores, n_links, n_models, free_piece, pieces_room
    cdef int32_t *hosted
    cdef int32_t *load        # [copies] pieces in flight
    cdef const int32_t[::1] first  # [copies] first station
    cdef int32_t *dirty
    cdef char *is_dirty       # cores, then links, then the host
    cdef int32_t n_dirty
    cdef int32_t *starting    # cores whose runs the machine has still to be told of
    cdef int32_t n_starting, n_under_way
    cdef int64_t credit, offset
    cdef readonly int64_t now, done
    cdef object machine, witness, _slot_core
    cdef Shared shared
    cdef readonly object arrival, start, end
    cdef int64_t[::1] v_arrival, v_start, v_end
    cdef int32_t[::1] left
    cdef list _memory

    cdef _add_station(self, int s, const int64_t[::1] row)
    cdef _host_stations(self)
    cdef _add_model(self, int i, const int64_t[::1] row)
    cdef int32_t _new_piece(self) except -2 nogil
    cdef int _arrive(self, int model) except -1 nogil
    cdef int32_t _choose(self, Model *m) noexcept nogil
    cdef int _enter(self, int32_t s, int32_t p) except -1 nogil
    cdef void _admit(self, int32_t s) noexcept nogil
    cdef void _join(self, Station *x, int32_t p) noexcept nogil
    cdef int _leave(self, int32_t p) except -1 nogil
    cdef int _finish(self, Station *x, int32_t p) except -1 nogil
    cdef int _foresee(self, int64_t c) except -1 nogil
    cdef void _count(self, Station *x, int change) noexcept nogil
    cdef void _mark(self, int32_t resource) noexcept nogil
    cdef int _serve(self, Station *x, int32_t p, int64_t idle, int64_t start) except -1 nogil
    cdef int _settle(self) except -1 nogil
    cdef int _start_line(self, Line *line, int event, int64_t index) except -1 nogil
    cdef int _start_core(self, int32_t c) except -1 nogil
    cdef int _step(self) except -1 nogil
    cdef int _arrive_and_next(self, int32_t model) except -1 nogil
    cdef int _end_core(self, int32_t c) except -1 nogil
    cdef _tell(self)
    cdef _ask(self)
    cdef int _push(self, int64_t tick, int kind, int64_t index, int32_t piece) except -1 nogil
    cdef void *_zeros(self, int64_t count, int64_t size) except NULL
