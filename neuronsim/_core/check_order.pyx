# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Order of events of one core: greedy execution of the streams, and vector clocks over necessary posts.

Both work on flat arrays (`neuronsim/check/flat.py`): words of all engines concatenated in engine order, "op" = position
in that order; a transfer has the op of its `dma_trigger`. The meaning is in `neuronsim/check/happens_before.py`.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset

import numpy as np

cdef enum:
    ENGINES = 5
    SEMAPHORES = 65536


def execute(const int64_t[::1] offsets, const int32_t[:, ::1] wait_sem, const int64_t[:, ::1] wait_val,
            const int32_t[::1] post_sem, const int64_t[::1] post_inc):
    """Run the engines greedily, one word each in turn.

    Semaphores only grow, so what this run cannot execute no run can. Returns (order int32[executed], next int64[5]:
    the op each engine stands at, semaphore int64[65536]).
    """
    cdef Py_ssize_t n = offsets[ENGINES], done = 0, i
    cdef int e, k
    cdef bint progress = True, ready
    order_array = np.empty(n, dtype=np.int32)
    position_array = np.array(offsets[:ENGINES], dtype=np.int64)
    value_array = np.zeros(SEMAPHORES, dtype=np.int64)
    cdef int32_t[::1] order = order_array
    cdef int64_t[::1] position = position_array, value = value_array
    with nogil:
        while progress:
            progress = False
            for e in range(ENGINES):
                i = position[e]
                if i >= offsets[e + 1]:
                    continue
                ready = True
                for k in range(2):
                    if wait_sem[i, k] and value[wait_sem[i, k]] < wait_val[i, k]:
                        ready = False
                if not ready:
                    continue
                if post_sem[i]:
                    value[post_sem[i]] += post_inc[i]
                order[done] = <int32_t>i
                done += 1
                position[e] = i + 1
                progress = True
    return order_array[:done], position_array, value_array


cdef struct Learned:  # what transfers an engine knows to be complete, in the order it came to know
    int32_t *index  # word of the engine that first knew
    int32_t *op     # the transfer
    Py_ssize_t n
    Py_ssize_t room


cdef class Clocks:
    """Vector clocks of the start of every word.

    retired[op, f], started[op, f]: how many words of engine f are surely retired / started when word `op` starts
    (`started` of its own engine includes itself). complete[e, t]: index in engine e of the first word that starts after
    the whole of transfer number t; a large number when none does.
    """

    cdef readonly object retired, started, complete
    cdef int32_t[:, ::1] r, s, k
    cdef const int64_t[::1] offsets
    cdef const int32_t[::1] engine, transfer
    cdef Learned learned[ENGINES]
    cdef Py_ssize_t taken[ENGINES][ENGINES]

    def __cinit__(self, const int64_t[::1] offsets, const int32_t[::1] engine, const int32_t[::1] transfer,
                  Py_ssize_t transfers):
        cdef Py_ssize_t n = offsets[ENGINES]
        memset(self.learned, 0, sizeof(self.learned))
        memset(self.taken, 0, sizeof(self.taken))
        self.offsets, self.engine, self.transfer = offsets, engine, transfer
        self.retired = np.zeros((n, ENGINES), dtype=np.int32)
        self.started = np.zeros((n, ENGINES), dtype=np.int32)
        self.complete = np.full((ENGINES, max(transfers, 1)), 2**31 - 1, dtype=np.int32)
        self.r, self.s, self.k = self.retired, self.started, self.complete

    def __dealloc__(self):
        cdef int e
        for e in range(ENGINES):
            free(self.learned[e].index)
            free(self.learned[e].op)

    cdef int learn(self, int e, Py_ssize_t i, Py_ssize_t op) except -1 nogil:
        cdef Learned *mine = &self.learned[e]
        cdef int32_t t = self.transfer[op]
        if self.k[e, t] <= i:
            return 0
        if mine.n == mine.room:
            mine.room = mine.room * 2 + 64
            mine.index = <int32_t *>realloc(mine.index, mine.room * sizeof(int32_t))
            mine.op = <int32_t *>realloc(mine.op, mine.room * sizeof(int32_t))
            if mine.index == NULL or mine.op == NULL:
                with gil:
                    raise MemoryError
        self.k[e, t] = <int32_t>i
        mine.index[mine.n] = <int32_t>i
        mine.op[mine.n] = <int32_t>op
        mine.n += 1
        return 0

    cdef int begin(self, Py_ssize_t op) except -1 nogil:
        """The clock of a word before its waits: what its predecessor in the stream knew."""
        cdef int e = self.engine[op], f
        cdef Py_ssize_t first = self.offsets[e]
        if op > first:
            for f in range(ENGINES):
                self.r[op, f] = self.r[op - 1, f]
                self.s[op, f] = self.s[op - 1, f]
        self.s[op, e] = <int32_t>(op - first + 1)
        return 0

    cdef bint knows(self, Py_ssize_t op, Py_ssize_t post) noexcept nogil:
        """Does the start of word `op` come after the end of `post` (word retired, or transfer complete)?"""
        cdef int e = self.engine[post]
        if self.transfer[post] >= 0:
            return self.k[self.engine[op], self.transfer[post]] <= op - self.offsets[self.engine[op]]
        return self.r[op, e] > post - self.offsets[e]

    cdef bint post_after(self, Py_ssize_t q, Py_ssize_t p) noexcept nogil:
        """Does the post of `q` come after the end of `p`, whatever else happens?"""
        if self.transfer[q] < 0 and self.transfer[p] < 0 and self.engine[q] == self.engine[p]:
            return q > p
        return self.knows(q, p)

    cdef int join(self, Py_ssize_t op, Py_ssize_t post) except -1 nogil:
        """Word `op` starts after the end of `post`: take over what is known there."""
        cdef int e = self.engine[op], f, g = self.engine[post]
        cdef Py_ssize_t i = op - self.offsets[e], j = post - self.offsets[g], at
        cdef bint is_transfer = self.transfer[post] >= 0
        for f in range(ENGINES):
            if self.r[post, f] > self.r[op, f]:
                self.r[op, f] = self.r[post, f]
            if self.s[post, f] > self.s[op, f]:
                self.s[op, f] = self.s[post, f]
        if not is_transfer and self.r[op, g] < j + 1:
            self.r[op, g] = <int32_t>(j + 1)
        if g != e:
            at = self.taken[e][g]
            while at < self.learned[g].n and self.learned[g].index[at] <= j:
                self.learn(e, i, self.learned[g].op[at])
                at += 1
            self.taken[e][g] = at
        if is_transfer:
            self.learn(e, i, post)
        return 0

    def before(self, Py_ssize_t a, Py_ssize_t b):
        """Is the end of op `a` before the start of op `b` in every execution (no credit for same-engine interlock)?"""
        return bool(self.knows(b, a))


