# cython: language_level=3
"""One access of one op: a box of partitions times a strided byte pattern; `neuronsim/check/regions.py` has the dtype."""
from libc.stdint cimport int32_t, int64_t

cdef enum:
    WRITE = 1
    PARTIAL = 2      # writes an unknown part of its pattern
    MATMUL = 4
    START = 8
    STOP = 16

cdef struct Access:
    int64_t lo       # first byte
    int64_t hi       # one past the last byte
    int64_t run      # contiguous bytes
    int64_t step[4]  # bytes, largest first
    int32_t size[4]
    int32_t op
    int32_t mem      # 0 sbuf, 1 psum, 2 + k DRAM variable k
    int32_t p0
    int32_t p1
    int32_t dims
    int32_t flags

cdef bint overlap(const Access *a, const Access *b) noexcept nogil
