/* The memory an action touches. Boxes bound strided accesses: too large a box costs time, never correctness. */
#include "access.h"

enum { CELL_BITS = 8, QUADRANTS = 4 };

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
    if (v->box) {
        v->box(v, b);
        return;
    }
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

void ns_extent(const operand_t *o, int64_t *lo, int64_t *hi) {
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
    ns_extent(o, &lo, &hi);
    int psum = space == SPACE_PSUM;
    box_t box = {lo, hi, p0, p1, psum ? PLACE_PSUM : PLACE_SBUF, psum ? v->e->psum_cell : 0, lo >> CELL_BITS,
                 (hi - 1) >> CELL_BITS, quad_mask(p0, p1)};
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
        box_t box = {byte + lo, byte + hi, p + plo, p + phi, PLACE_SBUF, 0, (byte + lo) >> CELL_BITS,
                     (byte + hi - 1) >> CELL_BITS, quad_mask(p + plo, p + phi)};
        visit_box(v, &box);
    } else if (v->e->variable_cell[variable - 1] >= 0) {
        int64_t shift = v->e->variable_shift[variable - 1], base = (int64_t)off;
        box_t box = {base + lo, base + hi, 0, 0, PLACE_VARIABLE + variable, v->e->variable_cell[variable - 1],
                     (base + lo) >> shift, (base + hi - 1) >> shift, 0};
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
    box_t box = {0, 1, slot, slot, PLACE_SLOT, v->e->slot_cell + slot, 0, 0, 0};
    visit_box(v, &box);
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

void ns_visit(visitor_t *v, const action_t *act, int what) {
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
