/* Binary heap of events ordered by (tick, phase, slot, engine, index). Every source has at most one event in it. */
#include "machine.h"

/* Without a branch: which of two events comes first is as good as random. */
static inline int before(event_t a, event_t b)
{
    return (a.tick < b.tick) | ((a.tick == b.tick) & (a.key < b.key));
}

/* Move e up from the hole at i. */
static void sift_up(event_t *heap, int64_t i, event_t e)
{
    while (i > 0) {
        int64_t parent = (i - 1) >> 1;
        if (!before(e, heap[parent]))
            break;
        heap[i] = heap[parent];
        i = parent;
    }
    heap[i] = e;
}

void event_push(machine_t *m, int64_t tick, int phase, int64_t slot, int64_t engine, int64_t index)
{
    event_t e = {tick, (uint64_t)phase << 60 | (uint64_t)slot << 48 | (uint64_t)engine << 40 | (uint64_t)index};
    sift_up(m->heap, m->heap_size++, e);
}

event_t event_pop(machine_t *m)
{
    event_t *heap = m->heap, top = heap[0];
    int64_t size = --m->heap_size, i = 0, child = 1;
    for (; child + 1 < size; child = 2 * i + 1) { /* the hole sinks to a leaf: the last event belongs near one */
        child += before(heap[child + 1], heap[child]);
        heap[i] = heap[child];
        i = child;
    }
    if (child < size) {
        heap[i] = heap[child];
        i = child;
    }
    sift_up(heap, i, heap[size]);
    return top;
}

void event_drop(machine_t *m, int64_t slot)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < m->heap_size; i++) /* the heap of the kept ones grows behind the reader */
        if ((int64_t)(m->heap[i].key >> 48 & 0xfff) != slot)
            sift_up(m->heap, kept++, m->heap[i]);
    m->heap_size = kept;
}
