/* Conversions between memory and fp32 rows: exact on read, rounded once (nearest even) on write, integers saturate.
 * A NaN written to a float type is the canonical quiet NaN. Numpy twin: neuronsim/insns/rounding.py. */
#include <string.h>

static inline float as_float(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
static inline uint32_t as_bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }

/* ---- to fp32 ---- */
static inline float from_fp32(uint32_t v) { return as_float(v); }
static inline float from_bf16(uint16_t v) { return as_float((uint32_t)v << 16); }
static inline float from_fp16(uint16_t h) {
    uint32_t e = h & 0x7fff;
    uint32_t u = as_bits(as_float(e << 13) * 0x1p112f);
    u = e >= 0x7c00 ? 0x7f800000u | e << 13 : u;
    return as_float(u | (uint32_t)(h & 0x8000) << 16);
}
static inline float from_e5m2(uint8_t v) { return from_fp16((uint16_t)(v << 8)); }
static inline float from_e4m3(uint8_t v) {
    uint32_t e = v & 0x7f;
    uint32_t u = as_bits(as_float(e << 20) * 0x1p120f);
    u = e == 0x7f ? 0x7fc00000u : u;
    return as_float(u | (uint32_t)(v & 0x80) << 24);
}
static inline uint32_t round_tf32(uint32_t u) {
    uint32_t r = (u + 0xfff + ((u >> 13) & 1)) & ~0x1fffu;
    return (u & 0x7fffffff) > 0x7f800000 ? 0x7fc00000u : r;
}
static inline float from_tf32(uint32_t v) { return as_float(round_tf32(v)); }
static inline float from_int8(uint8_t v) { return (float)(int8_t)v; }
static inline float from_uint8(uint8_t v) { return (float)v; }
static inline float from_int16(uint16_t v) { return (float)(int16_t)v; }
static inline float from_uint16(uint16_t v) { return (float)v; }
static inline float from_int32(uint32_t v) { return (float)(int32_t)v; }
static inline float from_uint32(uint32_t v) { return (float)v; }

/* ---- from fp32 ---- */
static inline uint32_t to_fp32(float f) { return f != f ? 0x7fc00000u : as_bits(f); }
static inline uint16_t to_bf16(float f) {
    uint32_t u = as_bits(f), r = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    return (uint16_t)(f != f ? 0x7fc0u : r);
}
/* A float with `m` mantissa bits and bias `b`; `top` is the code of any magnitude above the largest finite one. */
static inline uint32_t to_small(float f, int m, int b, uint32_t largest, uint32_t top, uint32_t nan) {
    uint32_t u = as_bits(f), a = u & 0x7fffffff, sign = (u >> 31) << (m + (b == 7 ? 4 : 5));
    int cut = 23 - m;
    uint32_t v = a - ((uint32_t)(127 - b) << 23);
    v = (v + ((1u << (cut - 1)) - 1) + ((v >> cut) & 1)) >> cut;
    float magic = as_float((uint32_t)(127 + 24 - b - m) << 23); /* its ulp is the smallest subnormal */
    uint32_t s = as_bits(as_float(a) + magic) - as_bits(magic);
    v = a < (uint32_t)(128 - b) << 23 ? s : v;
    v = (a >= 0x7f800000u || v > largest) ? top : v;
    return f != f || (top == nan && v == nan) ? nan : v | sign;
}
static inline uint16_t to_fp16(float f) { return (uint16_t)to_small(f, 10, 15, 0x7bff, 0x7c00, 0x7e00); }
static inline uint8_t to_e5m2(float f) { return (uint8_t)to_small(f, 2, 15, 0x7b, 0x7c, 0x7e); }
static inline uint8_t to_e4m3(float f) { return (uint8_t)to_small(f, 3, 7, 0x7e, 0x7f, 0x7f); }
static inline uint32_t to_tf32(float f) { return round_tf32(as_bits(f)); }
/* Round to nearest even integer inside [lo, hi]; NaN gives 0. */
static inline double to_range(float f, double lo, double hi) {
    double d = f != f ? 0.0 : (double)f;
    d = d < lo ? lo : d;
    d = d > hi ? hi : d;
    return (d + 0x1.8p52) - 0x1.8p52;
}
static inline uint8_t to_int8(float f) { return (uint8_t)(int32_t)to_range(f, -128, 127); }
static inline uint8_t to_uint8(float f) { return (uint8_t)(int32_t)to_range(f, 0, 255); }
static inline uint16_t to_int16(float f) { return (uint16_t)(int32_t)to_range(f, -32768, 32767); }
static inline uint16_t to_uint16(float f) { return (uint16_t)(int32_t)to_range(f, 0, 65535); }
static inline uint32_t to_int32(float f) { return (uint32_t)(int32_t)to_range(f, -2147483648.0, 2147483647.0); }
static inline uint32_t to_uint32(float f) { return (uint32_t)(int64_t)to_range(f, 0, 4294967295.0); }
static inline uint8_t to_bool(float f) { return f != 0; }
static inline float from_bool(uint8_t v) { return v ? 1.0f : 0.0f; }

