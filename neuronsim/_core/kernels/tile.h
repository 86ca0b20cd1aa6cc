/* Blocks of a product kept in registers: acc = 0; acc = fma(stationary[k, m], moving[k, n], acc) in partition order.
 *
 * A tile is ROWS rows of the result by up to TILE_VECTORS vectors of columns. The few columns that would leave most of
 * a vector empty are computed the other way round, in vectors along the rows of the result (`columns`). */

/* Where a tile goes: fp32 rows `pitch` bytes apart; overwritten, or added to; NaNs become canonical. */
typedef struct { uint8_t *at; int64_t pitch; int rows, start; } result_t;

static inline float updated(float old, float acc, int start) {
    float f = start ? acc : old + acc;
    return as_float(to_fp32(f));
}

#if HAVE_FMA
#define INLINE static inline __attribute__((always_inline))

INLINE void tile_of(const int nv, const int masked, int lanes, const float *a, const float *b, int k_count, const result_t *r) {
    vec_t acc[ROWS][TILE_VECTORS];
    const mask_t last = VMASK(lanes);
    const float *bk = b;
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) acc[i][j] = VZERO;
    for (int k = 0; k < k_count; k++, a += STATIONARY_PITCH, bk += PANEL) {
        vec_t bv[TILE_VECTORS];
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) bv[j] = masked && j == nv - 1 ? VLOADM(bk + j * VEC, last) : VLOAD(bk + j * VEC);
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; i++) {
            vec_t s = VSET(a[i]);
#pragma GCC unroll 4
            for (int j = 0; j < nv; j++) acc[i][j] = VFMA(s, bv[j], acc[i][j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++) {
        if (i >= r->rows) break;
        float *out = (float *)(r->at + i * r->pitch);
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++, out += VEC) {
            const int cut = masked && j == nv - 1;
            vec_t x = acc[i][j];
            if (!r->start) x = VADD(cut ? VLOADM(out, last) : VLOAD(out), x);
            x = VCANONICAL(x);
            if (cut) VSTOREM(out, last, x);
            else VSTORE(out, x);
        }
    }
}

/* `lanes` columns of the last of `nv` vectors count */
static void tile(int nv, int lanes, int narrow, const float *a, const float *b, int k_count, const result_t *r) {
    (void)narrow;
    switch (2 * nv + (lanes < VEC)) {
    case 2: tile_of(1, 0, lanes, a, b, k_count, r); break;
    case 3: tile_of(1, 1, lanes, a, b, k_count, r); break;
    case 4: tile_of(2, 0, lanes, a, b, k_count, r); break;
    case 5: tile_of(2, 1, lanes, a, b, k_count, r); break;
#if TILE_VECTORS > 2
    case 6: tile_of(3, 0, lanes, a, b, k_count, r); break;
    case 7: tile_of(3, 1, lanes, a, b, k_count, r); break;
#endif
    }
}

/* acc[c][m .. m + vectors * VEC) of `count` columns; out [count][128] */
INLINE void columns_of(const int count, const int vectors, const float *a, const float *b, int k_count, int m_count, float *out) {
    for (int m = 0; m < m_count; m += vectors * VEC) {
        vec_t acc[4][8];
        const float *ak = a + m, *bk = b;
#pragma GCC unroll 4
        for (int c = 0; c < count; c++)
#pragma GCC unroll 8
            for (int i = 0; i < vectors; i++) acc[c][i] = VZERO;
        for (int k = 0; k < k_count; k++, ak += STATIONARY_PITCH, bk += PANEL)
#pragma GCC unroll 8
            for (int i = 0; i < vectors; i++) {
                vec_t x = VLOAD(ak + i * VEC);
#pragma GCC unroll 4
                for (int c = 0; c < count; c++) acc[c][i] = VFMA(VSET(bk[c]), x, acc[c][i]);
            }
#pragma GCC unroll 4
        for (int c = 0; c < count; c++)
#pragma GCC unroll 8
            for (int i = 0; i < vectors; i++) VSTORE(out + c * 128 + m + i * VEC, acc[c][i]);
    }
}

/* The same results as `tile` for up to VEC / 2 columns and all rows. */
static void columns(int count, const float *a, const float *b, int k_count, const result_t *r) {
    float out[4 * 128] __attribute__((aligned(64)));
    for (int done = 0, n; done < count; done += n) {
        n = count - done >= 4 ? 4 : count - done >= 2 ? 2 : 1;
        if (n == 4) columns_of(4, VEC / 4, a, b + done, k_count, r->rows, out);
        else if (n == 2) columns_of(2, VEC / 2, a, b + done, k_count, r->rows, out);
        else columns_of(1, 8, a, b + done, k_count, r->rows, out);
        for (int m = 0; m < r->rows; m++) {
            float *to = (float *)(r->at + m * r->pitch) + done;
            for (int c = 0; c < n; c++) to[c] = updated(to[c], out[c * 128 + m], r->start);
        }
    }
}
#else
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
    static void name(const float *restrict a, const float *b, int k_count, float *restrict out) { \
        float acc[ROWS][VEC] = {{0}}; \
        const float *restrict bk = b; \
        for (int k = 0; k < k_count; k++, a += STATIONARY_PITCH, bk += PANEL) \
            for (int i = 0; i < ROWS; i++) \
                for (int j = 0; j < VEC; j++) acc[i][j] = fma(a[i], bk[j], acc[i][j]); \
        memcpy(out, acc, sizeof acc); \
    }
TILE(tile_wide, fma_odd)
TILE(tile_narrow, fma_narrow)

static void tile(int nv, int lanes, int narrow, const float *a, const float *b, int k_count, const result_t *r) {
    float out[ROWS * VEC];
    (void)nv;
    if (narrow) tile_narrow(a, b, k_count, out);
    else tile_wide(a, b, k_count, out);
    for (int i = 0; i < r->rows; i++) {
        float *to = (float *)(r->at + i * r->pitch);
        for (int j = 0; j < lanes; j++) to[j] = updated(to[j], out[i * VEC + j], r->start);
    }
}

static void columns(int count, const float *a, const float *b, int k_count, const result_t *r) {
    (void)count; (void)a; (void)b; (void)k_count; (void)r;
}
#endif
