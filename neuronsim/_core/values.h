/* What the value executor works on: actions in order of effect, the program, the memories. */
#ifndef NEURONSIM_VALUES_H
#define NEURONSIM_VALUES_H

#include "kernels/view.h"

enum { ACT_EXECUTE = 0, ACT_SAMPLE = 1, ACT_LOAD = 2 };

/* Mirrors neuronsim/replay.py ACTION. */
typedef struct {
    int32_t op;     /* op id */
    int32_t kind;
    int32_t a, b;   /* part: columns (matmul), partitions (vector, scalar), descriptors of the transfer; 0, 0 = whole */
    int32_t slot;   /* stationary buffer of loads and matmuls */
    int32_t sample; /* number of the copied-aside sources, -1 none */
} action_t;

typedef int (*numpy_op_t)(void *context, int64_t op, const uint8_t *sample);

typedef struct {
    const kernels_t *kernels;
    memory_t memory;
    const word_t *streams[5];
    int64_t first[6];       /* op id of the first word of each engine's stream */
    const descriptor_t *descriptors;
    uint8_t *slots;         /* STATIONARY_BYTES each */
    int64_t slot_count;
    const action_t *actions;
    int64_t action_count;
    uint8_t **samples;
    numpy_op_t numpy_op;    /* runs the numpy meaning of a word without kernel; nonzero stops the run */
    void *context;
    /* accesses in cells: SBUF and PSUM 256 bytes x 32 partitions, slots, DRAM variables in blocks */
    int64_t psum_cell, slot_cell, cells;
    const int64_t *variable_cell; /* first cell of each written variable by id - 1, -1: never written */
    const int64_t *variable_shift; /* log2 of its block size */
    int64_t nonfinite;      /* op of the first new NaN or Inf, -1 none; looked for when `find_nonfinite` */
    int find_nonfinite;
} executor_t;

const word_t *ns_word(const executor_t *e, int64_t op);
int ns_engine(const executor_t *e, int64_t op);

/* plan.c */
int64_t ns_detect_samples(const executor_t *e, const int64_t *start, const int64_t *end, uint8_t *sampled);
/* Dependencies of the actions: `pending[i]` counts predecessors; successors of i are next[first[i] .. first[i+1]).
 * Returns 0, or -1 without memory. The caller frees *next. */
int ns_dependencies(const executor_t *e, int32_t *pending, int64_t *first, int32_t **next);

/* run.c */
int ns_run_serial(executor_t *e, void *scratch);
int ns_run_threads(executor_t *e, int threads, int32_t *pending, const int64_t *first, const int32_t *next);
int ns_execute(executor_t *e, const action_t *a, void *scratch);
/* nonfinite.c */
int ns_finite_sources(const executor_t *e, const action_t *a);
int ns_finite_results(const executor_t *e, const action_t *a);

#endif
