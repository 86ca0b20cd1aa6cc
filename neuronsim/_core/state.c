/* The state of a machine as numbers: all that decides what happens from now on, times relative to now, and nothing else
 * (twin of neuronsim/units/state.py). Events are not listed: each follows from the state of what it belongs to. */
#include "machine.h"

typedef struct {
    const machine_t *m;
    int64_t *out;
    int64_t size, capacity;
} writer_t;

static void put(writer_t *w, int64_t value)
{
    if (w->size < w->capacity)
        w->out[w->size] = value;
    w->size++;
}

/* A time that counts only where it is still to come. */
static void put_time(writer_t *w, int64_t tick)
{
    put(w, max64(tick - w->m->now, 0));
}

/* Words of which something is still to come: a result that a later word may read, a post, a transfer. */
static void put_in_flight(writer_t *w, const stream_t *s)
{
    const machine_t *m = w->m;
    int64_t first = s->pc;
    if (s->pc < s->end)
        while (first > s->begin && m->finish[first - 1] > m->now)
            first--;
    int64_t unfinished = first;
    if (s->post_op >= 0 && s->post_op < first)
        first = s->post_op;
    if (s->enqueue_op >= 0 && s->enqueue_op < first)
        first = s->enqueue_op;
    put(w, s->pc - first);
    for (int64_t op = first; op < s->pc; op++) {
        const word_t *word = &s->words[op - s->begin];
        int trigger = m->kinds[word->opcode] == KIND_TRIGGER;
        int posts = !trigger && word->post_sem != SEMAPHORE_NONE && s->post_op >= 0 && op >= s->post_op;
        int enqueues = trigger && s->enqueue_op >= 0 && op >= s->enqueue_op;
        put(w, op < unfinished ? 0 : m->finish[op] - m->now);
        put(w, posts ? m->retire[op] + m->post_latency - m->now : enqueues ? m->start[op] + m->dma_latency - m->now : -1);
    }
}

static void put_stream(writer_t *w, const stream_t *s)
{
    put(w, s->pc - s->begin);
    put_time(w, s->retired);
    if (s->pc < s->end) {
        put(w, s->wait);
        put_time(w, s->tick);
        put_time(w, s->unit_free[0]);
        put_time(w, s->unit_free[1]);
        put_time(w, s->load_end);
    }
    put_in_flight(w, s);
}

static void put_semaphores(writer_t *w, int64_t slot)
{
    const int64_t *values = w->m->values + slot * w->m->semaphores;
    for (int64_t sem = 0; sem < w->m->semaphores; sem++)
        if (values[sem]) {
            put(w, sem);
            put(w, values[sem]);
        }
    put(w, -1);
}

/* Transfers some engine is not done with, and how far each engine is. */
static void put_queue(writer_t *w, int64_t slot, int64_t queue)
{
    const machine_t *m = w->m;
    const dma_t *dma = &m->dma[slot * DMA_ENGINES];
    int64_t row = slot * m->queues + queue, tail = m->queue_tail[row], first = tail;
    for (int e = 0; e < DMA_ENGINES; e++)
        if (dma[e].head[queue] < first)
            first = dma[e].head[queue];
    put(w, tail - first);
    if (first == tail)
        return;
    for (int64_t k = first; k < tail; k++)
        put(w, m->order[m->queue_begin[row] + k] - m->slots[slot].first_transfer);
    for (int e = 0; e < DMA_ENGINES; e++) {
        put(w, tail - dma[e].head[queue]);
        put(w, dma[e].share[queue]);
    }
}

static void put_dma(writer_t *w, int64_t slot)
{
    const machine_t *m = w->m;
    const slot_t *p = &m->slots[slot];
    for (const dma_t *d = &m->dma[slot * DMA_ENGINES]; d < &m->dma[(slot + 1) * DMA_ENGINES]; d++) {
        put(w, d->queue);
        put(w, d->busy ? d->done - m->now : -1);
    }
    for (int64_t queue = 0; queue < m->queues; queue++)
        put_queue(w, slot, queue);
    for (int64_t k = p->posts_head; k < p->posts_tail; k++)
        for (int64_t n = 0; n < p->posts[k].count; n++) {
            put(w, p->posts[k].tick - m->now);
            put(w, p->posts[k].transfer - p->first_transfer);
        }
    put(w, -1);
}

int64_t machine_state(const machine_t *m, int64_t *out, int64_t capacity)
{
    writer_t w = {m, out, 0, capacity};
    for (int64_t r = 0; r < m->resources; r++)
        put_time(&w, m->resource_free[r]);
    for (int64_t slot = 0; slot < m->slot_count; slot++) {
        const slot_t *p = &m->slots[slot];
        put(&w, p->status);
        if (p->status == ENDING)
            put(&w, p->end - m->now);
        if (p->status != RUNNING)
            continue;
        for (int e = 0; e < ENGINES; e++)
            put_stream(&w, &m->streams[slot * ENGINES + e]);
        put_semaphores(&w, slot);
        for (int port = 0; port < PORTS; port++)
            put_time(&w, m->port_free[slot * PORTS + port]);
        put_dma(&w, slot);
    }
    return w.size;
}
