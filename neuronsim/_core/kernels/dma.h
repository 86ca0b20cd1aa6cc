/* DMA descriptors: copies, transposed copies, casts, gathers, scatters, adds. Numpy twin: neuronsim/insns/dma_trigger.py. */

typedef struct {
    const uint8_t *src;
    uint8_t *dst;
    int64_t size[4], ss[4], ds[4]; /* bytes, outermost first */
} walk_t;

typedef struct { uint16_t a; } __attribute__((packed)) u16_t;
typedef struct { uint32_t a; } __attribute__((packed)) u32_t;
typedef struct { uint64_t a; } __attribute__((packed)) u64_t;

/* merge neighbouring dimensions that are one run on both sides, sizes of one first */
static void merge_walk(walk_t *w) {
    int d = 3;
    for (int i = 2; i >= 0; i--) {
        if (w->size[i] == 1) continue;
        if (w->size[d] == 1) {
            w->size[d] = w->size[i]; w->ss[d] = w->ss[i]; w->ds[d] = w->ds[i];
        } else if (w->ss[i] == w->ss[d] * w->size[d] && w->ds[i] == w->ds[d] * w->size[d]) {
            w->size[d] *= w->size[i];
        } else {
            d--;
            w->size[d] = w->size[i]; w->ss[d] = w->ss[i]; w->ds[d] = w->ds[i];
        }
        if (d != i) w->size[i] = 1;
    }
}

/* a strided plane, in blocks of 16 x 16 so that a transposed copy reuses its cache lines */
#define PLANE(name, type) \
    static void name(const uint8_t *s, uint8_t *d, const int64_t *size, const int64_t *ss, const int64_t *ds) { \
        for (int64_t i0 = 0; i0 < size[0]; i0 += 16) \
            for (int64_t j0 = 0; j0 < size[1]; j0 += 16) { \
                int64_t i1 = i0 + 16 < size[0] ? i0 + 16 : size[0], j1 = j0 + 16 < size[1] ? j0 + 16 : size[1]; \
                for (int64_t i = i0; i < i1; i++) \
                    for (int64_t j = j0; j < j1; j++) \
                        *(type *)(d + i * ds[0] + j * ds[1]) = *(const type *)(s + i * ss[0] + j * ss[1]); \
            } \
    }
PLANE(plane1, uint8_t)
PLANE(plane2, u16_t)
PLANE(plane4, u32_t)
PLANE(plane8, u64_t)

static void copy_walk(const walk_t *given, int es) {
    walk_t w = *given;
    merge_walk(&w);
    for (int64_t i = 0; i < w.size[0]; i++)
        for (int64_t j = 0; j < w.size[1]; j++) {
            const uint8_t *s = w.src + i * w.ss[0] + j * w.ss[1];
            uint8_t *d = w.dst + i * w.ds[0] + j * w.ds[1];
            if (w.ss[3] == es && w.ds[3] == es)
                for (int64_t k = 0; k < w.size[2]; k++) memcpy(d + k * w.ds[2], s + k * w.ss[2], w.size[3] * es);
            else if (es == 1) plane1(s, d, w.size + 2, w.ss + 2, w.ds + 2);
            else if (es == 2) plane2(s, d, w.size + 2, w.ss + 2, w.ds + 2);
            else if (es == 4) plane4(s, d, w.size + 2, w.ss + 2, w.ds + 2);
            else plane8(s, d, w.size + 2, w.ss + 2, w.ds + 2);
        }
}

static inline int is_integer(int dtype) { return dtype >= DT_INT8 && dtype <= DT_UINT64; }

/* value of an integer element as sign and magnitude-free 64-bit pattern: `*big` marks uint64 above INT64_MAX */
static int64_t integer_at(const uint8_t *p, int dtype, int *big) {
    uint64_t v = 0;
    *big = 0;
    memcpy(&v, p, ns_dtype_size(dtype));
    switch (dtype) {
    case DT_INT8: return (int8_t)v;
    case DT_INT16: return (int16_t)v;
    case DT_INT32: return (int32_t)v;
    case DT_UINT64: *big = v >> 63; return (int64_t)v;
    default: return (int64_t)v;
    }
}

static int64_t saturate(int64_t v, int big, int dtype) {
    static const int64_t lo[8] = {INT8_MIN, 0, INT16_MIN, 0, INT32_MIN, 0, INT64_MIN, 0};
    static const int64_t hi[8] = {INT8_MAX, UINT8_MAX, INT16_MAX, UINT16_MAX, INT32_MAX, UINT32_MAX, INT64_MAX, INT64_MAX};
    int i = dtype - DT_INT8;
    if (big) return dtype == DT_UINT64 ? v : hi[i];
    return v < lo[i] ? lo[i] : v > hi[i] ? hi[i] : v;
}

static double double_at(const uint8_t *p, int dtype) {
    int big;
    double d;
    float f;
    if (dtype == DT_FP64) { memcpy(&d, p, 8); return d; }
    if (dtype == DT_UINT64) return (double)(uint64_t)integer_at(p, dtype, &big);
    if (is_integer(dtype)) return (double)integer_at(p, dtype, &big);
    load_run(p, 0, 1, dtype, &f);
    return f;
}

