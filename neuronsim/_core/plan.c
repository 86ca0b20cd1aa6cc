/* Hazards between actions: which must copy their sources aside, and the dependency graph for threads.
 *
 * Accesses are bounding boxes in cells; too large a box costs parallelism, never correctness. */
#include <stdlib.h>
#include <string.h>

#include "values.h"

enum { CELL_BITS = 8, QUADRANTS = 4, READS = 1, WRITES = 2 };

typedef struct {
    int64_t base, c0, c1; /* cells base + c (linear) or base + 4 c + quadrant */
    int quads;            /* mask of 32-partition groups, 0: linear */
} box_t;

typedef struct visitor {
    void (*cell)(struct visitor *v, int64_t cell);
    const executor_t *e;
    int64_t action;
} visitor_t;

int ns_engine(const executor_t *e, int64_t op) {
    int engine = 0;
    while (op >= e->first[engine + 1]) engine++;
    return engine;
}

const word_t *ns_word(const executor_t *e, int64_t op) {
    int engine = ns_engine(e, op);
    return e->streams[engine] + (op - e->first[engine]);
}

static void visit_box(visitor_t *v, const box_t *b) {
    for (int64_t c = b->c0; c <= b->c1; c++) {
        if (!b->quads) {
            v->cell(v, b->base + c);
            continue;
        }
        for (int q = 0; q < QUADRANTS; q++)
            if (b->quads >> q & 1) v->cell(v, b->base + c * QUADRANTS + q);
    }
}

static int quad_mask(int64_t p0, int64_t p1) {
    int mask = 0;
    for (int64_t q = p0 / 32; q <= p1 / 32 && q < QUADRANTS; q++) mask |= 1 << q;
    return mask;
}

/* bytes lo .. hi-1 reached from the start of an operand */
static void extent(const operand_t *o, int64_t *lo, int64_t *hi) {
    int64_t es = ns_dtype_size(o->dtype);
    *lo = o->start;
    *hi = o->start + es;
    for (int i = 0; i < 4; i++) {
        int64_t reach = (int64_t)o->step[i] * (o->size[i] - 1) * es;
        if (reach < 0) *lo += reach;
        else *hi += reach;
    }
}

static void visit_operand(visitor_t *v, const operand_t *o, int a, int b) {
    int space = o->space & SPACE_MASK;
    if (!space) return;
    int64_t lo, hi, p0 = o->partition + a, p1 = o->partition + (b ? b : o->partitions) - 1;
    extent(o, &lo, &hi);
    box_t box = {space == SPACE_PSUM ? v->e->psum_cell : 0, lo >> CELL_BITS, (hi - 1) >> CELL_BITS, quad_mask(p0, p1)};
    visit_box(v, &box);
}

static void visit_pointer(visitor_t *v, const pointer_t *p, int partitions, int a, int b) {
    operand_t o = {.start = p->start, .partition = p->partition, .partitions = (uint8_t)partitions, .dtype = p->dtype,
                   .space = p->space, .size = {1, 1, 1, 1}};
    visit_operand(v, &o, a, b);
}

/* one side of a descriptor; `rows` and the step of dimension 0 differ for indexed sides */
static void visit_side(visitor_t *v, const descriptor_t *d, uint32_t variable, uint64_t off, const int64_t *step,
                       int64_t rows, int dtype) {
    int64_t es = ns_dtype_size(dtype), size[4] = {rows, d->size[1], d->size[2], d->size[3]};
    int64_t lo = 0, hi = es, plo = 0, phi = 0;
    for (int i = 0; i < 4; i++) {
        int64_t partitions = variable ? 0 : (step[i] + (1 << 17)) >> 18, bytes = step[i] - partitions * (1 << 18);
        int64_t reach = bytes * (size[i] - 1), preach = partitions * (size[i] - 1);
        *(reach < 0 ? &lo : &hi) += reach;
        *(preach < 0 ? &plo : &phi) += preach;
    }
    if (!variable) {
        int64_t p = off >> 18, byte = off & ((1 << 18) - 1);
        box_t box = {0, (byte + lo) >> CELL_BITS, (byte + hi - 1) >> CELL_BITS, quad_mask(p + plo, p + phi)};
        visit_box(v, &box);
    } else if (v->e->variable_cell[variable - 1] >= 0) {
        int64_t shift = v->e->variable_shift[variable - 1], base = (int64_t)off;
        box_t box = {v->e->variable_cell[variable - 1], (base + lo) >> shift, (base + hi - 1) >> shift, 0};
        visit_box(v, &box);
    }
}

