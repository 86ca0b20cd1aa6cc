/* Non-linear functions: float64 add, multiply, divide and square root only, in one fixed order, rounded once to fp32.
 * Numpy twin, with the error bound of each function: neuronsim/insns/functions.py. */
#include <math.h>

static inline double as_double(uint64_t u) { double d; memcpy(&d, &u, 8); return d; }
static inline uint64_t as_bits64(double d) { uint64_t u; memcpy(&u, &d, 8); return u; }

static const double LN2_HI = 0x1.62e42fefa38p-1, LN2_LO = 0x1.ef35793c7673p-45, MAGIC = 0x1.8p52;

/* p = c[0] + c[1] x + ... + c[n-1] x^(n-1) by Horner's rule */
static inline double horner(const double *c, int n, double x) {
    double p = c[n - 1];
#pragma GCC unroll 20
    for (int i = n - 2; i >= 0; i--) p = p * x + c[i];
    return p;
}

static const double EXP_C[12] = {1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320,
                                 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800};

/* e^x for |x| <= 700 (clamped): 2^n times a Taylor polynomial of degree 11 on |r| <= ln 2 / 2 */
static inline double d_exp(double x) {
    x = x > 700.0 ? 700.0 : x;
    x = x < -700.0 ? -700.0 : x;
    double t = x * 1.4426950408889634 + MAGIC, n = t - MAGIC;
    double r = (x - n * LN2_HI) - n * LN2_LO;
    return horner(EXP_C, 12, r) * as_double((as_bits64(t) + 1023) << 52);
}

static const double ATANH_C[14] = {2.0, 2.0 / 3, 2.0 / 5, 2.0 / 7, 2.0 / 9, 2.0 / 11, 2.0 / 13, 2.0 / 15, 2.0 / 17,
                                   2.0 / 19, 2.0 / 21, 2.0 / 23, 2.0 / 25, 2.0 / 27};

/* 2 atanh(s), |s| <= 1/3 */
static inline double d_atanh2(double s) { return horner(ATANH_C, 14, s * s) * s; }

/* ln x of a positive normal double: x = 2^e m, sqrt(1/2) <= m < sqrt(2) */
static inline double d_log_positive(double x) {
    uint64_t u = as_bits64(x) - 0x3fe6a09e667f3bcdull;
    double m = as_double((u & 0xfffffffffffffull) + 0x3fe6a09e667f3bcdull);
    /* exponent as a double without 64-bit conversions: biased by 1024, placed in the low bits of MAGIC */
    double e = as_double((((u >> 52) + 1024) & 0xfff) | 0x4330000000000000ull) - (0x1p52 + 1024.0);
    return e * LN2_HI + (d_atanh2((m - 1.0) / (m + 1.0)) + e * LN2_LO);
}

static inline double d_log(double x) {
    double y = d_log_positive(x);
    y = x == 0.0 ? -INFINITY : y;
    y = x == INFINITY ? x : y;
    return x < 0.0 || x != x ? NAN : y;
}

static const double ERFCX_C[19] = {
    1.2375126308377937, -0.1402405985848992, 0.003585415492439431, 0.08227673845044872, -0.10880393037451494,
    0.09230432187446842, -0.05869339557071301, 0.02836227155926427, -0.00974659951455914, 0.0017556520728242429,
    0.0002937898629192299, -0.00029022379047170056, 5.147039600108054e-05, 2.2498527461298323e-05,
    -1.1180703274712747e-05, -1.0893030779703113e-06, 1.509717537551057e-06, 1.2741706635944363e-08,
    -1.2659590750396315e-07};

/* e^(z^2) erfc(z) for z >= 0: polynomial in t = (z - 3.75) / (z + 3.75), divided by 1 + 2z */
static inline double d_erfcx(double z) { return horner(ERFCX_C, 19, (z - 3.75) / (z + 3.75)) / (1.0 + 2.0 * z); }

