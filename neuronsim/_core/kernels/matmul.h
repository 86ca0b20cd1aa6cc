/* The PE: one correctly rounded fused multiply-add per partition, in partition order, then an fp32 addition to PSUM.
 * int8 products sum exactly in fp32 (128 * 2^14 < 2^24), int32 begins at PSUM. Numpy twin: neuronsim/insns/matmul.py. */

/* one row of a tile into PSUM: overwrite or add, canonical NaN */
static void write_row(const view_t *dst, int m, int n, int count, int start, float *restrict row) {
    if (!start) {
        float old[PANEL];
        load_row(dst, m, n, count, old);
        for (int j = 0; j < count; j++) row[j] = old[j] + row[j];
    }
    store_row(dst, m, n, count, row);
}

static void write_int_row(const view_t *dst, int m, int n, int count, int start, const float *row) {
    WALK(dst, m, n, count, {
        for (int64_t j = 0; j < run; j++, row++) {
            uint32_t old;
            memcpy(&old, at + j * step, 4);
            old = (start ? 0 : old) + (uint32_t)(int32_t)*row;
            memcpy(at + j * step, &old, 4);
        }
    });
}

/* What every tile of one matmul shares. */
typedef struct {
    const view_t *dst;
    const stationary_t *s;
    int m_count, k_count, start, narrow;
    int dense; /* dst rows are dense fp32: tiles go there at once */
} product_t;

/* columns n .. of the result, `nv` vectors, `lanes` of the last; b begins at column n */
static void column_block(const product_t *p, int n, int nv, int lanes, const float *b) {
    int count = (nv - 1) * VEC + lanes;
    float buffer[ROWS * PANEL] __attribute__((aligned(64)));
    for (int m = 0; m < p->m_count; m += ROWS) {
        int rows = p->m_count - m < ROWS ? p->m_count - m : ROWS;
        if (p->dense) {
            result_t r = {p->dst->base + m * p->dst->pitch + 4 * (int64_t)n, p->dst->pitch, rows, p->start};
            tile(nv, lanes, p->narrow, p->s->rows + m, b, p->k_count, &r);
            continue;
        }
        result_t r = {(uint8_t *)buffer, 4 * PANEL, rows, 1};
        tile(nv, lanes, p->narrow, p->s->rows + m, b, p->k_count, &r);
        for (int i = 0; i < rows; i++) {
            float *row = buffer + i * PANEL;
            if (p->dst->dtype == DT_INT32) write_int_row(p->dst, m + i, n, count, p->start, row);
            else write_row(p->dst, m + i, n, count, p->start, row);
        }
    }
}

static void matmul(const word_t *w, const args_t *a, const stationary_t *s, int n0, int n1, void *scratch) {
    view_t src = a->src0;
    run_t runs[PANEL];
    product_t p = {.dst = &a->dst, .s = s, .start = w->flags & 1};
    p.m_count = a->dst.partitions < s->m ? a->dst.partitions : s->m;
    p.k_count = src.partitions = src.partitions < s->k ? src.partitions : s->k;
    p.narrow = s->dtype != DT_FP32 && src.dtype != DT_FP32;
    p.dense = a->dst.dims == 1 && a->dst.dtype == DT_FP32 && a->dst.step[0] == 4;
    int tail = (n1 - n0) % VEC, few = p.dense && tail <= COLUMNS_AT_MOST, n = n0;
    for (int left = (n1 - n0) / VEC + (tail && !few), nv; left; left -= nv, n += nv * VEC) {
        nv = left == TILE_VECTORS + 1 ? (TILE_VECTORS + 2) / 2 : left < TILE_VECTORS ? left : TILE_VECTORS;
        int lanes = nv == left && tail && !few ? tail : VEC;
        pack_panel(&src, runs, find_runs(&src, n, (nv - 1) * VEC + lanes, runs), scratch);
        column_block(&p, n, nv, lanes, scratch);
    }
    if (tail && few) {
        result_t r = {a->dst.base + 4 * (int64_t)n, a->dst.pitch, p.m_count, p.start};
        pack_panel(&src, runs, find_runs(&src, n, tail, runs), scratch);
        columns(tail, s->rows, scratch, p.k_count, &r);
    }
}

/* flops of `repeats` tiles on the same operands, a [k][STATIONARY_PITCH], b [k][PANEL]: the speed of
 * light of this level, for benchmarks */
static double bare_tile(const float *a, const float *b, int k, int repeats, float *out) {
    result_t r = {(uint8_t *)out, 4 * PANEL, ROWS, 1};
    for (int i = 0; i < repeats; i++) {
        tile(TILE_VECTORS, VEC, 0, a, b, k, &r);
        __asm__ volatile("" ::: "memory");
    }
    return 2.0 * ROWS * TILE_VECTORS * VEC * k * repeats;
}
