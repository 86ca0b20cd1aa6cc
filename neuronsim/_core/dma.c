/* DMA engines of all cores: 16 per core, each serving its queues round robin, one descriptor share at a time
 * (twin of neuronsim/units/dma.py). */
#include "machine.h"

static const word_t *trigger_word(const machine_t *m, int64_t transfer)
{
    const stream_t *s = &m->streams[m->stream_of[transfer]];
    return &s->words[m->trigger[transfer] - s->begin];
}

/* Queue +1 for the transfer's semaphore, seen post_latency later; posts of one tick and transfer are one entry. */
static void post(machine_t *m, int64_t tick, int64_t transfer)
{
    if (trigger_word(m, transfer)->post_sem == SEMAPHORE_NONE)
        return;
    int64_t seen = tick + m->post_latency;
    if (m->posts_tail > m->posts_head) {
        dma_post_t *newest = &m->posts[m->posts_tail - 1];
        if (newest->tick == seen && newest->transfer == transfer) {
            newest->count++;
            return;
        }
    } else {
        event_push(m, seen, PHASE_DMA_POST, 0, 0, 0);
    }
    m->posts[m->posts_tail++] = (dma_post_t){seen, transfer, 1};
}

static void share_of_transfer_done(machine_t *m, int64_t tick, int64_t transfer)
{
    post(m, tick, transfer);
    if (tick > m->last[transfer])
        m->last[transfer] = tick;
    if (--m->left[transfer] == 0 && m->first[transfer] < 0)
        m->first[transfer] = tick; /* nothing was moved at all */
}

/* Move the head of a queue past empty shares; transfers that end there are done for this engine at once. */
static void advance(machine_t *m, int64_t tick, int64_t core, int engine, int queue)
{
    dma_t *d = &m->dma[core * DMA_ENGINES + engine];
    const int64_t *service = m->service[core], *dram = m->dram[core];
    int64_t slot = core * m->queues + queue, begin = m->queue_begin[slot], tail = m->queue_tail[slot];
    for (; d->head[queue] < tail; d->head[queue]++, d->share[queue] = 0) {
        int64_t transfer = m->order[begin + d->head[queue]];
        const word_t *w = trigger_word(m, transfer);
        for (; d->share[queue] < w->count; d->share[queue]++) {
            int64_t at = ((int64_t)w->arg + d->share[queue]) * DMA_ENGINES + engine;
            if (service[at] | dram[at]) {
                d->nonempty |= (uint64_t)1 << queue;
                return;
            }
        }
        share_of_transfer_done(m, tick, transfer);
    }
    d->nonempty &= ~((uint64_t)1 << queue);
}

/* Take the next nonempty queue after the one served last; its share also reserves DRAM bandwidth in arrival order. */
static void serve(machine_t *m, int64_t tick, int64_t core, int engine)
{
    dma_t *d = &m->dma[core * DMA_ENGINES + engine];
    d->busy = d->nonempty != 0;
    if (!d->busy)
        return;
    uint64_t later = d->queue >= 63 ? 0 : d->nonempty & ~(((uint64_t)2 << d->queue) - 1);
    int queue = __builtin_ctzll(later ? later : d->nonempty);
    int64_t transfer = m->order[m->queue_begin[core * m->queues + queue] + d->head[queue]];
    int64_t at = ((int64_t)trigger_word(m, transfer)->arg + d->share[queue]) * DMA_ENGINES + engine;
    int64_t done = tick + m->service[core][at], dram = m->dram[core][at];
    if (dram > 0) {
        int64_t *free = &m->dram_free[m->chip[core]];
        *free = (tick > *free ? tick : *free) + dram;
        if (*free > done)
            done = *free;
    }
    if (m->first[transfer] < 0)
        m->first[transfer] = tick;
    d->queue = queue;
    d->started = tick;
    event_push(m, done, PHASE_SHARE, core, engine, 0);
}

void dma_enqueue(machine_t *m, int64_t tick, int64_t core, int64_t transfer)
{
    int queue = trigger_word(m, transfer)->op0;
    int64_t slot = core * m->queues + queue, position = m->queue_tail[slot]++;
    m->order[m->queue_begin[slot] + position] = transfer;
    m->enqueued[transfer] = tick;
    for (int engine = 0; engine < DMA_ENGINES; engine++) {
        dma_t *d = &m->dma[core * DMA_ENGINES + engine];
        if (d->head[queue] < position)
            continue;
        advance(m, tick, core, engine, queue);
        if (!d->busy)
            serve(m, tick, core, engine);
    }
}

void dma_share_done(machine_t *m, int64_t tick, int64_t core, int engine)
{
    dma_t *d = &m->dma[core * DMA_ENGINES + engine];
    m->dma_busy[core * DMA_ENGINES + engine] += tick - d->started;
    d->share[d->queue]++;
    advance(m, tick, core, engine, d->queue);
    serve(m, tick, core, engine);
}
