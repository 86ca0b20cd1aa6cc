/* Engines, semaphores and ports, and the event loop over all slots (twin of neuronsim/units/{engine,run,machine}.py).
 *
 * An engine runs ahead of the event time until it meets a semaphore value not yet posted or an exclusive port; ports
 * are granted, semaphores posted and transfers started in event order, so the result does not depend on how far
 * engines ran ahead.
 */
#include <string.h>

#include "machine.h"

/* ---- same-engine read after write ---------------------------------------------------------------------------- */

static box_t operand_box(const machine_t *m, const operand_t *o)
{
    int64_t size = m->sizes[o->dtype], low = o->start, high = o->start + size;
    for (int k = 0; k < 4; k++) {
        int64_t reach = o->size[k] ? (int64_t)o->step[k] * (o->size[k] - 1) * size : 0;
        if (reach < 0)
            low += reach;
        else
            high += reach;
    }
    return (box_t){low, high, o->partition, o->partition + o->partitions, o->space & SPACE_MASK};
}

static box_t pointer_box(const machine_t *m, const pointer_t *p, int partitions)
{
    int64_t low = p->start;
    return (box_t){low, low + m->sizes[p->dtype], p->partition, p->partition + partitions, p->space & SPACE_MASK};
}

static inline int overlap(const box_t *a, const box_t *b)
{
    return a->space == b->space && a->space != SPACE_NONE && a->low < b->high && b->low < a->high &&
           a->first < b->last && b->first < a->last;
}

/* Latest earlier word of this engine that writes what words[pc] reads and ends after `tick`; -1 when there is none.
 * Ends of one engine never decrease, so the search stops at the first earlier word that has ended. */
static int64_t raw_writer(const machine_t *m, const stream_t *s, int64_t tick)
{
    if (s->pc == s->begin || m->finish[s->pc - 1] <= tick)
        return -1;
    const word_t *w = &s->words[s->pc - s->begin];
    uint8_t role = m->roles[w->opcode];
    int n = 0;
    box_t read[5];
    if (w->src0.space & SPACE_MASK)
        read[n++] = operand_box(m, &w->src0);
    if ((w->src1.space & SPACE_MASK) && !(role & ROLE_SRC1_WRITTEN))
        read[n++] = operand_box(m, &w->src1);
    if ((w->dst.space & SPACE_MASK) && (role & ROLE_DST_READ))
        read[n++] = operand_box(m, &w->dst);
    if (w->ptr0.space & SPACE_MASK)
        read[n++] = pointer_box(m, &w->ptr0, w->dst.partitions);
    if (w->ptr1.space & SPACE_MASK)
        read[n++] = pointer_box(m, &w->ptr1, w->dst.partitions);
    for (int64_t op = s->pc - 1; op >= s->begin && m->finish[op] > tick; op--) {
        const word_t *earlier = &s->words[op - s->begin];
        box_t dst = operand_box(m, &earlier->dst), src1 = {0};
        if (m->roles[earlier->opcode] & ROLE_SRC1_WRITTEN)
            src1 = operand_box(m, &earlier->src1);
        for (int k = 0; k < n; k++)
            if (overlap(&read[k], &dst) || overlap(&read[k], &src1))
                return op;
    }
    return -1;
}

/* ---- engines -------------------------------------------------------------------------------------------------- */

static inline void delay(machine_t *m, stream_t *s, int64_t until, uint8_t cause, int64_t id, int64_t op)
{
    if (until <= s->tick)
        return;
    s->tick = until;
    m->cause[s->pc] = cause;
    m->cause_id[s->pc] = (int32_t)id;
    m->cause_op[s->pc] = (int32_t)op;
}

static inline int kind_of(const machine_t *m, const stream_t *s, const word_t *w)
{
    int kind = m->kinds[w->opcode];
    return s->tensor || kind == KIND_TRIGGER ? kind : KIND_NORMAL;
}

static void open_word(machine_t *m, stream_t *s, int kind)
{
    s->tick = s->ready;
    if (kind == KIND_LOAD || kind == KIND_MATMUL)
        s->tick = max64(s->tick, s->unit_free[kind - KIND_LOAD]);
    s->wait = 0;
    m->wait_start[s->pc] = s->tick;
    m->cause[s->pc] = CAUSE_NONE;
    m->cause_id[s->pc] = m->cause_op[s->pc] = -1;
}

static uint8_t ports_of(const stream_t *s, const word_t *w)
{
    return s->port_mask[w->dst.space & SPACE_MASK] | s->port_mask[w->src0.space & SPACE_MASK] |
           s->port_mask[w->src1.space & SPACE_MASK] | s->port_mask[w->ptr0.space & SPACE_MASK] |
           s->port_mask[w->ptr1.space & SPACE_MASK];
}

