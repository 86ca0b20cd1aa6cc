/* Reductions along the free dimensions and batch-norm statistics. Numpy twins: neuronsim/insns/reduction.py, statistics.py. */

/* elements start .. start+n-1 of row p reduced in the stated lane order */
static float reduce_range(int op, const view_t *v, int p, int64_t start, int64_t n, float *x) {
    float lanes[LANES];
    lanes_start(op, lanes);
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t m = n - i < CHUNK ? n - i : CHUNK;
        load_row(v, p, start + i, m, x);
        lanes_add(op, lanes, x, m);
    }
    return lanes_fold(op, lanes);
}

/* n reductions of `inner` <= CHUNK / n neighbouring elements of x, all at once in the lane order: lanes [LANES][n].
 * Lanes without elements hold the identity, which changes nothing, and are left out. */
static float *reduce_groups(int op, const float *restrict x, int64_t inner, int64_t n, float *restrict lanes, float *restrict column) {
    int64_t used = 1;
    while (used < inner && used < LANES) used *= 2;
    for (int64_t i = 0; i < inner; i++) {
        float *to = i < LANES ? lanes + i * n : column;
        for (int64_t c = 0; c < n; c++) to[c] = x[c * inner + i];
        if (i >= LANES) alu_rows(op, 0, n, lanes + i % LANES * n, column);
    }
    for (int64_t i = inner * n; i < used * n; i++) lanes[i] = lane_identity(op);
    for (int64_t h = used / 2; h; h /= 2) alu_rows(op, 0, h * n, lanes, lanes + h * n);
    return lanes;
}

static void tensor_reduce_groups(const word_t *w, const args_t *a, int64_t inner, float *x) {
    int64_t outer = a->src0.count / inner, group = CHUNK / (inner > LANES ? inner : LANES);
    for (int p = 0; p < a->dst.partitions; p++)
        for (int64_t o = 0; o < outer; o += group) {
            int64_t n = outer - o < group ? outer - o : group;
            load_row(&a->src0, p, o * inner, n * inner, x);
            float *out = reduce_groups(w->op0, x, inner, n, x + CHUNK, x + 2 * CHUNK);
            if (w->flags & 1) for (int64_t i = 0; i < n; i++) out[i] = -out[i];
            store_row(&a->dst, p, o, n, out);
        }
}

static void tensor_reduce(const word_t *w, const args_t *a, float *x) {
    int64_t inner = 1;
    for (int i = 0; i < w->axes && i < 4; i++) inner *= w->src0.size[3 - i];
    int64_t outer = a->src0.count / inner;
    float *out = x + CHUNK;
    if (outer > 1 && inner <= 4 * LANES) {
        tensor_reduce_groups(w, a, inner, x);
        return;
    }
    for (int p = 0; p < a->dst.partitions; p++)
        for (int64_t o = 0; o < outer; o += CHUNK) {
            int64_t n = outer - o < CHUNK ? outer - o : CHUNK;
            for (int64_t i = 0; i < n; i++) {
                float r = reduce_range(w->op0, &a->src0, p, (o + i) * inner, inner, x);
                out[i] = w->flags & 1 ? -r : r;
            }
            store_row(&a->dst, p, o, n, out);
        }
}

static void tensor_scalar_reduce(const word_t *w, const args_t *a, float *x) {
    float lanes[LANES];
    for (int p = 0; p < a->dst.partitions; p++) {
        float s = scalar_operand(&a->ptr0, w->imm0, p);
        lanes_start(w->op1, lanes);
        for (int64_t i = 0; i < a->dst.count; i += CHUNK) {
            int64_t n = a->dst.count - i < CHUNK ? a->dst.count - i : CHUNK;
            load_row(&a->src0, p, i, n, x);
            alu_scalar(w->op0, w->flags & 1, n, x, s);
            lanes_add(w->op1, lanes, x, n);
            store_row(&a->dst, p, i, n, x);
        }
        lanes_fold(w->op1, lanes);
        store_row(&a->src1, p, 0, 1, lanes);
    }
}

/* count, mean, count * variance of n values */
static void statistics(float *x, int n, float *out) {
    float lanes[LANES], mean;
    lanes_start(1, lanes);
    lanes_add(1, lanes, x, n);
    mean = n ? lanes_fold(1, lanes) / (float)n : 0.0f;
    for (int i = 0; i < n; i++) x[i] = (x[i] - mean) * (x[i] - mean);
    lanes_start(1, lanes);
    lanes_add(1, lanes, x, n);
    out[0] = (float)n;
    out[1] = mean;
    out[2] = n ? lanes_fold(1, lanes) : 0.0f;
}

static void bn_stats(const args_t *a, float *x) {
    float out[6], *half = x + CHUNK;
    int n = (int)a->src0.count;
    for (int p = 0; p < a->dst.partitions; p++) {
        load_row(&a->src0, p, 0, n, x);
        for (int odd = 0; odd < 2; odd++) {
            int m = (n + 1 - odd) / 2;
            for (int i = 0; i < m; i++) half[i] = x[2 * i + odd];
            statistics(half, m, out + 3 * odd);
        }
        store_row(&a->dst, p, 0, 6, out);
    }
}

static void bn_aggr(const args_t *a, float *x) {
    int64_t triples = a->src0.count / 3, block = CHUNK / 3;
    for (int p = 0; p < a->dst.partitions; p++) {
        float count = 0.0f, sum = 0.0f, squares = 0.0f, out[2];
        for (int pass = 0; pass < 2; pass++)
            for (int64_t t = 0; t < triples; t += block) {
                int64_t n = triples - t < block ? triples - t : block;
                load_row(&a->src0, p, 3 * t, 3 * n, x);
                for (const float *e = x; e < x + 3 * n; e += 3) {
                    if (!pass) { count = count + e[0]; sum = sum + e[0] * e[1]; continue; }
                    float d = e[1] - sum / count;
                    squares = squares + (e[2] + e[0] * (d * d));
                }
            }
        out[0] = sum / count;
        out[1] = squares / count;
        store_row(&a->dst, p, 0, 2, out);
    }
}