cdef struct Posts:  # posts to one semaphore in the order of the greedy run
    const int32_t *op
    const int64_t *before  # sum of the earlier posts, n + 1 values
    Py_ssize_t n


cdef Py_ssize_t _necessary_in_order(Posts *posts, const int32_t[::1] transfer, int64_t value) noexcept nogil:
    """How many of the posts are necessary for the value when they can only come in this order."""
    cdef Py_ssize_t low = 0, high = posts.n, middle
    cdef int64_t without
    while low < high:
        middle = (low + high) // 2
        without = posts.before[middle]
        if transfer[posts.op[middle]] >= 0:  # the last of its equal shares is missing
            without = posts.before[middle + 1] - 1
        if without < value:
            low = middle + 1
        else:
            high = middle
    return low


cdef bint _is_necessary(Posts *posts, Py_ssize_t which, Py_ssize_t word, int64_t value, Clocks old) noexcept nogil:
    """Is `value` out of reach for the posts that need neither this post nor the waiting word itself?"""
    cdef Py_ssize_t j, p = posts.op[which], q
    cdef int64_t reach = 0, inc
    cdef int e = old.engine[word]
    cdef Py_ssize_t index = word - old.offsets[e]
    for j in range(posts.n):
        q = posts.op[j]
        inc = posts.before[j + 1] - posts.before[j]
        if j == which:
            inc = inc - 1 if old.transfer[p] >= 0 else 0
        elif q == word or old.s[q, e] > index or old.post_after(q, p):
            continue
        reach += inc
        if reach >= value:
            return False
    return True


def clocks(const int64_t[::1] offsets, const int32_t[::1] engine, const int32_t[::1] transfer, Py_ssize_t transfers,
           const int32_t[::1] order, const int32_t[:, ::1] wait_sem, const int64_t[:, ::1] wait_val,
           const int32_t[::1] post_op, const int64_t[::1] post_before, const int64_t[::1] post_start,
           const uint8_t[::1] in_order, Clocks old):
    """One pass: the clocks that follow from the necessary posts of every wait.

    Posts of semaphore s are post_op[post_start[s]:post_start[s+1]], their running sums post_before, which has one
    extra entry per semaphore (offset by s). `in_order[s]`: these posts can only come in this order, so a prefix is
    necessary; otherwise necessity is decided with the `old` clocks.
    """
    cdef Clocks new = Clocks(offsets, engine, transfer, transfers)
    cdef Py_ssize_t at, op, m, j
    cdef Py_ssize_t semaphores = post_start.shape[0] - 1
    cdef int kk, e
    cdef int32_t sem
    cdef Posts posts
    cdef int32_t *known = <int32_t *>malloc(max(semaphores, 1) * ENGINES * sizeof(int32_t))
    if known == NULL:
        raise MemoryError
    memset(known, 0, max(semaphores, 1) * ENGINES * sizeof(int32_t))
    try:
        with nogil:
            for at in range(order.shape[0]):
                op = order[at]
                e = engine[op]
                new.begin(op)
                for kk in range(2):
                    sem = wait_sem[op, kk]
                    if sem == 0 or sem >= semaphores or wait_val[op, kk] == 0:
                        continue
                    posts.op = &post_op[post_start[sem]]
                    posts.before = &post_before[post_start[sem] + sem]
                    posts.n = post_start[sem + 1] - post_start[sem]
                    m = _necessary_in_order(&posts, transfer, wait_val[op, kk])
                    j = m - 1
                    if in_order[sem]:
                        while j >= known[sem * ENGINES + e]:
                            if not new.knows(op, posts.op[j]):
                                new.join(op, posts.op[j])
                            j -= 1
                        if m > known[sem * ENGINES + e]:
                            known[sem * ENGINES + e] = <int32_t>m
                        continue
                    while j >= 0:
                        if not new.knows(op, posts.op[j]) and _is_necessary(&posts, j, op, wait_val[op, kk], old):
                            new.join(op, posts.op[j])
                        j -= 1
    finally:
        free(known)
    return new


def posts_in_order(Clocks clocks, const int32_t[::1] post_op, const int64_t[::1] post_start, uint8_t[::1] in_order):
    """Clear in_order[s] where two neighbouring posts of semaphore s may come in either order. Returns how many."""
    cdef Py_ssize_t sem, j, cleared = 0
    for sem in range(post_start.shape[0] - 1):
        if not in_order[sem]:
            continue
        for j in range(post_start[sem], post_start[sem + 1] - 1):
            if not clocks.post_after(post_op[j + 1], post_op[j]):
                in_order[sem] = 0
                cleared += 1
                break
    return cleared
