# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Strided byte patterns: normal form and the exact overlap test (`neuronsim/check/regions.py`)."""
from libc.stdint cimport int32_t, int64_t, uint8_t


def record_bytes():
    """Size of one access record, to be compared with the numpy dtype."""
    return sizeof(Access)


def normalise(uint8_t[::1] records):
    """Bring patterns into normal form in place.

    In: `lo` first element's byte, `run` element bytes, `step` bytes (any sign) and `size` of four dimensions.
    Out: positive steps, largest first, only dimensions with more than one step, contiguous ones folded into `run`;
    `lo`, `hi` bound the bytes. A pattern with an empty dimension gets hi = lo.
    """
    cdef Py_ssize_t i, n = records.shape[0] // sizeof(Access)
    cdef Access *a = NULL
    if n:
        a = <Access *>&records[0]
    with nogil:
        for i in range(n):
            _normalise(&a[i])


cdef void _normalise(Access *a) noexcept nogil:
    cdef int64_t step[4]
    cdef int32_t size[4]
    cdef int64_t s
    cdef int32_t z
    cdef int d, k, dims = 0
    cdef bint empty = False
    for d in range(4):
        s, z = a.step[d], a.size[d]
        a.step[d], a.size[d] = 0, 1
        if z == 0:
            empty = True
        if z <= 1 or s == 0:
            continue
        if s < 0:
            a.lo += s * (z - 1)
            s = -s
        k = dims
        while k > 0 and step[k - 1] < s:  # insert, largest step first
            step[k], size[k] = step[k - 1], size[k - 1]
            k -= 1
        step[k], size[k] = s, z
        dims += 1
    while dims and step[dims - 1] <= a.run:
        a.run += step[dims - 1] * (size[dims - 1] - 1)
        dims -= 1
    k = 0
    for d in range(dims):
        if k and a.step[k - 1] == step[d] * size[d]:
            a.step[k - 1] = step[d]
            a.size[k - 1] *= size[d]
        else:
            a.step[k], a.size[k] = step[d], size[d]
            k += 1
    a.dims = k
    a.hi = a.lo if empty else a.lo + a.run
    if not empty:
        for d in range(k):
            a.hi += a.step[d] * (a.size[d] - 1)


cdef bint _meet(const Access *a, int da, int64_t la, int64_t ea, const Access *b, int db, int64_t lb,
                int64_t eb) noexcept nogil:
    """Do the patterns from dimension da at byte la (extent ea) and db at lb (extent eb) share a byte?"""
    cdef int64_t step, inner, first, last
    if la >= lb + eb or lb >= la + ea:
        return False
    if da == a.dims and db == b.dims:
        return True
    if db < b.dims and (da == a.dims or eb > ea):
        return _meet(b, db, lb, eb, a, da, la, ea)
    step = a.step[da]
    inner = ea - step * (a.size[da] - 1)
    first, last = lb - la - inner + 1, lb + eb - 1 - la  # offsets of a's slices that can touch b
    first = 0 if first <= 0 else (first + step - 1) // step
    last = min(last // step, <int64_t>(a.size[da] - 1))
    while first <= last:
        if _meet(a, da + 1, la + first * step, inner, b, db, lb, eb):
            return True
        first += 1
    return False


cdef bint overlap(const Access *a, const Access *b) noexcept nogil:
    """Do two accesses touch a common byte?"""
    if a.mem != b.mem or a.p0 >= b.p1 or b.p0 >= a.p1:
        return False
    return _meet(a, 0, a.lo, a.hi - a.lo, b, 0, b.lo, b.hi - b.lo)


def overlaps(const uint8_t[::1] records, Py_ssize_t i, Py_ssize_t j):
    """Do accesses i and j of the array touch a common byte?"""
    cdef const Access *a = <const Access *>&records[0]
    return bool(overlap(&a[i], &a[j]))
