/* Hazards between actions: which must copy their sources aside, and the dependency graph for threads. */
#include <stdlib.h>
#include <string.h>

#include "access.h"

/* ---- which actions must sample early ---- */
typedef struct {
    visitor_t v;
    int32_t *writer; /* last writer of each cell + 1, then stamp of the reads of the current action */
    int64_t *stamp;
    const int64_t *start, *end;
    int hit;
    box_t *reads; /* of one action, for the exact test */
    int64_t read_count, read_room;
    int failed;
} detect_t;

static void detect_read(visitor_t *v, int64_t cell) {
    detect_t *d = (detect_t *)v;
    int32_t writer = d->writer[cell];
    if (writer && d->end[v->e->actions[writer - 1].op] > d->start[v->e->actions[v->action].op]) d->hit = 1;
    d->stamp[cell] = v->action + 1;
}

static void detect_write(visitor_t *v, int64_t cell) {
    detect_t *d = (detect_t *)v;
    if (d->stamp[cell] == v->action + 1) d->hit |= 2;
    d->writer[cell] = (int32_t)v->action + 1;
}

static void collect_read(visitor_t *v, const box_t *b) {
    detect_t *d = (detect_t *)v;
    if (d->read_count == d->read_room) {
        int64_t room = d->read_room * 2 + 16;
        box_t *grown = realloc(d->reads, (size_t)room * sizeof *grown);
        if (!grown) { d->failed = 1; return; }
        d->reads = grown;
        d->read_room = room;
    }
    d->reads[d->read_count++] = *b;
}

static void test_write(visitor_t *v, const box_t *b) {
    detect_t *d = (detect_t *)v;
    for (int64_t i = 0; i < d->read_count && !d->hit; i++) d->hit = boxes_overlap(b, &d->reads[i]);
}

/* Whether an operation that ended after the start of action i, and before its end, wrote what it reads: the same
 * question as detect_read asks of cells, asked of boxes. */
static int sources_change(detect_t *d, int64_t i) {
    const executor_t *e = d->v.e;
    const action_t *a = &e->actions[i];
    visitor_t cells = d->v;
    d->read_count = d->hit = 0;
    d->v.box = collect_read;
    ns_visit(&d->v, a, READS);
    d->v.box = test_write;
    for (int64_t j = i - 1; j >= 0 && !d->hit; j--) {
        const action_t *earlier = &e->actions[j];
        if ((earlier->kind == ACT_LOAD ? d->start : d->end)[earlier->op] <= d->start[a->op]) break;
        if (earlier->kind == ACT_EXECUTE) ns_visit(&d->v, earlier, WRITES);
    }
    d->v = cells;
    return d->hit;
}

static int same_place(const operand_t *x, const operand_t *y) {
    return x->start == y->start && x->partition == y->partition && x->space == y->space &&
           ns_dtype_size(x->dtype) == ns_dtype_size(y->dtype) && !memcmp(x->step, y->step, sizeof x->step) &&
           !memcmp(x->size, y->size, sizeof x->size);
}

static int overlap(const operand_t *x, const operand_t *y) {
    if (!(x->space & SPACE_MASK) || (x->space & SPACE_MASK) != (y->space & SPACE_MASK)) return 0;
    int64_t xl, xh, yl, yh;
    ns_extent(x, &xl, &xh);
    ns_extent(y, &yl, &yh);
    return xl < yh && yl < xh && x->partition < y->partition + y->partitions && y->partition < x->partition + x->partitions;
}

static int pointer_overlap(const operand_t *x, const pointer_t *p, int partitions) {
    operand_t o = {.start = p->start, .partition = p->partition, .partitions = (uint8_t)partitions, .dtype = p->dtype,
                   .space = p->space, .size = {1, 1, 1, 1}};
    return overlap(x, &o);
}

/* A word whose results could change sources it has yet to read: element i may overwrite element i, nothing else. */
static int disturbs_itself(const word_t *w, int engine) {
    if (w->opcode == OP_MATMUL || !ns_has_kernel(w, engine)) return 0; /* numpy meanings read all before they write */
    int pointwise = w->opcode != OP_TENSOR_REDUCE && w->opcode != OP_BN_STATS && w->opcode != OP_BN_AGGR;
    int reads1 = ns_reads_src1(w), partitions = w->dst.partitions;
    if (overlap(&w->dst, &w->src0) && !(pointwise && same_place(&w->dst, &w->src0))) return 1;
    if (reads1 && overlap(&w->dst, &w->src1) && !(pointwise && same_place(&w->dst, &w->src1))) return 1;
    if (!reads1 && overlap(&w->src1, &w->src0)) return 1;
    return pointer_overlap(&w->dst, &w->ptr0, partitions) || pointer_overlap(&w->dst, &w->ptr1, partitions);
}