#define EACH_TYPE(X) \
    X(DT_FP32, fp32, uint32_t) X(DT_BF16, bf16, uint16_t) X(DT_FP16, fp16, uint16_t) X(DT_TF32, tf32, uint32_t) \
    X(DT_E4M3, e4m3, uint8_t) X(DT_E5M2, e5m2, uint8_t) X(DT_INT8, int8, uint8_t) X(DT_UINT8, uint8, uint8_t) \
    X(DT_INT16, int16, uint16_t) X(DT_UINT16, uint16, uint16_t) X(DT_INT32, int32, uint32_t) \
    X(DT_UINT32, uint32, uint32_t) X(DT_BOOL, bool, uint8_t)

#define LOAD_CASE(code, name, type) \
    case code: \
        if (step == (int64_t)sizeof(type)) \
            for (int64_t i = 0; i < n; i++) { type v; memcpy(&v, src + i * sizeof(type), sizeof v); out[i] = from_##name(v); } \
        else \
            for (int64_t i = 0; i < n; i++) { type v; memcpy(&v, src + i * step, sizeof v); out[i] = from_##name(v); } \
        break;
#define STORE_CASE(code, name, type) \
    case code: \
        if (step == (int64_t)sizeof(type)) \
            for (int64_t i = 0; i < n; i++) { type v = to_##name(in[i]); memcpy(dst + i * sizeof(type), &v, sizeof v); } \
        else \
            for (int64_t i = 0; i < n; i++) { type v = to_##name(in[i]); memcpy(dst + i * step, &v, sizeof v); } \
        break;

static void load_run(const uint8_t *restrict src, int64_t step, int64_t n, int dtype, float *restrict out) {
    switch (dtype) { EACH_TYPE(LOAD_CASE) default: break; }
}

static void store_run(uint8_t *restrict dst, int64_t step, int64_t n, int dtype, const float *restrict in) {
    switch (dtype) { EACH_TYPE(STORE_CASE) default: break; }
}

/* Walks elements start .. start+n-1 of a row in runs of the innermost dimension. */
#define WALK(v, p, start, n, BODY) do { \
    const view_t *v_ = (v); \
    uint8_t *row_ = v_->base + (p) * v_->pitch; \
    int64_t left_ = (n), index_[4], rem_ = (start); \
    int last_ = v_->dims - 1; \
    for (int d_ = last_; d_ >= 0; d_--) { index_[d_] = rem_ % v_->size[d_]; rem_ /= v_->size[d_]; } \
    while (left_ > 0) { \
        uint8_t *at = row_; \
        for (int d_ = 0; d_ <= last_; d_++) at += index_[d_] * v_->step[d_]; \
        int64_t run = v_->size[last_] - index_[last_]; \
        if (run > left_) run = left_; \
        int64_t step = v_->step[last_]; \
        BODY; \
        left_ -= run; \
        index_[last_] = 0; \
        for (int d_ = last_ - 1; d_ >= 0 && ++index_[d_] == v_->size[d_]; d_--) index_[d_] = 0; \
    } } while (0)

static void load_row(const view_t *v, int p, int64_t start, int64_t n, float *out) {
    WALK(v, p, start, n, { load_run(at, step, run, v->dtype, out); out += run; });
}

static void store_row(const view_t *v, int p, int64_t start, int64_t n, const float *in) {
    WALK(v, p, start, n, { store_run(at, step, run, v->dtype, in); in += run; });
}

static inline float load_one(const view_t *v, int p) {
    float f;
    load_run(v->base + p * v->pitch, v->esize, 1, v->dtype, &f);
    return f;
}
