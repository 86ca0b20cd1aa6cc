/* One CPU level: included by the three kernel files, each under its own target, with LEVEL, HAVE_FMA and vector macros. */
#include "convert.h"
#include "functions.h"
#include "alu.h"
#include "pack.h"
#include "tile.h"
#include "matmul.h"
#include "elementwise.h"
#include "reduce.h"
#include "dma.h"

static void engine(const word_t *w, const args_t *a, void *scratch) {
    float *x = scratch, *y = x + CHUNK;
    switch (w->opcode) {
    case OP_TENSOR_TENSOR: tensor_tensor(w, a, x, y); break;
    case OP_TENSOR_SCALAR: tensor_scalar(w, a, x); break;
    case OP_SCALAR_TENSOR_TENSOR: scalar_tensor_tensor(w, a, x, y); break;
    case OP_TENSOR_SCALAR_REDUCE: tensor_scalar_reduce(w, a, x); break;
    case OP_TENSOR_REDUCE: tensor_reduce(w, a, x); break;
    case OP_TENSOR_COPY: tensor_copy(a, x); break;
    case OP_COPY_PREDICATED: tensor_copy_predicated(a, x); break;
    case OP_RECIPROCAL: reciprocal(a, x); break;
    case OP_MEMSET: memset_rows(w, a, x); break;
    case OP_BN_STATS: bn_stats(a, x); break;
    case OP_BN_AGGR: bn_aggr(a, x); break;
    case OP_ACTIVATION: case OP_ACTIVATION_REDUCE: activation(w, a, x); break;
    default: break;
    }
}

#define TABLE_NAME_(level) ns_kernels_##level
#define TABLE_NAME(level) TABLE_NAME_(level)
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

const kernels_t TABLE_NAME(LEVEL) = {
    .name = TEXT(LEVEL), .load_stationary = load_stationary, .matmul = matmul, .engine = engine, .dma = dma,
    .bare_tile = bare_tile, .load_row = load_row, .store_row = store_row,
};
