/* C mirror of isa/word.py: the instruction word and the DMA descriptor, 128 bytes each.
 *
 * Streams are numpy arrays of these records, read in place. tests/neuronsim/test_timing_layout.py compares every
 * offset with the numpy dtypes.
 */
#ifndef NEURONSIM_WORD_H
#define NEURONSIM_WORD_H

#include <stddef.h>
#include <stdint.h>

enum { SPACE_NONE = 0, SPACE_SBUF = 1, SPACE_PSUM = 2, SPACE_MASK = 3 };

typedef struct {
    uint32_t start; /* byte offset inside the partition */
    uint8_t partition;
    uint8_t partitions;
    uint8_t dtype;
    uint8_t space; /* bits 0-1: memory */
    int16_t step[4]; /* elements, outermost first */
    uint16_t size[4];
} operand_t;

typedef struct {
    uint32_t start;
    uint8_t partition;
    uint8_t dtype;
    uint8_t space;
    uint8_t zero;
} pointer_t;

typedef struct {
    uint8_t opcode;
    uint8_t flags;
    uint8_t op0;
    uint8_t op1;
    uint8_t func;
    uint8_t axes;
    uint16_t count;
    uint32_t debug;
    float imm0;
    float imm1;
    uint16_t wait_sem[2];
    uint32_t wait_val[2];
    uint16_t post_sem;
    uint16_t post_inc;
    uint32_t arg;
    pointer_t ptr0;
    pointer_t ptr1;
    operand_t dst;
    operand_t src0;
    operand_t src1;
} word_t;

typedef struct {
    uint8_t op;
    uint8_t src_dtype;
    uint8_t dst_dtype;
    uint8_t flags;
    uint32_t debug;
    uint32_t src_var;
    uint32_t dst_var;
    uint64_t src_off; /* bytes */
    uint64_t dst_off;
    uint32_t size[4]; /* elements, outermost first */
    int64_t src_step[4]; /* bytes */
    int64_t dst_step[4];
    uint64_t index_off;
    int32_t index_step;
    uint32_t index_limit;
} descriptor_t;

_Static_assert(sizeof(operand_t) == 24 && sizeof(pointer_t) == 8, "operand layout");
_Static_assert(sizeof(word_t) == 128 && sizeof(descriptor_t) == 128, "record layout");

#endif