/* Start words[pc] at s->tick: fix its times, and let its post and its transfer be found in event order. */
static void issue(machine_t *m, int64_t index, int kind)
{
    stream_t *s = &m->streams[index];
    int64_t op = s->pc, start = s->tick, free = start + m->cost[op], slot = index / ENGINES, engine = index % ENGINES;
    const word_t *w = &s->words[op - s->begin];
    m->start[op] = start;
    m->finish[op] = free + s->latency;
    m->retire[op] = s->retired = max64(s->retired, m->finish[op]);
    m->engine_busy[index] += max64(0, free - max64(start, s->covered));
    s->covered = max64(s->covered, free);
    s->ready = free;
    if (kind == KIND_LOAD || kind == KIND_MATMUL) {
        s->unit_free[kind - KIND_LOAD] = free;
        s->ready = start;
        if (kind == KIND_LOAD) {
            s->load_end = free;
            s->load_op = op;
        }
    }
    if (kind == KIND_TRIGGER) {
        if (s->enqueue_op < 0) {
            s->enqueue_op = op;
            event_push(m, start + m->dma_latency, PHASE_ENQUEUE, slot, engine, op);
        }
    } else if (w->post_sem != SEMAPHORE_NONE && s->post_op < 0) {
        s->post_op = op;
        event_push(m, m->retire[op] + m->post_latency, PHASE_POST, slot, engine, op);
    }
    s->pc++;
    s->wait = -1;
}

/* Issue words until the stream ends, blocks on a semaphore or requests a port. */
static void run_stream(machine_t *m, int64_t index)
{
    stream_t *s = &m->streams[index];
    int64_t slot = index / ENGINES, engine = index % ENGINES;
    const int64_t *values = m->values + slot * m->semaphores;
    while (s->pc < s->end) {
        const word_t *w = &s->words[s->pc - s->begin];
        int kind = kind_of(m, s, w);
        if (s->wait < 0)
            open_word(m, s, kind);
        for (; s->wait < 2; s->wait++) {
            uint16_t sem = w->wait_sem[s->wait];
            if (sem != SEMAPHORE_NONE && values[sem] < w->wait_val[s->wait]) {
                m->waiting[slot * m->semaphores + sem] |= (uint8_t)(1 << engine);
                return;
            }
        }
        if (kind == KIND_MATMUL)
            delay(m, s, s->load_end, CAUSE_PE_SLOT, s->load_op, s->load_op);
        int64_t writer = raw_writer(m, s, s->tick);
        if (writer >= 0)
            delay(m, s, m->finish[writer], CAUSE_RAW, writer, writer);
        if (ports_of(s, w)) {
            event_push(m, s->tick, PHASE_PORT, slot, engine, s->pc);
            return;
        }
        issue(m, index, kind);
    }
    m->slots[slot].streams_left--;
    machine_settle(m, slot);
}

static void clear_semaphores(machine_t *m, int64_t slot)
{
    memset(m->values + slot * m->semaphores, 0, (size_t)m->semaphores * sizeof *m->values);
    memset(m->waiting + slot * m->semaphores, 0, (size_t)m->semaphores * sizeof *m->waiting);
}

void machine_settle(machine_t *m, int64_t slot)
{
    slot_t *p = &m->slots[slot];
    if (p->streams_left || p->transfers_left)
        return;
    for (int64_t index = slot * ENGINES; index < (slot + 1) * ENGINES; index++)
        p->end = max64(p->end, m->streams[index].retired);
    p->status = ENDING;
    event_drop(m, slot); /* posts that nobody waits for */
    clear_semaphores(m, slot);
    event_push(m, p->end, PHASE_DONE, slot, 0, 0);
}

/* ---- events --------------------------------------------------------------------------------------------------- */

/* Add to a semaphore and resume the engines whose wait is now met. */
static void add_to_semaphore(machine_t *m, int64_t tick, int64_t slot, uint16_t sem, int64_t amount, uint8_t cause, int64_t op)
{
    int64_t at = slot * m->semaphores + sem;
    m->values[at] += amount;
    uint8_t waiting = m->waiting[at];
    for (int engine = 0; waiting >> engine; engine++) {
        stream_t *s = &m->streams[slot * ENGINES + engine];
        if (!(waiting >> engine & 1) || m->values[at] < s->words[s->pc - s->begin].wait_val[s->wait])
            continue;
        m->waiting[at] &= (uint8_t)~(1 << engine);
        delay(m, s, tick, cause, sem, op);
        s->wait++;
        run_stream(m, slot * ENGINES + engine);
    }
}

static void on_post(machine_t *m, int64_t tick, int64_t slot, int64_t engine, int64_t op)
{
    stream_t *s = &m->streams[slot * ENGINES + engine];
    const word_t *w = &s->words[op - s->begin];
    s->post_op = -1;
    for (int64_t next = op + 1; next < s->pc; next++) {
        const word_t *n = &s->words[next - s->begin];
        if (n->post_sem != SEMAPHORE_NONE && kind_of(m, s, n) != KIND_TRIGGER) {
            s->post_op = next;
            event_push(m, m->retire[next] + m->post_latency, PHASE_POST, slot, engine, next);
            break;
        }
    }
    add_to_semaphore(m, tick, slot, w->post_sem, w->post_inc, CAUSE_SEMAPHORE, op);
}

