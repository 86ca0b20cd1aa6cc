/* Binary heap of events ordered by (tick, phase, core, engine, index). Every source has at most one event in it. */
#include "machine.h"

static inline int before(event_t a, event_t b)
{
    return a.tick < b.tick || (a.tick == b.tick && a.key < b.key);
}

void event_push(machine_t *m, int64_t tick, int phase, int64_t core, int64_t engine, int64_t index)
{
    event_t e = {tick, (uint64_t)phase << 60 | (uint64_t)core << 48 | (uint64_t)engine << 40 | (uint64_t)index};
    event_t *heap = m->heap;
    int64_t i = m->heap_size++;
    while (i > 0) {
        int64_t parent = (i - 1) >> 1;
        if (!before(e, heap[parent]))
            break;
        heap[i] = heap[parent];
        i = parent;
    }
    heap[i] = e;
}

event_t event_pop(machine_t *m)
{
    event_t *heap = m->heap;
    event_t top = heap[0], e = heap[--m->heap_size];
    int64_t size = m->heap_size, i = 0;
    for (;;) {
        int64_t child = 2 * i + 1;
        if (child >= size)
            break;
        if (child + 1 < size && before(heap[child + 1], heap[child]))
            child++;
        if (!before(heap[child], e))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = e;
    return top;
}
