/* What an action reads and writes, as boxes of memory; each box is also a range of coarse cells. */
#ifndef NEURONSIM_ACCESS_H
#define NEURONSIM_ACCESS_H

#include "values.h"

enum { READS = 1, WRITES = 2 };

/* Bounding box of one access: bytes lo .. hi-1 of partitions p0 .. p1 of a place (SBUF, PSUM, slot, DRAM variable). */
typedef struct {
    int64_t lo, hi, p0, p1;
    int64_t place;
    int64_t base, c0, c1; /* cells base + c (linear) or base + 4 c + quadrant */
    int quads;            /* mask of 32-partition groups, 0: linear */
} box_t;

enum { PLACE_SBUF, PLACE_PSUM, PLACE_SLOT, PLACE_VARIABLE };

typedef struct visitor {
    void (*box)(struct visitor *v, const box_t *b);   /* when set, called instead of `cell` */
    void (*cell)(struct visitor *v, int64_t cell);
    const executor_t *e;
    int64_t action;
} visitor_t;

/* Visit what an action READS or WRITES at its place in the order. */
void ns_visit(visitor_t *v, const action_t *a, int what);
/* Bytes lo .. hi-1 reached from the start of an operand. */
void ns_extent(const operand_t *o, int64_t *lo, int64_t *hi);

static inline int boxes_overlap(const box_t *x, const box_t *y) {
    return x->place == y->place && x->lo < y->hi && y->lo < x->hi && x->p0 <= y->p1 && y->p0 <= x->p1;
}

#endif