int64_t ns_detect_samples(const executor_t *e, const int64_t *start, const int64_t *end, uint8_t *sampled) {
    detect_t d = {.v = {.e = e}, .start = start, .end = end};
    d.writer = calloc((size_t)e->cells, sizeof *d.writer);
    d.stamp = calloc((size_t)e->cells, sizeof *d.stamp);
    int64_t found = -1;
    if (d.writer && d.stamp) {
        found = 0;
        for (int64_t i = 0; i < e->action_count; i++) {
            const action_t *a = &e->actions[i];
            const word_t *w = ns_word(e, a->op);
            d.v.action = i;
            d.hit = 0;
            d.v.cell = detect_read;
            if (a->kind == ACT_EXECUTE) ns_visit(&d.v, a, READS);
            int early = d.hit && sources_change(&d, i);
            d.hit = 0;
            d.v.cell = detect_write;
            ns_visit(&d.v, a, WRITES);
            if (w->opcode == OP_DMA_TRIGGER) early |= d.hit >> 1;
            else if (a->kind == ACT_EXECUTE) early |= disturbs_itself(w, ns_engine(e, a->op));
            sampled[i] = (uint8_t)early;
            found += early;
        }
    }
    free(d.writer);
    free(d.stamp);
    free(d.reads);
    return d.failed ? -1 : found;
}

/* ---- dependency graph ---- */
typedef struct { int32_t action, next; } link_t;

typedef struct {
    visitor_t v;
    int32_t *writer;  /* last writer + 1 */
    int32_t *readers; /* list of readers since, index into links, 0 none */
    link_t *links;
    int64_t link_count, link_room;
    int32_t *mark;    /* last action that took this one as predecessor, + 1 */
    int32_t *pairs;   /* predecessor, successor ... */
    int64_t pair_count, pair_room;
    int failed;
} graph_t;

static void depend(graph_t *g, int32_t predecessor) {
    int32_t action = (int32_t)g->v.action;
    if (predecessor == action || g->mark[predecessor] == action + 1) return;
    g->mark[predecessor] = action + 1;
    if (g->pair_count == g->pair_room) {
        int64_t room = g->pair_room * 2 + 1024;
        int32_t *grown = realloc(g->pairs, (size_t)room * 2 * sizeof *grown);
        if (!grown) { g->failed = 1; return; }
        g->pairs = grown;
        g->pair_room = room;
    }
    g->pairs[2 * g->pair_count] = predecessor;
    g->pairs[2 * g->pair_count++ + 1] = action;
}

static void graph_read(visitor_t *v, int64_t cell) {
    graph_t *g = (graph_t *)v;
    if (g->writer[cell]) depend(g, g->writer[cell] - 1);
    if (g->readers[cell] && g->links[g->readers[cell]].action == v->action) return;
    if (g->link_count == g->link_room) {
        int64_t room = g->link_room * 2 + 1024;
        link_t *grown = realloc(g->links, (size_t)room * sizeof *grown);
        if (!grown) { g->failed = 1; return; }
        g->links = grown;
        g->link_room = room;
        if (!g->link_count) g->link_count = 1;
    }
    g->links[g->link_count] = (link_t){(int32_t)v->action, g->readers[cell]};
    g->readers[cell] = (int32_t)g->link_count++;
}

static void graph_write(visitor_t *v, int64_t cell) {
    graph_t *g = (graph_t *)v;
    if (g->writer[cell]) depend(g, g->writer[cell] - 1);
    for (int32_t l = g->readers[cell]; l; l = g->links[l].next) depend(g, g->links[l].action);
    g->readers[cell] = 0;
    g->writer[cell] = (int32_t)v->action + 1;
}

static void build(graph_t *g, int32_t *sample_action) {
    const executor_t *e = g->v.e;
    for (int64_t i = 0; i < e->action_count && !g->failed; i++) {
        const action_t *a = &e->actions[i];
        g->v.action = i;
        if (a->sample >= 0) {
            if (a->kind == ACT_SAMPLE) sample_action[a->sample] = (int32_t)i;
            else depend(g, sample_action[a->sample]);
        }
        g->v.cell = graph_read;
        ns_visit(&g->v, a, READS);
        g->v.cell = graph_write;
        ns_visit(&g->v, a, WRITES);
    }
}

static int to_rows(const graph_t *g, int64_t n, int32_t *pending, int64_t *first, int32_t **next) {
    memset(pending, 0, (size_t)n * sizeof *pending);
    memset(first, 0, (size_t)(n + 1) * sizeof *first);
    *next = malloc((size_t)(g->pair_count + 1) * sizeof **next);
    int64_t *fill = malloc((size_t)(n + 1) * sizeof *fill);
    if (!*next || !fill) { free(fill); return -1; }
    for (int64_t i = 0; i < g->pair_count; i++) {
        first[g->pairs[2 * i] + 1]++;
        pending[g->pairs[2 * i + 1]]++;
    }
    for (int64_t i = 0; i < n; i++) first[i + 1] += first[i];
    memcpy(fill, first, (size_t)(n + 1) * sizeof *fill);
    for (int64_t i = 0; i < g->pair_count; i++) (*next)[fill[g->pairs[2 * i]]++] = g->pairs[2 * i + 1];
    free(fill);
    return 0;
}

int ns_dependencies(const executor_t *e, int32_t *pending, int64_t *first, int32_t **next) {
    graph_t g = {.v = {.e = e}};
    size_t n = (size_t)e->action_count + 1;
    int32_t *sample_action = malloc(n * sizeof *sample_action);
    g.writer = calloc((size_t)e->cells, sizeof *g.writer);
    g.readers = calloc((size_t)e->cells, sizeof *g.readers);
    g.mark = calloc(n, sizeof *g.mark);
    int status = -1;
    if (sample_action && g.writer && g.readers && g.mark) {
        build(&g, sample_action);
        if (!g.failed) status = to_rows(&g, e->action_count, pending, first, next);
    }
    free(sample_action); free(g.writer); free(g.readers); free(g.mark); free(g.links); free(g.pairs);
    return status;
}