/* float64 to a 64-bit type */
static void put_wide(uint8_t *p, int dtype, double d) {
    if (dtype == DT_FP64) {
        uint64_t u = d != d ? 0x7ff8000000000000ull : as_bits64(d);
        memcpy(p, &u, 8);
        return;
    }
    double r = d != d ? 0.0 : nearbyint(d);
    int64_t v = r >= 0x1p63 ? INT64_MAX : r < -0x1p63 ? INT64_MIN : (int64_t)r;
    if (dtype == DT_UINT64) {
        uint64_t u = r <= 0 ? 0 : r >= 0x1p64 ? UINT64_MAX : (uint64_t)r;
        memcpy(p, &u, 8);
    } else memcpy(p, &v, 8);
}

static void cast_one(const uint8_t *s, int from, uint8_t *d, int to) {
    int big;
    if (is_integer(from) && is_integer(to)) {
        int64_t v = integer_at(s, from, &big);
        v = saturate(v, big, to);
        memcpy(d, &v, ns_dtype_size(to));
    } else if (ns_dtype_size(to) == 8) {
        put_wide(d, to, double_at(s, from));
    } else {
        float f;
        if (from == DT_INT64 || from == DT_UINT64 || from == DT_FP64) {
            int64_t v = from == DT_INT64 ? integer_at(s, from, &big) : 0;
            uint64_t u = from == DT_UINT64 ? (uint64_t)integer_at(s, from, &big) : 0;
            f = from == DT_INT64 ? (float)v : from == DT_UINT64 ? (float)u : (float)double_at(s, from);
        } else load_run(s, 0, 1, from, &f);
        store_run(d, 0, 1, to, &f);
    }
}

static void cast_run(const uint8_t *s, int64_t ss, int from, uint8_t *d, int64_t ds, int to, int64_t n, float *x) {
    int wide = ns_dtype_size(from) == 8 || ns_dtype_size(to) == 8 || (is_integer(from) && is_integer(to));
    if (wide) {
        for (int64_t i = 0; i < n; i++) cast_one(s + i * ss, from, d + i * ds, to);
        return;
    }
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t m = n - i < CHUNK ? n - i : CHUNK;
        load_run(s + i * ss, ss, m, from, x);
        store_run(d + i * ds, ds, m, to, x);
    }
}

static void add_run(const uint8_t *s, int64_t ss, int from, uint8_t *d, int64_t ds, int to, int64_t n, float *x) {
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t m = n - i < CHUNK ? n - i : CHUNK;
        load_run(d + i * ds, ds, m, to, x);
        load_run(s + i * ss, ss, m, from, x + CHUNK);
        for (int64_t j = 0; j < m; j++) x[j] = x[j] + x[CHUNK + j];
        store_run(d + i * ds, ds, m, to, x);
    }
}

static void move(const descriptor_t *d, const walk_t *w, float *x) {
    if (d->op != DMA_OP_ADD && d->src_dtype == d->dst_dtype) {
        copy_walk(w, ns_dtype_size(d->src_dtype));
        return;
    }
    for (int64_t i = 0; i < w->size[0]; i++)
        for (int64_t j = 0; j < w->size[1]; j++)
            for (int64_t k = 0; k < w->size[2]; k++) {
                const uint8_t *s = w->src + i * w->ss[0] + j * w->ss[1] + k * w->ss[2];
                uint8_t *t = w->dst + i * w->ds[0] + j * w->ds[1] + k * w->ds[2];
                if (d->op == DMA_OP_ADD) add_run(s, w->ss[3], d->src_dtype, t, w->ds[3], d->dst_dtype, w->size[3], x);
                else cast_run(s, w->ss[3], d->src_dtype, t, w->ds[3], d->dst_dtype, w->size[3], x);
            }
}

/* gather and scatter: dimension 0 steps through the indices; an index outside 0 .. limit-1 skips its row */
static void indexed(const descriptor_t *d, const memory_t *m, const uint8_t *sample, walk_t *w, float *x) {
    int64_t rows = w->size[0], istep = ns_step(m, 0, d->index_step), ss = w->ss[0], ds = w->ds[0];
    const uint8_t *indices = sample ? sample : ns_address(m, 0, d->index_off), *src = w->src;
    uint8_t *dst = w->dst;
    if (sample) istep = 4;
    w->size[0] = 1;
    for (int64_t i = 0; i < rows; i++) {
        int32_t index;
        memcpy(&index, indices + i * istep, 4);
        if (index < 0 || (uint32_t)index >= d->index_limit) continue;
        w->src = src + (d->op == DMA_OP_GATHER && !sample ? index : i) * ss;
        w->dst = dst + (d->op == DMA_OP_SCATTER ? index : i) * ds;
        move(d, w, x);
    }
}

static void dma(const descriptor_t *d, const memory_t *m, const uint8_t *sample, void *scratch) {
    walk_t w = {.src = ns_address(m, d->src_var, d->src_off), .dst = ns_address(m, d->dst_var, d->dst_off)};
    int index = d->op == DMA_OP_GATHER || d->op == DMA_OP_SCATTER;
    int64_t dense = ns_dtype_size(d->src_dtype);
    for (int i = 3; i >= 0; i--) {
        w.size[i] = d->size[i];
        w.ss[i] = sample ? dense : ns_step(m, d->src_var, d->src_step[i]);
        w.ds[i] = ns_step(m, d->dst_var, d->dst_step[i]);
        dense *= d->size[i];
    }
    if (sample) w.src = sample + (index ? ((int64_t)d->size[0] * 4 + 7) / 8 * 8 : 0);
    if (index) indexed(d, m, sample, &w, scratch);
    else move(d, &w, scratch);
}
