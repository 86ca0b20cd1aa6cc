/* Vector and scalar engine instructions, row by row in chunks that stay in the first-level cache.
 * Numpy twins: the files of neuronsim/insns/ named like the mnemonics. */

/* Bring a later row near: partitions are far apart in memory, beyond the reach of the hardware's own prefetching. */
static inline void fetch_row(const view_t *v, int p) {
    if (!v->base || p >= v->partitions) return;
    int64_t span = v->esize;
    for (int i = 0; i < v->dims; i++) span += v->step[i] > 0 ? v->step[i] * (v->size[i] - 1) : 0;
    const uint8_t *at = v->base + p * v->pitch;
    for (int64_t i = 0; i < span && i < 4 * CHUNK; i += 64) __builtin_prefetch(at + i);
}

static inline void fetch_rows(const args_t *a, int p) {
    fetch_row(&a->dst, p);
    fetch_row(&a->src0, p);
    fetch_row(&a->src1, p);
}

#define EACH_ROW(a) for (int p = 0; fetch_rows(a, p + 2), p < (a)->dst.partitions; p++)

#define EACH_CHUNK(v) \
    EACH_ROW(a) \
        for (int64_t i = 0, n; n = (v)->count - i < CHUNK ? (v)->count - i : CHUNK, i < (v)->count; i += CHUNK)

static float scalar_operand(const view_t *pointer, float immediate, int p) {
    return pointer->base ? load_one(pointer, p) : immediate;
}

static void tensor_tensor(const word_t *w, const args_t *a, float *x, float *y) {
    EACH_CHUNK(&a->dst) {
        load_row(&a->src0, p, i, n, x);
        load_row(&a->src1, p, i, n, y);
        alu_rows(w->op0, 0, n, x, y);
        store_row(&a->dst, p, i, n, x);
    }
}

static void tensor_scalar(const word_t *w, const args_t *a, float *x) {
    EACH_CHUNK(&a->dst) {
        load_row(&a->src0, p, i, n, x);
        alu_scalar(w->op0, w->flags & 1, n, x, scalar_operand(&a->ptr0, w->imm0, p));
        if (w->op1) alu_scalar(w->op1, w->flags & 2, n, x, scalar_operand(&a->ptr1, w->imm1, p));
        store_row(&a->dst, p, i, n, x);
    }
}

static void scalar_tensor_tensor(const word_t *w, const args_t *a, float *x, float *y) {
    EACH_CHUNK(&a->dst) {
        load_row(&a->src0, p, i, n, x);
        load_row(&a->src1, p, i, n, y);
        alu_scalar(w->op0, w->flags & 1, n, x, scalar_operand(&a->ptr0, w->imm0, p));
        alu_rows(w->op1, w->flags & 2, n, x, y);
        store_row(&a->dst, p, i, n, x);
    }
}

/* bits move when both types agree */
static void copy_bits(const view_t *dst, const view_t *src) {
    int es = src->esize;
    for (int p = 0; p < dst->partitions; p++) {
        uint8_t buffer[4 * CHUNK];
        for (int64_t i = 0; i < dst->count; i += CHUNK) {
            int64_t n = dst->count - i < CHUNK ? dst->count - i : CHUNK;
            uint8_t *b = buffer;
            WALK(src, p, i, n, {
                if (step == es) memcpy(b, at, run * es);
                else if (es == 4) for (int64_t j = 0; j < run; j++) memcpy(b + 4 * j, at + j * step, 4);
                else if (es == 2) for (int64_t j = 0; j < run; j++) memcpy(b + 2 * j, at + j * step, 2);
                else for (int64_t j = 0; j < run; j++) b[j] = at[j * step];
                b += run * es;
            });
            b = buffer;
            WALK(dst, p, i, n, {
                if (step == es) memcpy(at, b, run * es);
                else if (es == 4) for (int64_t j = 0; j < run; j++) memcpy(at + j * step, b + 4 * j, 4);
                else if (es == 2) for (int64_t j = 0; j < run; j++) memcpy(at + j * step, b + 2 * j, 2);
                else for (int64_t j = 0; j < run; j++) at[j * step] = b[j];
                b += run * es;
            });
        }
    }
}

