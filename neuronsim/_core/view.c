/* Decodes operands into views, copies sources aside for transfers and words that race, tells which words have kernels. */
#include "kernels/view.h"

#include <string.h>

int ns_dtype_size(int dtype) {
    static const uint8_t size[18] = {0, 4, 2, 2, 4, 1, 1, 0, 1, 1, 2, 2, 4, 4, 8, 8, 8, 1};
    return dtype >= 0 && dtype < 18 ? size[dtype] : 0;
}

int ns_reads_src1(const word_t *w) {
    return (w->src1.space & SPACE_MASK) && w->opcode != OP_TENSOR_SCALAR_REDUCE && w->opcode != OP_ACTIVATION_REDUCE;
}

static void merge(view_t *v) {
    int d = 0;
    for (int i = 0; i < 4; i++) {
        if (v->size[i] == 1 && !(i == 3 && d == 0)) continue;
        if (d > 0 && v->step[d - 1] == v->step[i] * v->size[i]) {
            v->size[d - 1] *= v->size[i];
            v->step[d - 1] = v->step[i];
        } else {
            v->size[d] = v->size[i];
            v->step[d] = v->step[i];
            d++;
        }
    }
    v->dims = d;
}

void ns_operand_view(const memory_t *m, const operand_t *o, view_t *v) {
    int psum = (o->space & SPACE_MASK) == SPACE_PSUM;
    v->dtype = o->dtype;
    v->esize = ns_dtype_size(o->dtype);
    v->partitions = o->partitions;
    v->pitch = psum ? m->psum_pitch : m->sbuf_pitch;
    v->base = (psum ? m->psum : m->sbuf) + o->partition * v->pitch + o->start;
    v->count = 1;
    for (int i = 0; i < 4; i++) {
        v->size[i] = o->size[i];
        v->step[i] = (int64_t)o->step[i] * v->esize;
        v->count *= o->size[i];
    }
    merge(v);
}

static void pointer_view(const memory_t *m, const pointer_t *p, int partitions, view_t *v) {
    operand_t o = {.start = p->start, .partition = p->partition, .partitions = (uint8_t)partitions, .dtype = p->dtype,
                   .space = p->space, .size = {1, 1, 1, 1}};
    ns_operand_view(m, &o, v);
}

/* Replace a view by its dense copy at `at`; returns the end of the copy. */
static const uint8_t *dense(view_t *v, const uint8_t *at) {
    v->base = (uint8_t *)at;
    v->pitch = v->count * v->esize;
    v->dims = 1;
    v->size[0] = v->count;
    v->step[0] = v->esize;
    return at + v->pitch * v->partitions;
}

void ns_resolve(const memory_t *m, const word_t *w, const uint8_t *sample, args_t *a) {
    memset(a, 0, sizeof *a);
    if (w->dst.space & SPACE_MASK) ns_operand_view(m, &w->dst, &a->dst);
    if (w->src0.space & SPACE_MASK) ns_operand_view(m, &w->src0, &a->src0);
    if (w->src1.space & SPACE_MASK) ns_operand_view(m, &w->src1, &a->src1);
    int partitions = a->dst.base ? w->dst.partitions : w->src0.partitions;
    if (w->ptr0.space & SPACE_MASK) pointer_view(m, &w->ptr0, partitions, &a->ptr0);
    if (w->ptr1.space & SPACE_MASK) pointer_view(m, &w->ptr1, partitions, &a->ptr1);
    if (!sample) return;
    if (a->src0.base) sample = dense(&a->src0, sample);
    if (ns_reads_src1(w)) sample = dense(&a->src1, sample);
    if (a->ptr0.base) sample = dense(&a->ptr0, sample);
    if (a->ptr1.base) dense(&a->ptr1, sample);
}

static int64_t operand_bytes(const operand_t *o) {
    return (int64_t)o->partitions * o->size[0] * o->size[1] * o->size[2] * o->size[3] * ns_dtype_size(o->dtype);
}

int64_t ns_sample_bytes(const word_t *w) {
    int64_t n = 2 * 128 * 4;
    if (w->src0.space & SPACE_MASK) n += operand_bytes(&w->src0);
    if (ns_reads_src1(w)) n += operand_bytes(&w->src1);
    return n;
}

static uint8_t *copy_view(const view_t *v, uint8_t *out) {
    view_t s = *v;
    for (int i = s.dims; i < 4; i++) s.size[i] = 1, s.step[i] = 0;
    for (int p = 0; p < s.partitions; p++) {
        const uint8_t *row = s.base + p * s.pitch;
        for (int64_t i = 0; i < s.size[0]; i++)
            for (int64_t j = 0; j < s.size[1]; j++)
                for (int64_t k = 0; k < s.size[2]; k++)
                    for (int64_t l = 0; l < s.size[3]; l++, out += s.esize)
                        memcpy(out, row + i * s.step[0] + j * s.step[1] + k * s.step[2] + l * s.step[3], s.esize);
    }
    return out;
}