static inline double d_erfc_positive(double z) {
    z = z > 26.0 ? 26.0 : z;
    return d_erfcx(z) * d_exp(-(z * z));
}

static inline double d_abs(double x) { return as_double(as_bits64(x) & 0x7fffffffffffffffull); }


static const double ERF_C[12] = {1.0, -1.0 / 3, 1.0 / 10, -1.0 / 42, 1.0 / 216, -1.0 / 1320, 1.0 / 9360, -1.0 / 75600,
                                 1.0 / 685440, -1.0 / 6894720, 1.0 / 76204800, -1.0 / 918086400};

static inline double d_erf(double x) {
    double small = horner(ERF_C, 12, x * x) * x * 1.1283791670955126;
    double large = 1.0 - d_erfc_positive(d_abs(x));
    large = x < 0.0 ? -large : large;
    return d_abs(x) < 0.75 ? small : large;
}

static const double TANH_C[6] = {1.0, -1.0 / 3, 2.0 / 15, -17.0 / 315, 62.0 / 2835, -1382.0 / 155925};

static inline double d_tanh(double x) {
    double small = horner(TANH_C, 6, x * x) * x;
    double large = 1.0 - 2.0 / (d_exp(2.0 * x) + 1.0);
    return d_abs(x) < 0.125 ? small : large;
}

static inline double d_sigmoid(double x) { return 1.0 / (1.0 + d_exp(-x)); }

/* Below -200 (-40 for the erf form) gelu, silu and mish are -0 in fp32; the clamp keeps -inf from giving NaN. */
static inline double d_clamp(double x, double lo) { return x < lo ? lo : x; }

static inline double d_gelu(double x) {
    double c = d_clamp(x, -40.0), b = c > 40.0 ? 40.0 : c;
    double half = 0.5 * b * d_erfc_positive(d_abs(b) * 0.7071067811865476);
    return c < 0.0 ? half : c - half;
}

static inline double d_gelu_tanh(double x) {
    double c = d_clamp(x, -40.0), u = 0.7978845608028654 * (c + 0.044715 * (c * c * c));
    return c / (1.0 + d_exp(-2.0 * u));
}

static inline double d_silu(double x) {
    double c = d_clamp(x, -200.0);
    return c / (1.0 + d_exp(-c));
}

static inline double d_softplus(double x) {
    double u = d_exp(-d_abs(x));
    return d_clamp(x, 0.0) + d_atanh2(u / (2.0 + u));
}

static inline double d_mish(double x) {
    double c = d_clamp(x, -200.0), e = d_exp(c > 300.0 ? 300.0 : c), q = e * e + 2.0 * e;
    return c * (q / (q + 2.0));
}

static const double SIN_C[10] = {1.0, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800,
                                 1.0 / 6227020800.0, -1.0 / 1307674368000.0, 1.0 / 355687428096000.0,
                                 -1.0 / 121645100408832000.0};

/* |x| > 2^20 is outside the range: NaN */
static inline double d_sin(double x) {
    double t = x * 0.3183098861837907 + MAGIC, n = t - MAGIC;
    double r = ((x - n * 0x1.921fb544p+1) - n * 0x1.0b4611a6p-33) - n * 0x1.3198a2e037073p-68;
    double y = horner(SIN_C, 10, r * r) * r;
    y = as_double(as_bits64(y) ^ (as_bits64(t) << 63));
    return d_abs(x) <= 1048576.0 ? y : NAN;
}

static const double ATAN_C[16] = {1.0, -1.0 / 3, 1.0 / 5, -1.0 / 7, 1.0 / 9, -1.0 / 11, 1.0 / 13, -1.0 / 15, 1.0 / 17,
                                  -1.0 / 19, 1.0 / 21, -1.0 / 23, 1.0 / 25, -1.0 / 27, 1.0 / 29, -1.0 / 31};

