/* The PE's operands as rows of fp32, one row per partition, close together. */

/* One run of a window in every partition: `n` elements from byte `offset` of the operand. */
typedef struct { int64_t offset, n; } run_t;

/* Columns of the moving operand that a row of tiles works on are packed as [K][PANEL]. */
enum { PANEL = TILE_VECTORS * VEC };

/* rows read ahead: partitions are far apart in memory, beyond the reach of the hardware's own prefetching */
enum { AHEAD = 8 };

static void load_stationary(const view_t *src, stationary_t *s) {
    int k_count = src->partitions, m_count = (int)src->count, padded = (m_count + ROWS - 1) / ROWS * ROWS;
    s->k = k_count; s->m = m_count; s->dtype = src->dtype;
    for (int k = 0; k < k_count; k++) {
        float *row = s->rows + (int64_t)k * STATIONARY_PITCH;
        for (int i = 0; i < m_count * src->esize; i += 64) __builtin_prefetch(src->base + (k + AHEAD) * src->pitch + i);
        if (src->dims == 1 && src->dtype == DT_FP32 && src->step[0] == 4)
            memcpy(row, src->base + k * src->pitch, 4 * (size_t)m_count);
        else load_row(src, k, 0, m_count, row);
        for (int m = m_count; m < padded; m++) row[m] = 0.0f;
    }
}

/* Loads of up to VEC elements; what lies past them in memory is not touched. */
#if HAVE_FMA && VEC == 16
#define HAVE_VECTOR_LOADS 1
static inline vec_t load_fp32(const uint8_t *at, int n) { return VLOADM(at, VMASK(n)); }
static inline vec_t load_fp32_step2(const uint8_t *at, int n) {
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    uint32_t words = (uint32_t)((1ull << (2 * n - 1)) - 1);
    vec_t low = _mm512_maskz_loadu_ps((__mmask16)words, at), high = _mm512_maskz_loadu_ps((__mmask16)(words >> 16), at + 64);
    return _mm512_permutex2var_ps(low, even, high);
}
static inline vec_t load_bf16(const uint8_t *at, int n) {
    __m256i halves = _mm256_maskz_loadu_epi16(VMASK(n), at);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
static inline vec_t load_bf16_step2(const uint8_t *at, int n) {
    __m512i halves = _mm512_maskz_loadu_epi16((__mmask32)((1ull << (2 * n - 1)) - 1), at);
    return _mm512_castsi512_ps(_mm512_slli_epi32(halves, 16));
}

/* Elements of the runs, `bytes` apart; writes up to VEC - 1 floats past the last of a row, before the next row. */
#define PACK_RUNS(load, bytes) \
    for (int k = 0; k < v->partitions; k++) { \
        float *row = out + k * PANEL; \
        for (int r = 0; r < count; r++) { \
            const uint8_t *at = v->base + k * v->pitch + runs[r].offset; \
            int n = (int)runs[r].n, i = 0; \
            __builtin_prefetch(at + AHEAD * v->pitch); \
            for (; i + VEC <= n; i += VEC) { \
                VSTORE(row + i, load(at + (int64_t)i * (bytes), VEC)); \
                __builtin_prefetch(at + AHEAD * v->pitch + (int64_t)(i + VEC) * (bytes)); \
            } \
            if (i < n) VSTORE(row + i, load(at + (int64_t)i * (bytes), n - i)); \
            row += n; \
        } \
    }
#else
#define HAVE_VECTOR_LOADS 0
#endif

static void pack_panel(const view_t *v, const run_t *runs, int count, float *out) {
    int64_t step = v->step[v->dims - 1];
#if HAVE_VECTOR_LOADS
    if (v->dtype == DT_FP32 && step == 4) { PACK_RUNS(load_fp32, 4) return; }
    if (v->dtype == DT_FP32 && step == 8) { PACK_RUNS(load_fp32_step2, 8) return; }
    if (v->dtype == DT_BF16 && step == 2) { PACK_RUNS(load_bf16, 2) return; }
    if (v->dtype == DT_BF16 && step == 4) { PACK_RUNS(load_bf16_step2, 4) return; }
#endif
    for (int k = 0; k < v->partitions; k++) {
        float *row = out + k * PANEL;
        for (int r = 0; r < count; r++) {
            load_run(v->base + k * v->pitch + runs[r].offset, step, runs[r].n, v->dtype, row);
            row += runs[r].n;
        }
    }
}

/* Columns n .. n+count-1 of an operand as runs; returns their number. */
static int find_runs(const view_t *v, int n, int count, run_t *runs) {
    int found = 0;
    WALK(v, 0, n, count, { runs[found].offset = at - v->base; runs[found++].n = run; (void)step; });
    return found;
}