static void visit_descriptor(visitor_t *v, const descriptor_t *d, int what) {
    int gather = d->op == DMA_OP_GATHER, scatter = d->op == DMA_OP_SCATTER;
    if (what == READS) {
        visit_side(v, d, d->src_var, d->src_off, d->src_step, gather ? d->index_limit : d->size[0], d->src_dtype);
        if (gather || scatter) {
            descriptor_t indices = {.size = {d->size[0], 1, 1, 1}};
            int64_t step[4] = {d->index_step, 0, 0, 0};
            visit_side(v, &indices, 0, d->index_off, step, d->size[0], DT_INT32);
        }
    } else {
        visit_side(v, d, d->dst_var, d->dst_off, d->dst_step, scatter ? d->index_limit : d->size[0], d->dst_dtype);
    }
}

static void visit_slot(visitor_t *v, int slot) {
    v->cell(v, v->e->slot_cell + slot);
}

static void visit_sources(visitor_t *v, const word_t *w, const action_t *act) {
    int matmul = w->opcode == OP_MATMUL, a = matmul ? 0 : act->a, b = matmul ? 0 : act->b;
    int partitions = w->dst.space & SPACE_MASK ? w->dst.partitions : w->src0.partitions;
    visit_operand(v, &w->src0, a, b);
    if (ns_reads_src1(w)) visit_operand(v, &w->src1, a, b);
    if (w->ptr0.space & SPACE_MASK) visit_pointer(v, &w->ptr0, partitions, a, b);
    if (w->ptr1.space & SPACE_MASK) visit_pointer(v, &w->ptr1, partitions, a, b);
}

static void visit_results(visitor_t *v, const word_t *w, const action_t *act) {
    if (w->opcode == OP_MATMUL) {
        operand_t o = w->dst;
        if (act->b && o.size[0] == 1 && o.size[1] == 1 && o.size[2] == 1) {
            o.start += (uint32_t)(act->a * o.step[3] * ns_dtype_size(o.dtype));
            o.size[3] = (uint16_t)(act->b - act->a);
        }
        visit_operand(v, &o, 0, 0);
        return;
    }
    visit_operand(v, &w->dst, act->a, act->b);
    if ((w->src1.space & SPACE_MASK) && !ns_reads_src1(w)) visit_operand(v, &w->src1, act->a, act->b);
}

/* Cells read (or written) by an action at its place in the order. */
static void visit(visitor_t *v, const action_t *act, int what) {
    const word_t *w = ns_word(v->e, act->op);
    if (w->opcode == OP_DMA_TRIGGER) {
        int64_t a = act->b ? act->a : 0, b = act->b ? act->b : w->count;
        if ((what == READS && act->kind == ACT_EXECUTE && act->sample >= 0) || (what == WRITES && act->kind == ACT_SAMPLE)) return;
        for (int64_t i = a; i < b; i++) visit_descriptor(v, v->e->descriptors + w->arg + i, what);
        return;
    }
    if (what == READS) {
        if (w->opcode == OP_MATMUL && act->kind == ACT_EXECUTE) visit_slot(v, act->slot);
        if (act->kind != ACT_EXECUTE || act->sample < 0) visit_sources(v, w, act);
    } else if (act->kind == ACT_LOAD) {
        visit_slot(v, act->slot);
    } else if (act->kind == ACT_EXECUTE) {
        visit_results(v, w, act);
    }
}

/* ---- which actions must sample early ---- */
typedef struct {
    visitor_t v;
    int32_t *writer; /* last writer of each cell + 1, then stamp of the reads of the current action */
    int64_t *stamp;
    const int64_t *start, *end;
    int hit;
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

static int same_place(const operand_t *x, const operand_t *y) {
    return x->start == y->start && x->partition == y->partition && x->space == y->space &&
           ns_dtype_size(x->dtype) == ns_dtype_size(y->dtype) && !memcmp(x->step, y->step, sizeof x->step) &&
           !memcmp(x->size, y->size, sizeof x->size);
}

static int overlap(const operand_t *x, const operand_t *y) {
    if (!(x->space & SPACE_MASK) || (x->space & SPACE_MASK) != (y->space & SPACE_MASK)) return 0;
    int64_t xl, xh, yl, yh;
    extent(x, &xl, &xh);
    extent(y, &yl, &yh);
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
            if (a->kind == ACT_EXECUTE) visit(&d.v, a, READS);
            int early = d.hit & 1;
            d.v.cell = detect_write;
            visit(&d.v, a, WRITES);
            if (w->opcode == OP_DMA_TRIGGER) early |= d.hit >> 1;
            else if (a->kind == ACT_EXECUTE) early |= disturbs_itself(w, ns_engine(e, a->op));
            sampled[i] = (uint8_t)early;
            found += early;
        }
    }
    free(d.writer);
    free(d.stamp);
    return found;
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
        visit(&g->v, a, READS);
        g->v.cell = graph_write;
        visit(&g->v, a, WRITES);
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
