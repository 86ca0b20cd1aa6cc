"""Events by tick, then by key: a binary heap."""
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport realloc

cdef struct Event:
    int64_t tick
    uint64_t key              # kind, index
    int32_t piece

cdef struct Heap:
    Event *events
    int64_t size, room


cdef inline bint before(Event a, Event b) noexcept nogil:
    return a.tick < b.tick or (a.tick == b.tick and a.key < b.key)


cdef inline int push(Heap *h, Event e) except -1 nogil:
    cdef int64_t i = h.size, up
    if i == h.room:
        h.room = 2 * h.room + 64
        h.events = <Event *>realloc(h.events, h.room * sizeof(Event))
        if not h.events:
            with gil:
                raise MemoryError
    h.size += 1
    while i:
        up = (i - 1) // 2
        if not before(e, h.events[up]):
            break
        h.events[i] = h.events[up]
        i = up
    h.events[i] = e
    return 0


cdef inline Event pop(Heap *h) noexcept nogil:
    """The first event of a heap that is not empty."""
    cdef Event top = h.events[0], last
    cdef int64_t i = 0, child
    h.size -= 1
    last = h.events[h.size]
    while True:
        child = 2 * i + 1
        if child >= h.size:
            break
        if child + 1 < h.size and before(h.events[child + 1], h.events[child]):
            child += 1
        if not before(h.events[child], last):
            break
        h.events[i] = h.events[child]
        i = child
    h.events[i] = last
    return top
