/* Operands of an instruction word as strided views of host memory, and the tables shared by all CPU levels.
 *
 * A view has merged free dimensions: `step` in bytes, outermost first; `count` elements per partition.
 */
#ifndef NEURONSIM_VIEW_H
#define NEURONSIM_VIEW_H

#include <stdint.h>

#include "../word.h"

enum {
    DT_FP32 = 1, DT_BF16 = 2, DT_FP16 = 3, DT_TF32 = 4, DT_E4M3 = 5, DT_E5M2 = 6, DT_INT8 = 8, DT_UINT8 = 9,
    DT_INT16 = 10, DT_UINT16 = 11, DT_INT32 = 12, DT_UINT32 = 13, DT_INT64 = 14, DT_UINT64 = 15, DT_FP64 = 16,
    DT_BOOL = 17
};

enum {
    OP_LOAD_STATIONARY = 0x01, OP_MATMUL = 0x02, OP_TENSOR_TENSOR = 0x10, OP_TENSOR_SCALAR = 0x11,
    OP_SCALAR_TENSOR_TENSOR = 0x12, OP_TENSOR_SCALAR_REDUCE = 0x13, OP_TENSOR_REDUCE = 0x14, OP_TENSOR_COPY = 0x15,
    OP_COPY_PREDICATED = 0x16, OP_RECIPROCAL = 0x17, OP_MEMSET = 0x18, OP_BN_STATS = 0x19, OP_BN_AGGR = 0x1a,
    OP_ACTIVATION = 0x30, OP_ACTIVATION_REDUCE = 0x31, OP_NOP = 0x40, OP_DMA_TRIGGER = 0x41
};

typedef struct {
    uint8_t *base;
    int64_t pitch; /* bytes from one partition to the next */
    int64_t step[4]; /* bytes */
    int64_t size[4];
    int64_t count;
    int dims, partitions, dtype, esize;
} view_t;

typedef struct {
    view_t dst, src0, src1, ptr0, ptr1;
} args_t;

typedef struct {
    uint8_t *sbuf, *psum;
    int64_t sbuf_pitch, psum_pitch;
    uint8_t *const *variables; /* by id - 1 */
} memory_t;

/* A stationary matrix as fp32 [K][STATIONARY_PITCH]; columns past M, to a whole tile, are zero. */
typedef struct {
    int32_t k, m, dtype;
    uint8_t pad[52];
    float rows[];
} stationary_t;

/* the pitch, in floats, is an odd number of cache lines: the rows of a column do not share cache sets */
enum { STATIONARY_PITCH = 144, PANEL_COLUMNS = 48, CHUNK = 1024 };
enum { STATIONARY_BYTES = 64 + 4 * 128 * STATIONARY_PITCH };
enum { DMA_OP_COPY, DMA_OP_CAST, DMA_OP_TRANSPOSE, DMA_OP_GATHER, DMA_OP_SCATTER, DMA_OP_ADD };
/* scratch of one thread: a panel of the moving operand, or chunks of rows */
enum { SCRATCH_BYTES = 4 * (128 * PANEL_COLUMNS + 32) + 4 * 4 * CHUNK };

typedef struct {
    const char *name;
    void (*load_stationary)(const view_t *src, stationary_t *out);
    /* columns n0 .. n1-1 (n0 a multiple of 32) of the product of `stationary` and `moving` */
    void (*matmul)(const word_t *w, const args_t *a, const stationary_t *s, int n0, int n1, void *scratch);
    void (*engine)(const word_t *w, const args_t *a, void *scratch);
    void (*dma)(const descriptor_t *d, const memory_t *m, const uint8_t *sample, void *scratch);
    double (*bare_tile)(const float *a, const float *b, int k, int repeats, float *out);
    void (*load_row)(const view_t *v, int p, int64_t start, int64_t n, float *out);
    void (*store_row)(const view_t *v, int p, int64_t start, int64_t n, const float *in);
} kernels_t;

extern const kernels_t ns_kernels_baseline;
#if defined(__x86_64__)
extern const kernels_t ns_kernels_avx2, ns_kernels_avx512;
#endif

/* dispatch.c: the level named by NEURONSIM_CPU or the best the host has; NULL when the name is unknown or not supported */
const kernels_t *ns_select_kernels(const char *name);

/* view.c */
int ns_dtype_size(int dtype);
int ns_reads_src1(const word_t *w);
void ns_operand_view(const memory_t *m, const operand_t *o, view_t *v);
void ns_resolve(const memory_t *m, const word_t *w, const uint8_t *sample, args_t *a);
int64_t ns_sample_bytes(const word_t *w);
void ns_sample_word(const memory_t *m, const word_t *w, uint8_t *out);
int64_t ns_descriptor_sample_bytes(const descriptor_t *d);
void ns_sample_descriptor(const memory_t *m, const descriptor_t *d, uint8_t *out);
void ns_take_partitions(args_t *a, int p0, int p1);
/* whether a word of that engine is computed here; else by its numpy meaning */
int ns_has_kernel(const word_t *w, int engine);
/* host address of an SBUF (variable 0) or DRAM byte, and of a step between two of them */
uint8_t *ns_address(const memory_t *m, uint32_t variable, uint64_t offset);
int64_t ns_step(const memory_t *m, uint32_t variable, int64_t step);

#endif