static void tensor_copy(const args_t *a, float *x) {
    if (a->dst.dtype == a->src0.dtype) {
        copy_bits(&a->dst, &a->src0);
        return;
    }
    EACH_CHUNK(&a->dst) {
        load_row(&a->src0, p, i, n, x);
        store_row(&a->dst, p, i, n, x);
    }
}

static inline int is_nan_bits(uint32_t v, int dtype) {
    switch (dtype) {
    case DT_FP32: case DT_TF32: return (v & 0x7fffffff) > 0x7f800000;
    case DT_BF16: return (v & 0x7fff) > 0x7f80;
    case DT_FP16: return (v & 0x7fff) > 0x7c00;
    case DT_E4M3: return (v & 0x7f) == 0x7f;
    case DT_E5M2: return (v & 0x7f) > 0x7c;
    default: return 0;
    }
}

static inline const uint8_t *element(const view_t *v, int p, int64_t i) {
    const uint8_t *at = v->base + p * v->pitch;
    for (int d = v->dims - 1; d >= 0; d--) {
        at += i % v->size[d] * v->step[d];
        i /= v->size[d];
    }
    return at;
}

/* equal integer types move exactly; everything else goes through fp32 */
static void tensor_copy_predicated(const args_t *a, float *x) {
    int es = a->dst.esize, ps = a->src1.esize;
    int exact = a->dst.dtype == a->src0.dtype && a->dst.dtype >= DT_INT8;
    uint8_t predicate[4 * CHUNK];
    view_t raw = {.count = a->dst.count, .dims = 1, .partitions = 1, .esize = es, .dtype = a->dst.dtype};
    EACH_CHUNK(&a->dst) {
        uint8_t *q = predicate;
        WALK(&a->src1, p, i, n, {
            for (int64_t j = 0; j < run; j++, q++) {
                uint32_t v = 0;
                memcpy(&v, at + j * step, ps);
                *q = v != 0;
            }
        });
        if (exact) {
            uint8_t *b = (uint8_t *)x;
            WALK(&a->src0, p, i, n, { for (int64_t j = 0; j < run; j++, b += es) memcpy(b, at + j * step, es); });
        } else {
            float *f = x + CHUNK;
            load_row(&a->src0, p, i, n, f);
            raw.base = (uint8_t *)x; raw.size[0] = n; raw.step[0] = es;
            store_row(&raw, 0, 0, n, f);
        }
        const uint8_t *b = (uint8_t *)x;
        q = predicate;
        WALK(&a->dst, p, i, n, {
            for (int64_t j = 0; j < run; j++, b += es)
                if (*q++) memcpy(at + j * step, b, es);
        });
    }
}

static void reciprocal(const args_t *a, float *x) {
    EACH_CHUNK(&a->dst) {
        load_row(&a->src0, p, i, n, x);
        for (int64_t j = 0; j < n; j++) x[j] = 1.0f / x[j];
        store_row(&a->dst, p, i, n, x);
    }
}

static void memset_rows(const word_t *w, const args_t *a, float *x) {
    for (int j = 0; j < CHUNK; j++) x[j] = w->imm0;
    EACH_CHUNK(&a->dst) store_row(&a->dst, p, i, n, x);
}

/* activation, and with dst1 (the src1 slot) the sum of the fp32 results */
static void activation(const word_t *w, const args_t *a, float *x) {
    float lanes[LANES], slope;
    memcpy(&slope, &w->arg, 4);
    int reduce = w->opcode == OP_ACTIVATION_REDUCE && a->src1.base;
    EACH_ROW(a) {
        float scale = scalar_operand(&a->ptr0, w->imm0, p), bias = scalar_operand(&a->ptr1, w->imm1, p);
        lanes_start(1, lanes);
        for (int64_t i = 0; i < a->dst.count; i += CHUNK) {
            int64_t n = a->dst.count - i < CHUNK ? a->dst.count - i : CHUNK;
            load_row(&a->src0, p, i, n, x);
            for (int64_t j = 0; j < n; j++) x[j] = x[j] * scale + bias;
            apply_function(w->func, slope, n, x);
            if (reduce) lanes_add(1, lanes, x, n);
            store_row(&a->dst, p, i, n, x);
        }
        if (reduce) {
            lanes_fold(1, lanes);
            store_row(&a->src1, p, 0, 1, lanes);
        }
    }
}
