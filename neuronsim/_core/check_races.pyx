# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Race scan: every access against the earlier ones it may conflict with (`neuronsim/check/races.py`)."""
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free, realloc


from neuronsim._core.check_access cimport WRITE, Access, overlap

cdef enum:
    ENGINES = 5
    LONG = 48  # a bucket list longer than this is searched for entries everybody knows


cdef struct Bucket:
    int32_t *item  # access numbers
    int32_t n
    int32_t room
    int32_t long_at


cdef class Scan:
    """Scoreboard of accesses that a later access may still race with, in buckets of bytes."""

    cdef const Access *accesses
    cdef const int32_t[:, ::1] retired, complete
    cdef const int32_t[::1] engine, transfer
    cdef const int64_t[::1] offsets, last_access, last_transfer, base
    cdef int32_t[::1] stamp  # access -> latest access it was compared with
    cdef const int32_t[::1] shift
    cdef Bucket *buckets
    cdef Py_ssize_t count
    cdef bint prune
    cdef Py_ssize_t position[ENGINES]  # last op seen of each engine, -1: none
    cdef list found
    cdef Py_ssize_t limit
    cdef readonly Py_ssize_t tested

    def __cinit__(self, Py_ssize_t count):
        self.count = count
        self.buckets = <Bucket *>calloc(max(count, 1), sizeof(Bucket))
        if self.buckets == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.count):
            free(self.buckets[i].item)
        free(self.buckets)

    cdef bint before(self, Py_ssize_t a, Py_ssize_t b) noexcept nogil:
        """Is the end of op a before the start of op b?"""
        cdef int e = self.engine[a]
        if self.transfer[a] >= 0:
            return self.complete[self.engine[b], self.transfer[a]] <= b - self.offsets[self.engine[b]]
        return self.retired[b, e] > a - self.offsets[e]

    cdef bint ordered(self, Py_ssize_t a, Py_ssize_t b) noexcept nogil:
        """Is an earlier op a ordered before b, counting the interlock between words of one engine?"""
        if self.engine[a] == self.engine[b] and self.transfer[a] < 0 and self.transfer[b] < 0:
            return True
        return self.before(a, b)

    cdef bint known_to_all(self, Py_ssize_t a) noexcept nogil:
        """Does everything still to come start after op a?"""
        cdef int e
        for e in range(ENGINES):
            if self.last_access[e] <= self.position[e]:
                continue  # no access left on this engine
            if e == self.engine[a] and self.transfer[a] < 0 and self.last_transfer[e] <= self.position[e]:
                continue  # what is left there are words: interlocked
            if self.position[e] < 0 or not self.before(a, self.position[e]):
                return False
        return True

    cdef bint covers(self, const Access *x, const Access *a, int64_t lo, int64_t hi) noexcept nogil:
        """Does x touch every byte of a between lo and hi?"""
        cdef int d
        if x.p0 > a.p0 or x.p1 < a.p1:
            return False
        if x.dims == 0:
            return x.lo <= max(a.lo, lo) and x.hi >= min(a.hi, hi)
        if x.lo != a.lo or x.run != a.run or x.dims != a.dims:
            return False
        for d in range(x.dims):
            if x.step[d] != a.step[d] or x.size[d] != a.size[d]:
                return False
        return True

    cdef int visit(self, Py_ssize_t number) except -1 nogil:
        """Compare one access with those on the scoreboard, and drop those it makes redundant."""
        cdef const Access *x = &self.accesses[number]
        cdef const Access *a
        cdef int shift = self.shift[x.mem]
        cdef Py_ssize_t b, first = x.lo >> shift, last = (x.hi - 1) >> shift, i, keep
        cdef Bucket *bucket
        cdef bint after, touching
        for b in range(first, last + 1):
            bucket = &self.buckets[self.base[x.mem] + b]
            keep = 0
            for i in range(bucket.n):
                a = &self.accesses[bucket.item[i]]
                bucket.item[keep] = bucket.item[i]
                keep += 1
                if a.op == x.op or a.p0 >= x.p1 or x.p0 >= a.p1:
                    continue
                touching = a.lo < x.hi and x.lo < a.hi
                if not touching:
                    continue
                after = self.ordered(a.op, x.op)
                if not after:
                    if (x.flags | a.flags) & WRITE and self.stamp[bucket.item[i]] != number:
                        self.stamp[bucket.item[i]] = <int32_t>number
                        self.tested += 1
                        if overlap(a, x):
                            with gil:
                                self.found.append((bucket.item[i], number))
                                if len(self.found) >= self.limit:
                                    return 1
                elif self.prune and (x.flags & WRITE or not a.flags & WRITE) and \
                        self.covers(x, a, <int64_t>b << shift, <int64_t>(b + 1) << shift):
                    keep -= 1
            bucket.n = <int32_t>keep
        return 0

    cdef int insert(self, Py_ssize_t number) except -1 nogil:
        cdef const Access *x = &self.accesses[number]
        cdef int shift = self.shift[x.mem]
        cdef Py_ssize_t b, i, keep
        cdef Bucket *bucket
        for b in range(x.lo >> shift, ((x.hi - 1) >> shift) + 1):
            bucket = &self.buckets[self.base[x.mem] + b]
            if self.prune and bucket.n >= max(bucket.long_at, LONG):
                keep = 0
                for i in range(bucket.n):
                    if not self.known_to_all(self.accesses[bucket.item[i]].op):
                        bucket.item[keep] = bucket.item[i]
                        keep += 1
                bucket.n = <int32_t>keep
                bucket.long_at = 2 * bucket.n
            if bucket.n == bucket.room:
                bucket.room = 2 * bucket.room + 8
                bucket.item = <int32_t *>realloc(bucket.item, bucket.room * sizeof(int32_t))
                if bucket.item == NULL:
                    with gil:
                        raise MemoryError
            bucket.item[bucket.n] = <int32_t>number
            bucket.n += 1
        return 0

    cdef list run(self, const int32_t[::1] order, const int64_t[::1] access_of):
        cdef Py_ssize_t at, op, i
        cdef int e
        for e in range(ENGINES):
            self.position[e] = -1
        with nogil:
            for at in range(order.shape[0]):
                op = order[at]
                self.position[self.engine[op]] = op
                for i in range(access_of[op], access_of[op + 1]):
                    if self.visit(i):
                        with gil:
                            return self.found
                for i in range(access_of[op], access_of[op + 1]):
                    self.insert(i)
        return self.found


