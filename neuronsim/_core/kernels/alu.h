/* ALU operators of the vector and scalar engines on fp32 rows. Numpy twin: neuronsim/insns/alu.py. */

static inline float alu_max(float x, float y) {
    float r = x > y ? x : y;
    r = x == y ? as_float(as_bits(x) & as_bits(y)) : r;
    r = y != y ? y : r;
    return x != x ? x : r;
}
static inline float alu_min(float x, float y) {
    float r = x < y ? x : y;
    r = x == y ? as_float(as_bits(x) | as_bits(y)) : r;
    r = y != y ? y : r;
    return x != x ? x : r;
}
static inline float alu_abs(float x) { return as_float(as_bits(x) & 0x7fffffff); }

#define EACH_BINARY(X) \
    X(1, x + y) X(2, x - y) X(3, x * y) X(4, alu_max(x, y)) X(5, alu_min(x, y)) X(6, (float)(x == y)) \
    X(7, (float)(x != y)) X(8, (float)(x >= y)) X(9, (float)(x > y)) X(10, (float)(x <= y)) X(11, (float)(x < y)) \
    X(12, (float)((x != 0) & (y != 0))) X(13, (float)((x != 0) | (y != 0))) X(14, (float)((x != 0) ^ (y != 0))) \
    X(15, (float)d_power(x, y)) X(16, alu_max(alu_abs(x), alu_abs(y))) X(17, alu_min(alu_abs(x), alu_abs(y))) \
    X(23, x / y)
#define EACH_UNARY(X) \
    X(18, alu_abs(x)) X(19, x * x) X(20, fn_relu(x)) X(21, fn_rsqrt(x)) X(22, 1.0f / x)

#define BINARY_CASE(code, expression) \
    case code: \
        for (int64_t i = 0; i < n; i++) { float x = a[i], y = b[i]; a[i] = expression; } \
        break;
#define SWAPPED_CASE(code, expression) \
    case code: \
        for (int64_t i = 0; i < n; i++) { float x = b[i], y = a[i]; a[i] = expression; } \
        break;
#define SCALAR_CASE(code, expression) \
    case code: \
        for (int64_t i = 0; i < n; i++) { float x = a[i], y = s; a[i] = expression; } \
        break;
#define SCALAR_SWAPPED_CASE(code, expression) \
    case code: \
        for (int64_t i = 0; i < n; i++) { float x = s, y = a[i]; a[i] = expression; } \
        break;
#define UNARY_CASE(code, expression) \
    case code: \
        for (int64_t i = 0; i < n; i++) { float x = a[i]; a[i] = expression; } \
        break;

/* a = a op b, or b op a when swapped; bypass and the unary operators look at a only */
static void alu_rows(int op, int swap, int64_t n, float *restrict a, const float *restrict b) {
    if (swap) switch (op) { EACH_BINARY(SWAPPED_CASE) EACH_UNARY(UNARY_CASE) default: break; }
    else switch (op) { EACH_BINARY(BINARY_CASE) EACH_UNARY(UNARY_CASE) default: break; }
}

static void alu_scalar(int op, int swap, int64_t n, float *restrict a, float s) {
    if (swap) switch (op) { EACH_BINARY(SCALAR_SWAPPED_CASE) EACH_UNARY(UNARY_CASE) default: break; }
    else switch (op) { EACH_BINARY(SCALAR_CASE) EACH_UNARY(UNARY_CASE) default: break; }
}

/* Reductions by add, mult, max, min: element i goes to lane i % 16 in order, then lanes fold 8, 4, 2, 1. */
enum { LANES = 16 };

static float lane_identity(int op) { return op == 1 ? -0.0f : op == 3 ? 1.0f : op == 4 ? -INFINITY : INFINITY; }

static void lanes_start(int op, float *lanes) {
    for (int j = 0; j < LANES; j++) lanes[j] = lane_identity(op);
}

#define LANE_LOOP(combine) \
    for (; i + LANES <= n; i += LANES) \
        for (int j = 0; j < LANES; j++) { float x = lanes[j], y = in[i + j]; lanes[j] = combine; } \
    for (int j = 0; i < n; i++, j++) { float x = lanes[j], y = in[i]; lanes[j] = combine; }

/* `in` starts at a multiple of 16 elements from the start of the reduction */
static void lanes_add(int op, float *restrict lanes, const float *restrict in, int64_t n) {
    int64_t i = 0;
    switch (op) {
    case 1: LANE_LOOP(x + y) break;
    case 3: LANE_LOOP(x * y) break;
    case 4: LANE_LOOP(alu_max(x, y)) break;
    case 5: LANE_LOOP(alu_min(x, y)) break;
    default: break;
    }
}

static float lanes_fold(int op, float *lanes) {
    for (int h = LANES / 2; h; h /= 2)
        for (int j = 0; j < h; j++) alu_rows(op, 0, 1, lanes + j, lanes + j + h);
    return lanes[0];
}