void ns_sample_word(const memory_t *m, const word_t *w, uint8_t *out) {
    args_t a;
    ns_resolve(m, w, 0, &a);
    if (a.src0.base) out = copy_view(&a.src0, out);
    if (ns_reads_src1(w)) out = copy_view(&a.src1, out);
    if (a.ptr0.base) out = copy_view(&a.ptr0, out);
    if (a.ptr1.base) copy_view(&a.ptr1, out);
}

void ns_take_partitions(args_t *a, int p0, int p1) {
    view_t *views[5] = {&a->dst, &a->src0, &a->src1, &a->ptr0, &a->ptr1};
    for (int i = 0; i < 5; i++) {
        if (!views[i]->base) continue;
        views[i]->base += p0 * views[i]->pitch;
        views[i]->partitions = p1 - p0;
    }
}

uint8_t *ns_address(const memory_t *m, uint32_t variable, uint64_t offset) {
    if (variable) return m->variables[variable - 1] + offset;
    uint64_t partition = offset >> 18, byte = offset & ((1u << 18) - 1);
    return m->sbuf + partition * m->sbuf_pitch + byte;
}

int64_t ns_step(const memory_t *m, uint32_t variable, int64_t step) {
    if (variable) return step;
    int64_t partitions = (step + (1 << 17)) >> 18;
    return partitions * m->sbuf_pitch + (step - partitions * ((int64_t)1 << 18));
}

/* Sample of a descriptor: `size[0]` int32 indices (gather, scatter), padded to 8 bytes, then the elements in order.
 * A gathered row that is skipped leaves its place unset. */
int64_t ns_descriptor_sample_bytes(const descriptor_t *d) {
    int64_t n = (int64_t)d->size[0] * d->size[1] * d->size[2] * d->size[3] * ns_dtype_size(d->src_dtype);
    return ((n + 7) & ~(int64_t)7) + (d->op == 3 || d->op == 4 ? ((int64_t)d->size[0] * 4 + 7) / 8 * 8 : 0);
}

void ns_sample_descriptor(const memory_t *m, const descriptor_t *d, uint8_t *out) {
    const uint8_t *src = ns_address(m, d->src_var, d->src_off);
    int64_t step[4], istep = ns_step(m, 0, d->index_step);
    int esize = ns_dtype_size(d->src_dtype), indexed = d->op == 3 || d->op == 4;
    for (int i = 0; i < 4; i++) step[i] = ns_step(m, d->src_var, d->src_step[i]);
    int32_t *indices = (int32_t *)out;
    if (indexed) out += ((int64_t)d->size[0] * 4 + 7) / 8 * 8;
    int64_t row_bytes = (int64_t)d->size[1] * d->size[2] * d->size[3] * esize;
    for (uint32_t i = 0; i < d->size[0]; i++) {
        int64_t row = i;
        if (indexed) {
            memcpy(&indices[i], ns_address(m, 0, d->index_off) + i * istep, 4);
            if (d->op == 3) row = indices[i];
            if (row < 0 || (d->op == 3 && row >= d->index_limit)) {
                out += row_bytes;
                continue;
            }
        }
        for (uint32_t j = 0; j < d->size[1]; j++)
            for (uint32_t k = 0; k < d->size[2]; k++)
                for (uint32_t l = 0; l < d->size[3]; l++, out += esize)
                    memcpy(out, src + row * step[0] + j * step[1] + k * step[2] + l * step[3], esize);
    }
}

static int float_op(int op) { return op <= 23; }

static int lane_reduction(int op) { return op == 1 || (op >= 3 && op <= 5); }

static int engine_integer(int dtype) { return dtype >= DT_INT8 && dtype <= DT_UINT32; }

/* gpsimd (engine 3) computes integers exactly */
static int exact_integers(const word_t *w, int engine) {
    return engine == 3 && engine_integer(w->dst.dtype) && engine_integer(w->src0.dtype) && engine_integer(w->src1.dtype);
}

int ns_has_kernel(const word_t *w, int engine) {
    switch (w->opcode) {
    case OP_TENSOR_TENSOR: return float_op(w->op0) && !exact_integers(w, engine);
    case OP_TENSOR_SCALAR: case OP_SCALAR_TENSOR_TENSOR: return float_op(w->op0) && float_op(w->op1);
    case OP_TENSOR_SCALAR_REDUCE: return float_op(w->op0) && lane_reduction(w->op1);
    case OP_TENSOR_REDUCE: return lane_reduction(w->op0);
    case OP_LOAD_STATIONARY: case OP_MATMUL: case OP_TENSOR_COPY: case OP_COPY_PREDICATED: case OP_RECIPROCAL:
    case OP_MEMSET: case OP_BN_STATS: case OP_BN_AGGR: case OP_ACTIVATION: case OP_ACTIVATION_REDUCE:
    case OP_DMA_TRIGGER: return 1;
    default: return 0;
    }
}
