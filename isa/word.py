"""Layout of the two fixed-width records of a program: the instruction word and the DMA descriptor, 128 bytes each.

A stream is one numpy structured array of `WORD`, mapped straight from the file: decoding is a view, not a loop. The C
structs of `neuronsim/_core/word.h` mirror these dtypes; a test compares offsets.

Operands. Shapes and steps of the free dimensions are outermost first; unused dimensions stand in front with size 1 and
step 0. `start` is a byte offset inside the partition; steps count elements. An absent operand is all zeros.

Waits. `wait_sem[k] = 0` means no wait; otherwise the instruction starts only when semaphore `wait_sem[k]` is at least
`wait_val[k]`. `post_sem = 0` means no post; otherwise `post_inc` is added when the instruction has retired (engines
retire in order). For `dma_trigger` the post is made by the DMA engines: each of the 16 adds one when its share of the
transfer is done, so the semaphore rises by 16 in all.
"""
from __future__ import annotations

import numpy as np

WORD_BYTES = 128
PARTITIONS = 128  # rows of SBUF and PSUM; source: nki/guides/architecture/trainium_inferentia2_arch.rst

# `space` byte of operands and pointers
NONE, SBUF, PSUM = 0, 1, 2
SPACE_NAMES = {SBUF: "sbuf", PSUM: "psum"}

# order of the engines everywhere: streams, traces, reports, tie-breaking
ENGINES: tuple[str, ...] = ("tensor", "vector", "scalar", "gpsimd", "sync")

OPERAND = np.dtype(
    [
        ("start", "<u4"),  # byte offset inside the partition
        ("partition", "u1"),  # first partition
        ("partitions", "u1"),  # how many, 1..128
        ("dtype", "u1"),  # isa.dtypes code
        ("space", "u1"),  # bits 0-1 memory; bits 2-7 base register + 1 (0: none)
        ("step", "<i2", (4,)),  # elements, outermost first
        ("size", "<u2", (4,)),  # elements, outermost first
    ]
)
POINTER = np.dtype(  # a [P, 1] column: one element in each partition of the destination
    [("start", "<u4"), ("partition", "u1"), ("dtype", "u1"), ("space", "u1"), ("zero", "u1")]
)
WORD = np.dtype(
    [
        ("opcode", "u1"),
        ("flags", "u1"),
        ("op0", "u1"),
        ("op1", "u1"),
        ("func", "u1"),
        ("axes", "u1"),
        ("count", "<u2"),
        ("debug", "<u4"),  # row of the debug table, 0: none
        ("imm0", "<f4"),
        ("imm1", "<f4"),
        ("wait_sem", "<u2", (2,)),
        ("wait_val", "<u4", (2,)),
        ("post_sem", "<u2"),
        ("post_inc", "<u2"),
        ("arg", "<u4"),
        ("ptr0", POINTER),
        ("ptr1", POINTER),
        ("dst", OPERAND),
        ("src0", OPERAND),
        ("src1", OPERAND),
    ]
)

# DMA side addresses: a variable id (>= 1) is DRAM, byte offset into it; id 0 is SBUF, where the 64-bit address is
# partition * SBUF_PARTITION_STRIDE + byte. The stride is a fixed power of two, so that descriptors do not depend on how
# much SBUF a generation has.
SBUF_VARIABLE = 0
SBUF_PARTITION_STRIDE = 1 << 18

# descriptor operations
DMA_COPY, DMA_CAST, DMA_TRANSPOSE, DMA_GATHER, DMA_SCATTER, DMA_ADD = 0, 1, 2, 3, 4, 5
DMA_OPS: tuple[str, ...] = ("copy", "cast", "transpose", "gather", "scatter", "add")

DESCRIPTOR = np.dtype(
    [
        ("op", "u1"),
        ("src_dtype", "u1"),
        ("dst_dtype", "u1"),
        ("flags", "u1"),
        ("debug", "<u4"),
        ("src_var", "<u4"),
        ("dst_var", "<u4"),
        ("src_off", "<u8"),  # bytes
        ("dst_off", "<u8"),
        ("size", "<u4", (4,)),  # elements, outermost first; one iteration space for both sides
        ("src_step", "<i8", (4,)),  # bytes
        ("dst_step", "<i8", (4,)),
        ("index_off", "<u8"),  # gather / scatter: SBUF address of int32 indices, one per step of dimension 0,
        ("index_step", "<i4"),  # bytes between two indices (SBUF address units); the index replaces dimension 0's count
        ("index_limit", "<u4"),  # valid indices are 0 .. index_limit - 1
    ]
)

assert OPERAND.itemsize == 24 and POINTER.itemsize == 8
assert WORD.itemsize == WORD_BYTES and DESCRIPTOR.itemsize == WORD_BYTES
