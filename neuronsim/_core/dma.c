/* DMA engines: 16 per slot, each serving its queues round robin, one descriptor share at a time
 * (twin of neuronsim/units/dma.py). */
#include <string.h>

#include "machine.h"

static const word_t *trigger_word(const machine_t *m, int64_t transfer)
{
    const stream_t *s = &m->streams[m->stream_of[transfer]];
    return &s->words[m->trigger[transfer] - s->begin];
}

/* Queue +1 for the transfer's semaphore, seen post_latency later; posts of one tick and transfer are one entry. */
static void post(machine_t *m, int64_t tick, int64_t slot, int64_t transfer)
{
    slot_t *p = &m->slots[slot];
    if (trigger_word(m, transfer)->post_sem == SEMAPHORE_NONE)
        return;
    int64_t seen = tick + m->post_latency;
    if (p->posts_tail > p->posts_head) {
        dma_post_t *newest = &p->posts[p->posts_tail - 1];
        if (newest->tick == seen && newest->transfer == transfer) {
            newest->count++;
            return;
        }
    } else {
        event_push(m, seen, PHASE_DMA_POST, slot, 0, 0);
    }
    p->posts[p->posts_tail++] = (dma_post_t){seen, transfer, 1};
}

static void share_of_transfer_done(machine_t *m, int64_t tick, int64_t slot, int64_t transfer)
{
    post(m, tick, slot, transfer);
    if (tick > m->last[transfer])
        m->last[transfer] = tick;
    if (--m->left[transfer] > 0)
        return;
    if (m->first[transfer] < 0)
        m->first[transfer] = tick; /* nothing was moved at all */
    m->slots[slot].end = max64(m->slots[slot].end, tick);
    m->slots[slot].transfers_left--;
    machine_settle(m, slot);
}

static inline int has_share(const slot_t *p, int64_t at)
{
    int64_t ticks = p->service[at];
    for (int u = 0; u < p->use_count; u++)
        ticks |= p->uses[u].ticks[at];
    return ticks != 0;
}

/* A DMA engine is done with a transfer: what its shares waited, if no other engine's have waited longer. */
static void note_waits(int64_t *most, int64_t *waited)
{
    for (int k = 0; k < 2; k++) {
        most[k] = max64(most[k], waited[k]);
        waited[k] = 0;
    }
}

/* Move the head of a queue past empty shares; transfers that end there are done for this engine at once. */
static void advance(machine_t *m, int64_t tick, int64_t slot, int engine, int queue)
{
    dma_t *d = &m->dma[slot * DMA_ENGINES + engine];
    const slot_t *p = &m->slots[slot];
    int64_t row = slot * m->queues + queue, begin = m->queue_begin[row], tail = m->queue_tail[row];
    for (; d->head[queue] < tail; d->head[queue]++, d->share[queue] = 0) {
        int64_t transfer = m->order[begin + d->head[queue]];
        const word_t *w = trigger_word(m, transfer);
        for (; d->share[queue] < w->count; d->share[queue]++) {
            if (has_share(p, ((int64_t)w->arg + d->share[queue]) * DMA_ENGINES + engine)) {
                d->nonempty |= (uint64_t)1 << queue;
                return;
            }
        }
        note_waits(&m->waited[2 * transfer], &d->waited[2 * queue]);
        share_of_transfer_done(m, tick, slot, transfer);
    }
    d->nonempty &= ~((uint64_t)1 << queue);
}

/* Reserve shared bandwidth in order of arrival, all of it from now on; return when the share is done: served, and
 * through the last of them. What that takes beyond its service it has waited for this last one. */
static int64_t reserve(machine_t *m, int64_t tick, const slot_t *p, int64_t at, int64_t *waited)
{
    int64_t served = tick + p->service[at], done = served;
    int link = 0;
    for (int u = 0; u < p->use_count; u++) {
        const use_t *use = &p->uses[u];
        if (use->ticks[at] == 0)
            continue;
        for (int64_t k = 0; k < use->count; k++) {
            int64_t *free = &m->resource_free[use->resources[k]];
            *free = max64(tick, *free) + use->ticks[at];
            if (*free > done) {
                done = *free;
                link = use->resources[k] >= m->chips;
            }
        }
    }
    waited[link] += done - served;
    return done;
}

/* Take the next nonempty queue after the one served last. */
static void serve(machine_t *m, int64_t tick, int64_t slot, int engine)
{
    dma_t *d = &m->dma[slot * DMA_ENGINES + engine];
    d->busy = d->nonempty != 0;
    if (!d->busy)
        return;
    uint64_t later = d->queue >= 63 ? 0 : d->nonempty & ~(((uint64_t)2 << d->queue) - 1);
    int queue = __builtin_ctzll(later ? later : d->nonempty);
    const slot_t *p = &m->slots[slot];
    int64_t transfer = m->order[m->queue_begin[slot * m->queues + queue] + d->head[queue]];
    int64_t at = ((int64_t)trigger_word(m, transfer)->arg + d->share[queue]) * DMA_ENGINES + engine;
    d->done = reserve(m, tick, p, at, &d->waited[2 * queue]);
    if (m->first[transfer] < 0)
        m->first[transfer] = tick;
    d->queue = queue;
    d->started = tick;
    event_push(m, d->done, PHASE_SHARE, slot, engine, 0);
}

void dma_start(machine_t *m, int64_t slot)
{
    slot_t *p = &m->slots[slot];
    size_t queues = (size_t)m->queues * sizeof(int64_t);
    p->posts_head = p->posts_tail = 0;
    memset(m->queue_tail + slot * m->queues, 0, queues);
    memset(m->dma_busy + slot * DMA_ENGINES, 0, DMA_ENGINES * sizeof *m->dma_busy);
    for (dma_t *d = &m->dma[slot * DMA_ENGINES]; d < &m->dma[(slot + 1) * DMA_ENGINES]; d++) {
        memset(d->head, 0, queues);
        memset(d->share, 0, queues);
        memset(d->waited, 0, 2 * queues);
        d->nonempty = 0;
        d->busy = 0;
        d->queue = (int32_t)m->queues - 1;
    }
    for (int64_t x = p->first_transfer; x < p->first_transfer + p->transfers; x++) {
        m->left[x] = DMA_ENGINES;
        m->enqueued[x] = m->first[x] = m->last[x] = -1;
        m->waited[2 * x] = m->waited[2 * x + 1] = 0;
    }
}

void dma_enqueue(machine_t *m, int64_t tick, int64_t slot, int64_t transfer)
{
    int queue = trigger_word(m, transfer)->op0;
    int64_t row = slot * m->queues + queue, position = m->queue_tail[row]++;
    m->order[m->queue_begin[row] + position] = transfer;
    m->enqueued[transfer] = tick;
    for (int engine = 0; engine < DMA_ENGINES; engine++) {
        dma_t *d = &m->dma[slot * DMA_ENGINES + engine];
        if (d->head[queue] < position)
            continue;
        advance(m, tick, slot, engine, queue);
        if (!d->busy)
            serve(m, tick, slot, engine);
    }
}

void dma_share_done(machine_t *m, int64_t tick, int64_t slot, int engine)
{
    dma_t *d = &m->dma[slot * DMA_ENGINES + engine];
    m->dma_busy[slot * DMA_ENGINES + engine] += tick - d->started;
    d->share[d->queue]++;
    advance(m, tick, slot, engine, d->queue);
    serve(m, tick, slot, engine);
}
