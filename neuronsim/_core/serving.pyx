# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Requests through the steps of models, event by event in whole ticks (the rules are in `docs/serving.md`).

A *station* is one step of one copy of a model; a *piece* is the part of a request that goes through one copy at once.
All that happens at one tick happens before anything new starts at it. Within a tick: ends on cores, on links, on host
threads, arrivals; each by its index.
"""
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, realloc

import cython
import numpy as np

from neuronsim._core.serving_heap cimport Event, pop, push
from neuronsim._core.serving_shared cimport CHAINS, Shared

cdef int64_t FAR = <int64_t>1 << 61  # as far as a machine goes


@cython.final
cdef class Loop:
    """The state of a simulation; `advance` goes on until so many requests have ended."""

    def __cinit__(self, const int64_t[:, ::1] stations, const int64_t[:, ::1] models, const int32_t[::1] first,
                  const int32_t[::1] pieces, arrival, *, int cores, int chips, int vcpus, int64_t credit,
                  machine=None, Shared shared=None, witness=None):
        """Args:
            stations: [s, 8] kind, where, model, last of its copy, slot, ticks, switch ticks, program for `shared` or -1;
                those of a copy in order.
            models: [m, 7] copies, first copy, least loaded, in flight (0: open), first request, requests, interval.
            first: [copies] first station.
            pieces: [requests] of each request, those of all models in order.
            arrival: [requests] int64 ticks; of closed loops and constant arrivals it is filled in.
            machine: what times core steps with a slot (`neuronsim.timing.Cores`); None: `ticks` do.
            shared: what times core steps with a program.
            witness: `starts` is called for every service: station, request, its arrival, when the piece was there, when
                the core's run before had ended (0 elsewhere), when it was settled that it starts, when it does.
        """
        cdef int i, s
        cdef int64_t total = pieces.shape[0]
        self.n_stations, self.n_models = stations.shape[0], models.shape[0]
        self.n_cores, self.n_links, self.first = cores, chips, first
        self.credit, self.machine, self.shared, self.witness = credit, machine, shared, witness
        self.arrival = arrival
        self.start, self.end = np.full(total, -1, dtype=np.int64), np.full(total, -1, dtype=np.int64)
        self.v_arrival, self.v_start, self.v_end = self.arrival, self.start, self.end
        self.left = np.array(pieces, dtype=np.int32)
        self._slot_core, self._memory = {}, []
        self.stations = <Station *>self._zeros(self.n_stations, sizeof(Station))
        self.cores = <Core *>self._zeros(cores, sizeof(Core))
        self.links = <Line *>self._zeros(chips, sizeof(Line))
        self.models = <Model *>self._zeros(self.n_models, sizeof(Model))
        self.hosted = <int32_t *>self._zeros(self.n_stations, sizeof(int32_t))
        self.load = <int32_t *>self._zeros(first.shape[0], sizeof(int32_t))
        self.dirty = <int32_t *>self._zeros(cores + chips + 1, sizeof(int32_t))
        self.is_dirty = <char *>self._zeros(cores + chips + 1, 1)
        self.starting = <int32_t *>self._zeros(cores, sizeof(int32_t))
        self.free_piece, self.host = NONE, Line(Queue(NONE, NONE), vcpus)
        for i in range(chips):
            self.links[i] = Line(Queue(NONE, NONE), 1)
        for s in range(self.n_stations):
            self._add_station(s, stations[s])
        self._host_stations()
        for i in range(self.n_models):
            self._add_model(i, models[i])
        self._settle()
        self._tell()

    def __dealloc__(self):
        free(self.pieces)
        free(self.heap.events)

    cdef void *_zeros(self, int64_t count, int64_t size) except NULL:
        """Memory that lives as long as the loop."""
        cdef int64_t[::1] memory = np.zeros(max(count * size // 8 + 1, 1), dtype=np.int64)
        self._memory.append(memory)
        return &memory[0]

    cdef _add_station(self, int s, const int64_t[::1] row):
        cdef Station *x = &self.stations[s]
        cdef Station *before = &self.stations[s - 1] if s and self.stations[s - 1].next == s else NULL
        x.kind, x.where, x.model, x.slot = <int32_t>row[0], <int32_t>row[1], <int32_t>row[2], <int32_t>row[4]
        x.ticks, x.switching, x.program = row[5], row[6], <int32_t>row[7]
        x.next = NONE if row[3] else s + 1
        x.queue, x.previous, x.first = Queue(NONE, NONE), NONE, -1
        if before:
            x.previous = s - 1
            before.bounded = (before.kind != CPU and x.kind != CPU) and (before.kind == CORE or x.kind == CORE)
        if x.kind == CORE and x.slot >= 0:
            self._slot_core[x.slot] = x.where

    cdef _host_stations(self):
        cdef int c, s, n = 0
        for c in range(self.n_cores):
            self.cores[c].stations, self.cores[c].running, self.cores[c].loaded = n, NONE, NONE
            for s in range(self.n_stations):
                if self.stations[s].kind == CORE and self.stations[s].where == c:
                    self.hosted[n] = s
                    n += 1
            self.cores[c].count = n - self.cores[c].stations

    cdef _add_model(self, int i, const int64_t[::1] row):
        cdef Model *m = &self.models[i]
        cdef int64_t k
        m.copies, m.first_copy, m.least_loaded, m.closed = (
            <int32_t>row[0], <int32_t>row[1], <int32_t>row[2], <int32_t>row[3])
        m.base, m.requests, m.interval = row[4], row[5], row[6]
        if m.closed:
            for k in range(min(row[3], m.requests)):
                self._arrive(i)
        elif m.requests:
            self._push(0 if m.interval else self.v_arrival[m.base], ARRIVES, i, NONE)

    cdef int _push(self, int64_t tick, int kind, int64_t index, int32_t piece) except -1 nogil:
        return push(&self.heap, Event(tick, (<uint64_t>kind << INDEX_BITS) | <uint64_t>index, piece))

    # ---- arrivals
    cdef int32_t _new_piece(self) except -2 nogil:
        cdef int32_t i, p = self.free_piece
        if p == NONE:
            i = self.pieces_room
            self.pieces_room = 2 * i + 64
            self.pieces = <Piece *>realloc(self.pieces, self.pieces_room * sizeof(Piece))
            if not self.pieces:
                with gil:
                    raise MemoryError
            for p in range(self.pieces_room - 1, i - 1, -1):
                self.pieces[p].next = self.free_piece
                self.free_piece = p
            p = i
        self.free_piece = self.pieces[p].next
        return p

    cdef int _arrive(self, int model) except -1 nogil:
        """The next request of the model arrives, and its pieces go to the copies."""
        cdef Model *m = &self.models[model]
        cdef int64_t k, request = m.base + m.issued
        cdef int32_t p, copy
        m.issued += 1
        self.v_arrival[request] = self.now
        for k in range(self.left[request]):
            copy = self._choose(m)
            self.load[copy] += 1
            p = self._new_piece()
            self.pieces[p].request, self.pieces[p].copy = request, copy
            self._enter(self.first[copy], p)
        return 0

    cdef int32_t _choose(self, Model *m) noexcept nogil:
        cdef int32_t copy, best = m.first_copy
        if not m.least_loaded:
            best += m.turn
            m.turn = (m.turn + 1) % m.copies
            return best
        for copy in range(m.first_copy + 1, m.first_copy + m.copies):
            if self.load[copy] < self.load[best]:
                best = copy
        return best

    # ---- from station to station
    cdef int _enter(self, int32_t s, int32_t p) except -1 nogil:
        cdef Station *x = &self.stations[s]
        self.pieces[p].station, self.pieces[p].ready = s, self.now
        self._count(x, 1)
        if x.kind == CORE or x.bounded:
            put(self.pieces, &x.queue, p)
            if x.kind == CORE:
                self._mark(x.where)
            else:
                self._admit(s)
        else:
            self._join(x, p)
        return 0

    cdef void _admit(self, int32_t s) noexcept nogil:
        """Transfers to a core join the link when a buffer there is theirs, so that they never block the link."""
        cdef Station *x = &self.stations[s]
        while x.queue.head != NONE and x.reserved < BUFFERS:
            x.reserved += 1
            self._join(x, take(self.pieces, &x.queue))

    cdef void _join(self, Station *x, int32_t p) noexcept nogil:
        cdef Line *line = &self.host if x.kind == CPU else &self.links[x.where]
        put(self.pieces, &line.queue, p)
        self._mark(self.n_cores + (self.n_links if x.kind == CPU else x.where))

    cdef int _leave(self, int32_t p) except -1 nogil:
        """Service of the piece has ended: it goes on, and the buffer it came in is free."""
        cdef Station *x = &self.stations[self.pieces[p].station]
        cdef Station *before
        x.last = self.now
        if x.next != NONE:
            self._enter(x.next, p)
        if x.previous != NONE:
            before = &self.stations[x.previous]
            if before.bounded:
                before.reserved -= 1
                if before.kind == CORE:
                    self._mark(before.where)
                else:
                    self._admit(x.previous)
        return self._finish(x, p) if x.next == NONE else 0

    cdef int _finish(self, Station *x, int32_t p) except -1 nogil:
        cdef Model *m = &self.models[x.model]
        cdef int64_t request = self.pieces[p].request
        self.load[self.pieces[p].copy] -= 1
        self.pieces[p].next = self.free_piece
        self.free_piece = p
        self.left[request] -= 1
        if self.left[request]:
            return 0
        self.v_end[request] = self.now
        m.done += 1
        self.done += 1
        return self._arrive(x.model) if m.closed and m.issued < m.requests else 0

    cdef void _count(self, Station *x, int change) noexcept nogil:
        x.area += <double>x.waiting * (self.now - x.since)
        x.since = self.now
        x.waiting += change
        if x.waiting > x.most:
            x.most = x.waiting

    cdef void _mark(self, int32_t resource) noexcept nogil:
        if not self.is_dirty[resource]:
            self.is_dirty[resource] = 1
            self.dirty[self.n_dirty] = resource
            self.n_dirty += 1

    cdef int _serve(self, Station *x, int32_t p, int64_t idle, int64_t start) except -1 nogil:
        cdef int64_t request = self.pieces[p].request
        self._count(x, -1)
        x.runs += 1
        if x.first < 0:
            x.first = self.now
        if self.v_start[request] < 0:
            self.v_start[request] = self.now
        if self.witness is not None:
            with gil:
                self.witness.starts(self.pieces[p].station, request, self.v_arrival[request], self.pieces[p].ready,
                                    idle, self.now, start)
        return 0

    # ---- starts
    cdef int _settle(self) except -1 nogil:
        """Start all that can start now."""
        cdef int32_t i, resource
        for i in range(self.n_dirty):
            resource = self.dirty[i]
            self.is_dirty[resource] = 0
            if resource < self.n_cores:
                self._start_core(resource)
            elif resource < self.n_cores + self.n_links:
                self._start_line(&self.links[resource - self.n_cores], LINK_ENDS, resource - self.n_cores)
            else:
                self._start_line(&self.host, CPU_ENDS, 0)
        self.n_dirty = 0
        return 0

    cdef int _start_line(self, Line *line, int event, int64_t index) except -1 nogil:
        cdef int32_t p
        cdef Station *x
        while line.free and line.queue.head != NONE:
            p = take(self.pieces, &line.queue)
            line.free -= 1
            x = &self.stations[self.pieces[p].station]
            self._serve(x, p, 0, self.now)
            x.busy += x.ticks
            if event == CPU_ENDS:
                index = self.started
                self.started += 1
            self._push(self.now + x.ticks, event, index, p)
        return 0

    cdef int _start_core(self, int32_t c) except -1 nogil:
        """Serve the ready station whose piece came first; ties go to the lower model, then to the earlier station."""
        cdef Core *core = &self.cores[c]
        cdef Station *x
        cdef int32_t i, s, p, best = NONE
        cdef int64_t ready = FAR
        if core.running != NONE:
            return 0
        for i in range(core.stations, core.stations + core.count):
            s = self.hosted[i]
            x = &self.stations[s]
            if x.queue.head != NONE and not (x.bounded and x.reserved >= BUFFERS) and (
                    self.pieces[x.queue.head].ready < ready):
                best, ready = s, self.pieces[x.queue.head].ready
        if best == NONE:
            return 0
        x = &self.stations[best]
        p = take(self.pieces, &x.queue)
        x.reserved += x.bounded
        core.begin = self.now + self.credit
        if core.loaded != NONE and core.loaded != x.model:
            core.begin += x.switching
            x.switches += 1
        self._serve(x, p, core.ended, core.begin)
        core.loaded, core.running, core.piece = x.model, best, p
        if self.machine is not None and x.slot >= 0:
            self.starting[self.n_starting] = c
            self.n_starting += 1
            return 0
        if self.shared is not None and x.program >= 0:
            self.shared.begin(c, x.program, core.begin)
            return self._foresee(c)
        return self._push(core.begin + x.ticks, CORE_ENDS, c, NONE)

    # ---- events
    cdef int _step(self) except -1 nogil:
        """All events of the next tick, and what starts then."""
        cdef Event e
        cdef int kind
        cdef int64_t index
        self.now = self.heap.events[0].tick
        while self.heap.size and self.heap.events[0].tick == self.now:
            e = pop(&self.heap)
            kind, index = <int>(e.key >> INDEX_BITS), <int64_t>(e.key & ((<uint64_t>1 << INDEX_BITS) - 1))
            if kind == CORE_ENDS:
                self._end_core(<int32_t>index)
            elif kind == LINK_ENDS:
                self.links[index].free = 1
                self._mark(<int32_t>(self.n_cores + index))
                self._leave(e.piece)
            elif kind == CPU_ENDS:
                self.host.free += 1
                self._mark(self.n_cores + self.n_links)
                self._leave(e.piece)
            elif kind == ARRIVES:
                self._arrive_and_next(<int32_t>index)
            else:
                self.shared.ask(<int32_t>(index // CHAINS), <int32_t>(index % CHAINS), self.now)
                self._foresee(index // CHAINS)
        return self._settle()

    cdef int _arrive_and_next(self, int32_t model) except -1 nogil:
        cdef Model *m = &self.models[model]
        self._arrive(model)
        if m.issued < m.requests:
            self._push(self.now + m.interval if m.interval else self.v_arrival[m.base + m.issued], ARRIVES, model, NONE)
        return 0

    cdef int _end_core(self, int32_t c) except -1 nogil:
        cdef Core *core = &self.cores[c]
        cdef Station *x = &self.stations[core.running]
        core.running, core.ended = NONE, self.now
        core.busy += self.now - core.begin
        x.busy += self.now - core.begin
        self._mark(c)
        return self._leave(core.piece)

    cdef int _foresee(self, int64_t c) except -1 nogil:
        """What a run that `Shared` times does next."""
        cdef int32_t i, chain
        for i in range(self.shared.foreseen):
            chain = self.shared.next[i].chain
            if chain == CHAINS:
                self._push(self.shared.next[i].tick, CORE_ENDS, c, NONE)
            else:
                self._push(self.shared.next[i].tick, CORE_ASKS, c * CHAINS + chain, NONE)
        return 0

    # ---- the machine
    cdef _tell(self):
        """Start on the machine what has started here."""
        cdef int32_t i
        cdef Core *core
        for i in range(self.n_starting):
            core = &self.cores[self.starting[i]]
            self.machine.start(self.stations[core.running].slot, core.begin - self.offset)
            self.n_under_way += 1
        self.n_starting = 0

    cdef _ask(self):
        """Ends of runs on the machine at the next tick at which anything happens become events."""
        cdef int64_t tick
        while self.n_under_way:
            tick = self.heap.events[0].tick if self.heap.size else FAR
            ended = self.machine.advance(tick - self.offset)
            if ended is None:
                return
            slot, tick = ended
            self.n_under_way -= 1
            self._push(tick + self.offset, CORE_ENDS, self._slot_core[slot], NONE)

    # ---- face
    def advance(self, int64_t requests):
        """Go on until that many requests have ended in all (or a few more, at the same tick), or all have."""
        if self.machine is None:
            with nogil:
                while self.heap.size and (self.done < requests or self.heap.events[0].tick == self.now):
                    self._step()
            return
        self._ask()
        while self.heap.size and (self.done < requests or self.heap.events[0].tick == self.now):
            self._step()
            self._tell()
            self._ask()