def races(const uint8_t[::1] records, const int64_t[::1] access_of, const int32_t[::1] order, clocks,
          const int64_t[::1] offsets, const int32_t[::1] engine, const int32_t[::1] transfer,
          const int64_t[::1] last_access, const int64_t[::1] last_transfer, const int64_t[::1] base, const int32_t[::1] shift,
          int32_t[::1] stamp, Py_ssize_t buckets, Py_ssize_t limit, bint prune):
    """Pairs (earlier access, later access) in executed order that conflict and are not ordered; at most `limit`.

    Accesses of op i are records access_of[i]:access_of[i+1]. Bytes of memory m fall into buckets base[m] +
    (byte >> shift[m]); `stamp` has one entry per access, all -1. With `prune` an access is forgotten once a later one stands for it, so at least one race is
    found wherever there is one; without it every conflicting unordered pair is.
    """
    cdef Scan scan = Scan(buckets)
    scan.accesses = <const Access *>&records[0] if records.shape[0] else NULL
    scan.retired, scan.complete = clocks.retired, clocks.complete
    scan.engine, scan.transfer, scan.offsets, scan.last_access = engine, transfer, offsets, last_access
    scan.last_transfer, scan.stamp, scan.base, scan.shift = last_transfer, stamp, base, shift
    scan.prune, scan.limit, scan.found = prune, limit, []
    return scan.run(order, access_of)
