/* Engines, semaphores and ports, and the event loop over all cores (twin of neuronsim/units/{engine,machine}.py).
 *
 * An engine runs ahead of the event time until it meets a semaphore value not yet posted or an exclusive port; ports
 * are granted, semaphores posted and transfers started in event order, so the result does not depend on how far
 * engines ran ahead.
 */
#include "machine.h"

static inline int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

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

static void record_writes(machine_t *m, const stream_t *s, int64_t op)
{
    const word_t *w = &s->words[op - s->begin];
    m->writes[2 * op] = operand_box(m, &w->dst);
    m->writes[2 * op + 1].space = SPACE_NONE;
    if (m->roles[w->opcode] & ROLE_SRC1_WRITTEN)
        m->writes[2 * op + 1] = operand_box(m, &w->src1);
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
    for (int64_t op = s->pc - 1; op >= s->begin && m->finish[op] > tick; op--)
        for (int k = 0; k < n; k++)
            if (overlap(&read[k], &m->writes[2 * op]) || overlap(&read[k], &m->writes[2 * op + 1]))
                return op;
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
    int64_t op = s->pc, start = s->tick, free = start + m->cost[op], core = index / ENGINES, engine = index % ENGINES;
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
    record_writes(m, s, op);
    if (kind == KIND_TRIGGER) {
        if (s->enqueue_op < 0) {
            s->enqueue_op = op;
            event_push(m, start + m->dma_latency, PHASE_ENQUEUE, core, engine, op);
        }
    } else if (w->post_sem != SEMAPHORE_NONE && s->post_op < 0) {
        s->post_op = op;
        event_push(m, m->retire[op] + m->post_latency, PHASE_POST, core, engine, op);
    }
    s->pc++;
    s->wait = -1;
}

/* Issue words until the stream ends, blocks on a semaphore or requests a port. */
static void run_stream(machine_t *m, int64_t index)
{
    stream_t *s = &m->streams[index];
    int64_t core = index / ENGINES, engine = index % ENGINES;
    const int64_t *values = m->values + core * m->semaphores;
    while (s->pc < s->end) {
        const word_t *w = &s->words[s->pc - s->begin];
        int kind = kind_of(m, s, w);
        if (s->wait < 0)
            open_word(m, s, kind);
        for (; s->wait < 2; s->wait++) {
            uint16_t sem = w->wait_sem[s->wait];
            if (sem != SEMAPHORE_NONE && values[sem] < w->wait_val[s->wait]) {
                m->waiting[core * m->semaphores + sem] |= (uint8_t)(1 << engine);
                return;
            }
        }
        if (kind == KIND_MATMUL)
            delay(m, s, s->load_end, CAUSE_PE_SLOT, s->load_op, s->load_op);
        int64_t writer = raw_writer(m, s, s->tick);
        if (writer >= 0)
            delay(m, s, m->finish[writer], CAUSE_RAW, writer, writer);
        if (ports_of(s, w)) {
            event_push(m, s->tick, PHASE_PORT, core, engine, s->pc);
            return;
        }
        issue(m, index, kind);
    }
}

/* ---- events --------------------------------------------------------------------------------------------------- */

/* Add to a semaphore and resume the engines whose wait is now met. */
static void add_to_semaphore(machine_t *m, int64_t tick, int64_t core, uint16_t sem, int64_t amount, uint8_t cause, int64_t op)
{
    int64_t slot = core * m->semaphores + sem;
    m->values[slot] += amount;
    uint8_t waiting = m->waiting[slot];
    for (int engine = 0; waiting >> engine; engine++) {
        stream_t *s = &m->streams[core * ENGINES + engine];
        if (!(waiting >> engine & 1) || m->values[slot] < s->words[s->pc - s->begin].wait_val[s->wait])
            continue;
        m->waiting[slot] &= (uint8_t)~(1 << engine);
        delay(m, s, tick, cause, sem, op);
        s->wait++;
        run_stream(m, core * ENGINES + engine);
    }
}

static void on_post(machine_t *m, int64_t tick, int64_t core, int64_t engine, int64_t op)
{
    stream_t *s = &m->streams[core * ENGINES + engine];
    const word_t *w = &s->words[op - s->begin];
    s->post_op = -1;
    for (int64_t next = op + 1; next < s->pc; next++) {
        const word_t *n = &s->words[next - s->begin];
        if (n->post_sem != SEMAPHORE_NONE && kind_of(m, s, n) != KIND_TRIGGER) {
            s->post_op = next;
            event_push(m, m->retire[next] + m->post_latency, PHASE_POST, core, engine, next);
            break;
        }
    }
    add_to_semaphore(m, tick, core, w->post_sem, w->post_inc, CAUSE_SEMAPHORE, op);
}

static void on_dma_post(machine_t *m)
{
    dma_post_t p = m->posts[m->posts_head++];
    const stream_t *s = &m->streams[m->stream_of[p.transfer]];
    int64_t op = m->trigger[p.transfer];
    if (m->posts_head < m->posts_tail)
        event_push(m, m->posts[m->posts_head].tick, PHASE_DMA_POST, 0, 0, 0);
    add_to_semaphore(m, p.tick, m->stream_of[p.transfer] / ENGINES, s->words[op - s->begin].post_sem, p.count, CAUSE_DMA, op);
}

static void on_enqueue(machine_t *m, int64_t tick, int64_t core, int64_t engine, int64_t op)
{
    stream_t *s = &m->streams[core * ENGINES + engine];
    s->enqueue_op = -1;
    for (int64_t next = op + 1; next < s->pc; next++)
        if (m->kinds[s->words[next - s->begin].opcode] == KIND_TRIGGER) {
            s->enqueue_op = next;
            event_push(m, m->start[next] + m->dma_latency, PHASE_ENQUEUE, core, engine, next);
            break;
        }
    dma_enqueue(m, tick, core, s->transfer++);
}

/* Grant every port the word needs from the later of its request and their release, for its whole cost. */
static void on_port(machine_t *m, int64_t core, int64_t engine)
{
    int64_t index = core * ENGINES + engine;
    stream_t *s = &m->streams[index];
    const word_t *w = &s->words[s->pc - s->begin];
    uint8_t mask = ports_of(s, w);
    int64_t *port_free = m->port_free + core * PORTS, *port_op = m->port_op + core * PORTS;
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

int machine_run(machine_t *m)
{
    int64_t count = (int64_t)m->cores * ENGINES;
    for (int64_t index = 0; index < count; index++)
        run_stream(m, index);
    while (m->heap_size > 0) {
        event_t e = event_pop(m);
        int64_t core = e.key >> 48 & 0xfff, engine = e.key >> 40 & 0xff, op = e.key & 0xffffffffff;
        switch (e.key >> 60) {
        case PHASE_POST: on_post(m, e.tick, core, engine, op); break;
        case PHASE_DMA_POST: on_dma_post(m); break;
        case PHASE_SHARE: dma_share_done(m, e.tick, core, (int)engine); break;
        case PHASE_ENQUEUE: on_enqueue(m, e.tick, core, engine, op); break;
        default: on_port(m, core, engine); break;
        }
    }
    for (int64_t index = 0; index < count; index++)
        if (m->streams[index].pc < m->streams[index].end)
            return 1;
    return 0;
}
