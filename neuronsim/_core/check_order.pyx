# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Order of events of one core: greedy execution of the streams, and vector clocks over necessary posts.

Both work on flat arrays (`neuronsim/check/flat.py`): words of all engines concatenated in engine order, "op" = position
in that order; a transfer has the op of its `dma_trigger`. The meaning is in `neuronsim/check/happens_before.py`.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

import numpy as np

cdef enum:  # what is known of the posts to a semaphore
    UNORDERED = 0
    IN_ORDER = 1
    HOPELESS = 2

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


cdef struct Posts:  # posts to one semaphore in the order of the greedy run
    const int32_t *op
    const int64_t *before  # sum of the earlier posts, n + 1 values
    int64_t *needing       # sum of the visited posts that come after each; kept for semaphores not in order
    Py_ssize_t n
    Py_ssize_t visited     # how many the current pass has visited


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

    cdef int wait_in_order(self, Py_ssize_t op, Posts *posts, int64_t value, int32_t *known) except -1 nogil:
        """Join the necessary posts when they can only come in this order: a prefix, of which `known` were joined."""
        cdef Py_ssize_t m = _necessary_in_order(posts, self.transfer, value), j = m - 1
        while j >= known[0]:
            if not self.knows(op, posts.op[j]):
                self.join(op, posts.op[j])
            j -= 1
        known[0] = max(known[0], <int32_t>m)
        return 0

    cdef int wait(self, Py_ssize_t op, Posts *posts, int64_t value, Clocks old) except -1 nogil:
        """Join the necessary posts, decided one by one: without it the others that need neither it nor op fall short.

        Visited posts cannot need op, and their clocks are new; those of the others are old (None: all need op).
        """
        cdef Py_ssize_t j = _necessary_in_order(posts, self.transfer, value) - 1, later, p
        cdef int64_t others = 0, reach, inc
        for later in range(posts.visited, posts.n):
            if old is not None and not old.needs_start(posts.op[later], op):
                others += posts.before[later + 1] - posts.before[later]
        while j >= 0:
            p = posts.op[j]
            inc = posts.before[j + 1] - posts.before[j]
            reach = posts.before[posts.visited] + others - posts.needing[j]
            reach -= 1 if self.transfer[p] >= 0 else inc  # of a transfer's equal posts the last one is missing
            if reach - others < value and not self.knows(op, p):
                if others and reach >= value:
                    for later in range(posts.visited, posts.n):
                        if not old.needs_start(posts.op[later], op) and old.post_after(posts.op[later], p):
                            reach -= posts.before[later + 1] - posts.before[later]
                if reach < value:
                    self.join(op, p)
            j -= 1
        return 0

    cdef int wait_for_all(self, Py_ssize_t op, Posts *posts, int64_t value) except -1 nogil:
        """Join only the posts that are missed even if all others are made; needs no clocks."""
        cdef Py_ssize_t j
        cdef int64_t inc
        for j in range(posts.visited):
            inc = 1 if self.transfer[posts.op[j]] >= 0 else posts.before[j + 1] - posts.before[j]
            if posts.before[posts.n] - inc < value and not self.knows(op, posts.op[j]):
                self.join(op, posts.op[j])
        return 0

    cdef bint needs_start(self, Py_ssize_t q, Py_ssize_t word) noexcept nogil:
        """Does the post of q come after the start of the word?"""
        cdef int e = self.engine[word]
        return q == word or self.s[q, e] > word - self.offsets[e]

    cdef uint8_t visit(self, Posts *posts, uint8_t state) noexcept nogil:
        """Take note of the next post, whose clock is final in this pass. Returns the semaphore's new state."""
        cdef Py_ssize_t j = posts.visited, i, first = j
        posts.visited += 1
        if state == HOPELESS:
            return HOPELESS
        if state == IN_ORDER:
            if j == 0 or self.post_after(posts.op[j], posts.op[j - 1]):
                return IN_ORDER
            first = 1  # out of order from here on: count for all visited pairs
        while first <= j:
            for i in range(first):
                if self.post_after(posts.op[first], posts.op[i]):
                    posts.needing[i] += posts.before[first + 1] - posts.before[first]
            first += 1
        return UNORDERED

    def before(self, Py_ssize_t a, Py_ssize_t b):
        """Is the end of op `a` before the start of op `b` in every execution (no credit for same-engine interlock)?"""
        return bool(self.knows(b, a))


def clocks(const int64_t[::1] offsets, const int32_t[::1] engine, const int32_t[::1] transfer, Py_ssize_t transfers,
           const int32_t[::1] order, const int32_t[:, ::1] wait_sem, const int64_t[:, ::1] wait_val,
           const int32_t[::1] post_sem, const int32_t[::1] post_op, const int64_t[::1] post_before,
           const int64_t[::1] post_start, uint8_t[::1] state, Clocks old):
    """One pass: the clocks that follow from the necessary posts of every wait. Returns (clocks, states changed).

    Posts of semaphore s are post_op[post_start[s]:post_start[s+1]], their running sums post_before, which has one
    extra entry per semaphore (offset by s). `state[s]` 1: these posts can only come in this order, so a prefix is
    necessary; it becomes 0 where the new clocks do not confirm it. With 0 necessity is decided with the new clocks of
    posts already visited and the `old` ones of those to come; with 2 a post counts only if all others are too few.
    """
    cdef Clocks new = Clocks(offsets, engine, transfer, transfers)
    cdef Py_ssize_t at, op, sem, semaphores = post_start.shape[0] - 1, changed = 0
    cdef int k
    cdef Posts *posts = <Posts *>calloc(semaphores, sizeof(Posts))
    cdef int32_t *known = <int32_t *>calloc(semaphores * ENGINES, sizeof(int32_t))
    cdef int64_t *needing = <int64_t *>calloc(post_op.shape[0] + 1, sizeof(int64_t))
    try:
        if posts == NULL or known == NULL or needing == NULL:
            raise MemoryError
        with nogil:
            for sem in range(semaphores):
                posts[sem].n = post_start[sem + 1] - post_start[sem]
                posts[sem].before = &post_before[post_start[sem] + sem]
                posts[sem].needing = &needing[post_start[sem]]
                if posts[sem].n:
                    posts[sem].op = &post_op[post_start[sem]]
            for at in range(order.shape[0]):
                op = order[at]
                new.begin(op)
                for k in range(2):
                    sem = wait_sem[op, k]
                    if sem == 0 or wait_val[op, k] == 0:
                        continue
                    if state[sem] == IN_ORDER:
                        new.wait_in_order(op, &posts[sem], wait_val[op, k], &known[sem * ENGINES + engine[op]])
                    elif state[sem] == HOPELESS:
                        new.wait_for_all(op, &posts[sem], wait_val[op, k])
                    else:
                        new.wait(op, &posts[sem], wait_val[op, k], old)
                sem = post_sem[op]
                if sem and new.visit(&posts[sem], state[sem]) != state[sem]:
                    state[sem] = UNORDERED
                    changed += 1
    finally:
        free(posts)
        free(known)
        free(needing)
    return new, changed
