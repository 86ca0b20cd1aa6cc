/* Looks for the first word that makes a NaN or an infinity from finite sources. */
#include <math.h>

#include "values.h"

static int finite_view(const executor_t *e, const view_t *v) {
    float row[CHUNK];
    if (!v->base || v->dtype >= DT_INT8) return 1;
    for (int p = 0; p < v->partitions; p++)
        for (int64_t i = 0; i < v->count; i += CHUNK) {
            int64_t n = v->count - i < CHUNK ? v->count - i : CHUNK;
            e->kernels->load_row(v, p, i, n, row);
            for (int64_t j = 0; j < n; j++)
                if (!isfinite(row[j])) return 0;
        }
    return 1;
}

static int finite_stationary(const executor_t *e, int slot) {
    const stationary_t *s = (const stationary_t *)(e->slots + (int64_t)slot * STATIONARY_BYTES);
    for (int k = 0; k < s->k; k++)
        for (int m = 0; m < s->m; m++)
            if (!isfinite(s->rows[k * STATIONARY_PITCH + m])) return 0;
    return 1;
}

int ns_finite_sources(const executor_t *e, const action_t *a) {
    const word_t *w = ns_word(e, a->op);
    if (w->opcode == OP_DMA_TRIGGER) return 0;
    args_t args;
    ns_resolve(&e->memory, w, a->sample >= 0 ? e->samples[a->sample] : 0, &args);
    int matmul = w->opcode == OP_MATMUL;
    if (matmul && (!finite_stationary(e, a->slot) || (!(w->flags & 1) && !finite_view(e, &args.dst)))) return 0;
    return finite_view(e, &args.src0) && (!ns_reads_src1(w) || finite_view(e, &args.src1)) &&
           finite_view(e, &args.ptr0) && finite_view(e, &args.ptr1);
}

int ns_finite_results(const executor_t *e, const action_t *a) {
    const word_t *w = ns_word(e, a->op);
    args_t args;
    ns_resolve(&e->memory, w, 0, &args);
    return finite_view(e, &args.dst) && (ns_reads_src1(w) || finite_view(e, &args.src1));
}
