/* The PE: packing of both operands to fp32 panels and the product, one correctly rounded fused multiply-add per
 * partition, in partition order. int8 products sum exactly in fp32 (128 * 2^14 < 2^24), int32 begins at PSUM.  Panels: stationary [M / ROWS][K][ROWS], moving [N / 32][K][32].
 * Numpy twin: neuronsim/insns/matmul.py. */

enum { COLS = 32 };

static void load_stationary(const view_t *src, stationary_t *s) {
    float row[128 + 16];
    int k_count = src->partitions, m_count = (int)src->count;
    s->k = k_count; s->m = m_count; s->dtype = src->dtype; s->rows = ROWS;
    memset(row, 0, sizeof row);
    for (int k = 0; k < k_count; k++) {
        load_row(src, k, 0, m_count, row);
        for (int m = 0; m < m_count; m += ROWS)
            memcpy(s->panels + ((int64_t)(m / ROWS) * k_count + k) * ROWS, row + m, 4 * ROWS);
    }
}

/* columns n0 .. n1-1 of the moving operand into panels; columns past n1 are zero */
static void pack_moving(const view_t *v, int n0, int n1, float *restrict out) {
    int k_count = v->partitions, n = n1 - n0, full = n / COLS;
    for (int k = 0; k < k_count; k++) {
        if (v->dims == 1) {
            const uint8_t *at = v->base + k * v->pitch + n0 * v->step[0];
            for (int j = 0; j < full; j++)
                load_run(at + (int64_t)j * COLS * v->step[0], v->step[0], COLS, v->dtype,
                         out + ((int64_t)j * k_count + k) * COLS);
        } else {
            float row[MATMUL_N];
            load_row(v, k, n0, n, row);
            for (int j = 0; j < full; j++) memcpy(out + ((int64_t)j * k_count + k) * COLS, row + j * COLS, 4 * COLS);
        }
        if (n % COLS) {
            float *tail = out + ((int64_t)full * k_count + k) * COLS;
            memset(tail, 0, 4 * COLS);
            load_row(v, k, n0 + full * COLS, n % COLS, tail);
        }
    }
}

#if !HAVE_FMA
/* fused multiply-add of floats without the instruction: exact product in float64, TwoSum, round to odd */
static inline float fma_odd(float a, float b, float c) {
    double p = (double)a * b, s = p + c, t = s - p, e = (p - (s - t)) + (c - t);
    uint64_t u = as_bits64(s), inexact = (e < 0) | (e > 0), same = (e > 0) == (s > 0);
    u = inexact && !(u & 1) ? (same ? u + 1 : u - 1) : u;
    return (float)as_double(u);
}
/* products of at most 22 bits: the float64 sum never lies on a rounding boundary of fp32 unless it is exact */
static inline float fma_narrow(float a, float b, float c) { return (float)((double)a * b + c); }

#define TILE(name, fma) \
    static void name(const float *restrict a, const float *restrict b, int k_count, float *restrict out) { \
        float acc[ROWS][COLS] = {{0}}; \
        for (int k = 0; k < k_count; k++, a += ROWS, b += COLS) \
            for (int i = 0; i < ROWS; i++) \
                for (int j = 0; j < COLS; j++) acc[i][j] = fma(a[i], b[j], acc[i][j]); \
        memcpy(out, acc, sizeof acc); \
    }
TILE(tile_wide, fma_odd)
TILE(tile_narrow, fma_narrow)
#else
static void tile_wide(const float *restrict a, const float *restrict b, int k_count, float *restrict out) {
    for (int half = 0; half < COLS; half += 2 * VEC) {
        vec_t acc[ROWS][2];
        const float *ak = a, *bk = b + half;
        for (int i = 0; i < ROWS; i++) acc[i][0] = acc[i][1] = VZERO;
        for (int k = 0; k < k_count; k++, ak += ROWS, bk += COLS) {
            vec_t b0 = VLOAD(bk), b1 = VLOAD(bk + VEC);
            for (int i = 0; i < ROWS; i++) {
                vec_t s = VSET(ak[i]);
                acc[i][0] = VFMA(s, b0, acc[i][0]);
                acc[i][1] = VFMA(s, b1, acc[i][1]);
            }
        }
        for (int i = 0; i < ROWS; i++) {
            VSTORE(out + i * COLS + half, acc[i][0]);
            VSTORE(out + i * COLS + half + VEC, acc[i][1]);
        }
    }
}
#define tile_narrow tile_wide
#endif

/* one row of a tile into PSUM: overwrite or add, canonical NaN */
static void write_row(const view_t *dst, int m, int n, int count, int start, float *restrict row) {
    float *out = (float *)(dst->base + m * dst->pitch + 4 * n);
    if (dst->dims == 1 && dst->step[0] == 4) {
        if (start) for (int j = 0; j < count; j++) { float f = row[j]; out[j] = as_float(to_fp32(f)); }
        else for (int j = 0; j < count; j++) { float f = out[j] + row[j]; out[j] = as_float(to_fp32(f)); }
        return;
    }
    if (!start) {
        float old[COLS];
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

static void matmul(const word_t *w, const args_t *a, const stationary_t *s, int n0, int n1, void *scratch) {
    float *moving = scratch, *out = moving + 128 * MATMUL_N;
    int m_count = a->dst.partitions < s->m ? a->dst.partitions : s->m, start = w->flags & 1;
    int k_count = a->src0.partitions < s->k ? a->src0.partitions : s->k;
    int integer = a->dst.dtype == DT_INT32;
    int narrow = s->dtype != DT_FP32 && a->src0.dtype != DT_FP32;
    view_t src = a->src0;
    src.partitions = k_count;
    pack_moving(&src, n0, n1, moving);
    for (int n = n0; n < n1; n += COLS) {
        const float *b = moving + (int64_t)(n - n0) * k_count;
        int count = n1 - n < COLS ? n1 - n : COLS;
        for (int m = 0; m < m_count; m += ROWS) {
            const float *panel = s->panels + (int64_t)m * s->k;
            if (narrow) tile_narrow(panel, b, k_count, out);
            else tile_wide(panel, b, k_count, out);
            for (int i = 0; i < ROWS && m + i < m_count; i++) {
                if (integer) write_int_row(&a->dst, m + i, n, count, start, out + i * COLS);
                else write_row(&a->dst, m + i, n, count, start, out + i * COLS);
            }
        }
    }
}

/* flops of `repeats` tile kernels on the same panels: the speed of light of this level, for benchmarks */
static double bare_tile(const float *a, const float *b, int k, int repeats, float *out) {
    for (int i = 0; i < repeats; i++) {
        tile_wide(a, b, k, out);
        __asm__ volatile("" ::: "memory");
    }
    return 2.0 * ROWS * COLS * k * repeats;
}
