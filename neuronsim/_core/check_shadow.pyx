# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Shadow memory scan: reads of bytes never written and the state of PSUM groups (`neuronsim/check/initialised.py`)."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from neuronsim._core.check_access cimport MATMUL, PARTIAL, START, STOP, WRITE, Access

cdef enum Fault:
    NONE = 0
    UNWRITTEN = 1
    OPEN_READ = 2
    OPEN_WRITE = 3
    OPEN_START = 4
    NOT_STARTED = 5
    CLOSED = 6
    FOREIGN = 7
    TWO_GROUPS = 8

FAULTS = {
    UNWRITTEN: "UNWRITTEN", OPEN_READ: "OPEN_READ", OPEN_WRITE: "OPEN_WRITE", OPEN_START: "OPEN_START",
    NOT_STARTED: "NOT_STARTED", CLOSED: "CLOSED", FOREIGN: "FOREIGN", TWO_GROUPS: "TWO_GROUPS",
}

cdef struct Hit:  # extent of one kind of fault inside one access
    int64_t lo
    int64_t hi
    uint64_t part[2]
    int32_t other


cdef class Shadow:
    """State of every granule of SBUF, PSUM and the tracked DRAM variables while ops run in executed order.

    A granule is a number of bytes that divides every address and length used in that memory. SBUF and PSUM hold one bit
    per partition; DRAM variables a byte. PSUM granules also hold, per 32 partitions, the group that wrote them last.
    """

    cdef const Access *accesses
    cdef const int64_t[::1] granule
    cdef uint64_t[:, ::1] sbuf, psum, pe
    cdef int32_t[:, ::1] group
    cdef uint8_t[::1] open
    cdef list dram
    cdef uint8_t[::1] variable
    cdef uint64_t mask[2]
    cdef Hit hit[9]
    cdef int32_t current  # group an accumulating matmul was found to belong to, 0: none yet

    cdef void note(self, int fault, int64_t g, uint64_t m0, uint64_t m1, int32_t other) noexcept nogil:
        cdef Hit *hit = &self.hit[fault]
        if hit.part[0] == 0 and hit.part[1] == 0:
            hit.lo, hit.other = g, other
        hit.lo = min(hit.lo, g)
        hit.hi = max(hit.hi, g + 1)
        hit.part[0] |= m0
        hit.part[1] |= m1

    cdef void note_word(self, int fault, int64_t g, int w, uint64_t m, int32_t other) noexcept nogil:
        self.note(fault, g, m if w == 0 else 0, m if w == 1 else 0, other)

    cdef void sbuf_granule(self, const Access *a, int64_t g) noexcept nogil:
        cdef int w
        cdef uint64_t missing
        for w in range(2):
            if not a.flags & WRITE:
                missing = self.mask[w] & ~self.sbuf[g, w]
                if missing:
                    self.note_word(UNWRITTEN, g, w, missing, -1)
            if not a.flags & PARTIAL:
                self.sbuf[g, w] |= self.mask[w]

    cdef void psum_granule(self, const Access *a, int64_t g) noexcept nogil:
        cdef int q, w
        cdef uint64_t m, mine
        for q in range(4):
            w = q >> 1
            m = self.mask[w] & (<uint64_t>0xFFFFFFFF << (32 * (q & 1)))
            if m == 0:
                continue
            mine = m & self.pe[g, w] if self.open[self.group[g, q]] else 0  # what is part of an open group
            if a.flags & MATMUL:
                self.matmul_granule(a, g, q, m, mine)
            elif a.flags & WRITE:
                if mine:
                    self.note_word(OPEN_WRITE, g, w, mine, self.group[g, q] - 1)
                if not a.flags & PARTIAL:
                    self.psum[g, w] |= m
                    self.pe[g, w] &= ~m
            else:
                if mine:
                    self.note_word(OPEN_READ, g, w, mine, self.group[g, q] - 1)
                if m & ~self.psum[g, w]:
                    self.note_word(UNWRITTEN, g, w, m & ~self.psum[g, w], -1)
                self.psum[g, w] |= m

    cdef void matmul_granule(self, const Access *a, int64_t g, int q, uint64_t m, uint64_t mine) noexcept nogil:
        cdef int w = q >> 1
        cdef uint64_t missing = m & ~mine
        if a.flags & START:
            if mine:
                self.note_word(OPEN_START, g, w, mine, self.group[g, q] - 1)
            self.group[g, q] = a.op + 1
        elif missing:
            if missing & ~self.psum[g, w]:
                self.note_word(NOT_STARTED, g, w, missing & ~self.psum[g, w], -1)
            elif missing & ~self.pe[g, w]:
                self.note_word(FOREIGN, g, w, missing & ~self.pe[g, w], -1)
            else:
                self.note_word(CLOSED, g, w, missing, self.group[g, q] - 1)
            self.group[g, q] = a.op + 1
            self.open[a.op + 1] = 1
        elif self.current == 0:
            self.current = self.group[g, q]
        elif self.group[g, q] != self.current:
            self.note_word(TWO_GROUPS, g, w, m, self.group[g, q] - 1)
        self.psum[g, w] |= m
        self.pe[g, w] |= m

    cdef void dram_granule(self, const Access *a, int64_t g) noexcept nogil:
        if not a.flags & WRITE and not self.variable[g]:
            self.note(UNWRITTEN, g, 1, 0, -1)
        if not a.flags & PARTIAL:
            self.variable[g] = 1

    cdef void run_of(self, const Access *a, int64_t byte) noexcept nogil:
        """All granules of one contiguous run."""
        cdef int64_t size = self.granule[a.mem], g
        for g in range(byte // size, (byte + a.run + size - 1) // size):
            if a.mem == 0:
                self.sbuf_granule(a, g)
            elif a.mem == 1:
                self.psum_granule(a, g)
            else:
                self.dram_granule(a, g)

    cdef void scan(self, const Access *a) noexcept nogil:
        """Apply one access to the shadow, noting faults in `hit`."""
        cdef int32_t at[4]
        cdef int64_t byte = a.lo
        cdef int d, w
        for d in range(9):
            self.hit[d].part[0] = self.hit[d].part[1] = 0
            self.hit[d].hi = 0
        for w in range(2):
            self.mask[w] = _bits(a.p0 - 64 * w, a.p1 - 64 * w)
        self.current = 0
        for d in range(4):
            at[d] = 0
        while True:
            self.run_of(a, byte)
            d = a.dims - 1
            while d >= 0:
                at[d] += 1
                byte += a.step[d]
                if at[d] < a.size[d]:
                    break
                byte -= a.step[d] * a.size[d]
                at[d] = 0
                d -= 1
            if d < 0:
                break
        if a.flags & MATMUL:
            if a.flags & START:
                self.open[a.op + 1] = 1
                self.current = a.op + 1
            if a.flags & STOP:
                self.open[self.current] = 0
                self.open[a.op + 1] = 0

    cdef int collect(self, Py_ssize_t number, list found) except -1:
        cdef int fault
        cdef int64_t size = self.granule[self.accesses[number].mem]
        for fault in range(1, 9):
            if self.hit[fault].part[0] or self.hit[fault].part[1]:
                parts = int(self.hit[fault].part[0]) | int(self.hit[fault].part[1]) << 64
                first = (parts & -parts).bit_length() - 1
                found.append((FAULTS[fault], number, self.hit[fault].lo * size, self.hit[fault].hi * size,
                              first, parts.bit_length(), self.hit[fault].other))
        return 0


cdef uint64_t _bits(int first, int last) noexcept nogil:
    """Bits first .. last - 1 of a 64-bit word; both may lie outside."""
    first, last = max(first, 0), min(last, 64)
    if first >= last:
        return 0
    return (<uint64_t>0xFFFFFFFFFFFFFFFF >> (64 - (last - first))) << first


def scan(const uint8_t[::1] records, const int64_t[::1] access_of, const int32_t[::1] order,
         const int64_t[::1] granule, uint64_t[:, ::1] sbuf, uint64_t[:, ::1] psum, uint64_t[:, ::1] pe,
         int32_t[:, ::1] group, uint8_t[::1] open_groups, list dram, Py_ssize_t limit):
    """Faults (name, access, first byte, end byte, first partition, end partition, other op or -1), at most `limit`.

    `granule[m]` is the granule of memory m, 0 when it is not tracked; `sbuf`, `psum` are bits of written partitions per
    granule, `pe` bits last written by the tensor engine, `group[g, 4]` 1 + op of the group's first matmul per 32
    partitions, `open_groups` one byte per op and one more; `dram[k]` a byte per granule of variable k or None.
    """
    cdef Shadow shadow = Shadow()
    cdef const Access *accesses = <const Access *>&records[0] if records.shape[0] else NULL
    cdef const Access *a
    cdef Py_ssize_t at, i, op, fault
    cdef int write, variable = -1
    cdef list found = []
    shadow.accesses, shadow.granule = accesses, granule
    shadow.sbuf, shadow.psum, shadow.pe, shadow.group, shadow.open = sbuf, psum, pe, group, open_groups
    for at in range(order.shape[0]):
        op = order[at]
        for write in range(2):  # reads first
            for i in range(access_of[op], access_of[op + 1]):
                a = &accesses[i]
                if granule[a.mem] == 0 or (a.flags & WRITE) != write:
                    continue
                if a.mem > 1 and a.mem != variable:
                    variable = a.mem
                    shadow.variable = dram[variable - 2]
                with nogil:
                    shadow.scan(a)
                for fault in range(1, 9):
                    if shadow.hit[fault].part[0] or shadow.hit[fault].part[1]:
                        shadow.collect(i, found)
                        break
                if len(found) >= limit:
                    return found
    return found