static inline double d_arctan(double x) {
    double a = d_abs(x), y = a > 1.0 ? 1.0 / a : a;
    double z = y > 0.4142135623730951 ? (y - 1.0) / (y + 1.0) : y;
    double r = horner(ATAN_C, 16, z * z) * z;
    r = y > 0.4142135623730951 ? 0.7853981633974483 + r : r;
    r = a > 1.0 ? 1.5707963267948966 - r : r;
    return x < 0.0 ? -r : r;
}

/* x^y as C's pow defines its special cases, NaN for a negative base with a fractional exponent */
static inline double d_power(double x, double y) {
    double a = d_abs(x), b = d_clamp(y > 4e9 ? 4e9 : y, -4e9);
    double n = (b + MAGIC) - MAGIC, h = (0.5 * b + MAGIC) - MAGIC;
    double r = d_exp(y * d_log(a));
    r = a == INFINITY ? (y > 0.0 ? INFINITY : 0.0) : r;
    r = a == 0.0 ? (y > 0.0 ? 0.0 : INFINITY) : r;
    r = a == 1.0 ? 1.0 : r;
    r = (as_bits64(x) >> 63) && n == b && 2.0 * h != b ? -r : r;
    r = x < 0.0 && x != -INFINITY && n != b ? NAN : r;
    r = x != x || y != y ? NAN : r;
    return x == 1.0 || y == 0.0 ? 1.0 : r;
}

/* fp32 entry points */
static inline float fn_copy(float x) { return x; }
static inline float fn_relu(float x) { return x != x ? x : x > 0.0f ? x : 0.0f; }
static inline float fn_square(float x) { return x * x; }
static inline float fn_sigmoid(float x) { return (float)d_sigmoid(x); }
static inline float fn_tanh(float x) { return (float)d_tanh(x); }
static inline float fn_exp(float x) { return (float)d_exp(x); }
static inline float fn_log(float x) { return (float)d_log(x); }
static inline float fn_sqrt(float x) { return sqrtf(x); }
static inline float fn_rsqrt(float x) { return (float)(1.0 / sqrt((double)x)); }
static inline float fn_reciprocal(float x) { return 1.0f / x; }
static inline float fn_gelu(float x) { return (float)d_gelu(x); }
static inline float fn_gelu_tanh(float x) { return (float)d_gelu_tanh(x); }
static inline float fn_silu(float x) { return (float)d_silu(x); }
static inline float fn_softplus(float x) { return (float)d_softplus(x); }
static inline float fn_mish(float x) { return (float)d_mish(x); }
static inline float fn_erf(float x) { return (float)d_erf(x); }
static inline float fn_sin(float x) { return (float)d_sin(x); }
static inline float fn_arctan(float x) { return (float)d_arctan(x); }
static inline float fn_sign(float x) { return x != x ? x : (float)((x > 0.0f) - (x < 0.0f)); }
static inline float fn_abs(float x) { return as_float(as_bits(x) & 0x7fffffff); }

#define EACH_FUNCTION(X) \
    X(0, copy) X(1, relu) X(2, square) X(3, sigmoid) X(4, tanh) X(5, exp) X(6, log) X(7, sqrt) X(8, rsqrt) \
    X(9, reciprocal) X(10, gelu) X(11, gelu_tanh) X(12, silu) X(13, softplus) X(14, mish) X(15, erf) X(16, sin) \
    X(17, arctan) X(18, sign) X(19, abs)

#define FUNCTION_CASE(code, name) \
    case code: for (int64_t i = 0; i < n; i++) x[i] = fn_##name(x[i]); break;

/* x[i] = function(x[i]); `slope` is prelu's */
static void apply_function(int func, float slope, int64_t n, float *restrict x) {
    switch (func) {
        EACH_FUNCTION(FUNCTION_CASE)
    case 20: for (int64_t i = 0; i < n; i++) x[i] = x[i] < 0.0f ? slope * x[i] : x[i]; break;
    default: break;
    }
}