static void on_dma_post(machine_t *m, int64_t slot)
{
    slot_t *p = &m->slots[slot];
    dma_post_t post = p->posts[p->posts_head++];
    const stream_t *s = &m->streams[m->stream_of[post.transfer]];
    int64_t op = m->trigger[post.transfer];
    if (p->posts_head < p->posts_tail)
        event_push(m, p->posts[p->posts_head].tick, PHASE_DMA_POST, slot, 0, 0);
    add_to_semaphore(m, post.tick, slot, s->words[op - s->begin].post_sem, post.count, CAUSE_DMA, op);
}

static void on_enqueue(machine_t *m, int64_t tick, int64_t slot, int64_t engine, int64_t op)
{
    stream_t *s = &m->streams[slot * ENGINES + engine];
    s->enqueue_op = -1;
    for (int64_t next = op + 1; next < s->pc; next++)
        if (m->kinds[s->words[next - s->begin].opcode] == KIND_TRIGGER) {
            s->enqueue_op = next;
            event_push(m, m->start[next] + m->dma_latency, PHASE_ENQUEUE, slot, engine, next);
            break;
        }
    dma_enqueue(m, tick, slot, s->transfer++);
}

/* Grant every port the word needs from the later of its request and their release, for its whole cost. */
static void on_port(machine_t *m, int64_t slot, int64_t engine)
{
    int64_t index = slot * ENGINES + engine;
    stream_t *s = &m->streams[index];
    const word_t *w = &s->words[s->pc - s->begin];
    uint8_t mask = ports_of(s, w);
    int64_t *port_free = m->port_free + slot * PORTS, *port_op = m->port_op + slot * PORTS;
    for (int port = 0; mask >> port; port++)
        if (mask >> port & 1)
            delay(m, s, port_free[port], CAUSE_PORT, port_op[port], port_op[port]);
    for (int port = 0; mask >> port; port++)
        if (mask >> port & 1) {
            port_free[port] = s->tick + m->cost[s->pc];
            port_op[port] = s->pc;
        }
    issue(m, index, kind_of(m, s, w));
    run_stream(m, index);
}

static void handle(machine_t *m, event_t e)
{
    int64_t slot = e.key >> 48 & 0xfff, engine = e.key >> 40 & 0xff, op = e.key & 0xffffffffff;
    switch (e.key >> 60) {
    case PHASE_POST: on_post(m, e.tick, slot, engine, op); break;
    case PHASE_DMA_POST: on_dma_post(m, slot); break;
    case PHASE_SHARE: dma_share_done(m, e.tick, slot, (int)engine); break;
    case PHASE_ENQUEUE: on_enqueue(m, e.tick, slot, engine, op); break;
    default: on_port(m, slot, engine); break;
    }
}

/* ---- runs ------------------------------------------------------------------------------------------------------- */

static void stream_start(stream_t *s, int64_t tick)
{
    s->pc = s->begin;
    s->ready = s->tick = tick;
    s->unit_free[0] = s->unit_free[1] = s->load_end = s->retired = s->covered = 0;
    s->load_op = s->post_op = s->enqueue_op = s->wait = -1;
    s->transfer = s->first_transfer;
}

void machine_start(machine_t *m, int64_t slot, int64_t tick)
{
    slot_t *p = &m->slots[slot];
    m->running++;
    p->status = RUNNING;
    p->streams_left = ENGINES;
    p->transfers_left = p->transfers;
    p->end = tick;
    clear_semaphores(m, slot);
    memset(m->port_free + slot * PORTS, 0, PORTS * sizeof *m->port_free);
    memset(m->engine_busy + slot * ENGINES, 0, ENGINES * sizeof *m->engine_busy);
    dma_start(m, slot);
    for (int64_t index = slot * ENGINES; index < (slot + 1) * ENGINES; index++)
        stream_start(&m->streams[index], tick);
    for (int64_t index = slot * ENGINES; index < (slot + 1) * ENGINES; index++)
        run_stream(m, index);
}

int64_t machine_advance(machine_t *m, int64_t until)
{
    while (m->heap_size > 0 && m->heap[0].tick <= until) {
        event_t e = event_pop(m);
        m->now = e.tick;
        if (e.key >> 60 == PHASE_DONE) {
            int64_t slot = e.key >> 48 & 0xfff;
            m->slots[slot].status = IDLE;
            m->running--;
            return slot;
        }
        handle(m, e);
    }
    if (m->running && !m->heap_size)
        return BLOCKED;
    m->now = until;
    return NOTHING;
}

void machine_reset(machine_t *m)
{
    m->now = m->running = m->heap_size = 0;
    memset(m->resource_free, 0, (size_t)m->resources * sizeof *m->resource_free);
    for (int64_t slot = 0; slot < m->slot_count; slot++)
        m->slots[slot].status = IDLE;
}
