# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What a request loop has counted, the state that decides its future, and how a repeated pattern is passed over."""
from libc.stdint cimport int32_t, int64_t

import numpy as np

from neuronsim._core.serving cimport CPU_ENDS, INDEX_BITS, NONE, Core, Loop, Model, Piece, Station


def issued(Loop loop):
    """[models] int64: requests that have arrived."""
    return np.array([loop.models[m].issued for m in range(loop.n_models)], dtype=np.int64)


def completed(Loop loop):
    """[models] int64: requests that have ended."""
    return np.array([loop.models[m].done for m in range(loop.n_models)], dtype=np.int64)


def core_counters(Loop loop):
    """[cores, 3] int64: ticks busy, switches of model, ticks spent switching. A run counts when it has ended."""
    out = np.zeros((loop.n_cores, 3), dtype=np.int64)
    cdef Core *core
    cdef Station *x
    for c in range(loop.n_cores):
        core = &loop.cores[c]
        out[c, 0] = core.busy
        for i in range(core.stations, core.stations + core.count):
            x = &loop.stations[loop.hosted[i]]
            out[c, 1:] += x.switches, x.switches * x.switching
    return out


def station_counters(Loop loop):
    """[stations, 6] int64: runs begun, ticks busy, longest queue, first start (-1: none), last end, runs that brought
    their model in place of another; and [stations] float64: the integral of the queue's length over time."""
    out, area = np.zeros((loop.n_stations, 6), dtype=np.int64), np.zeros(loop.n_stations)
    cdef Station *x
    for s in range(loop.n_stations):
        x = &loop.stations[s]
        loop._count(x, 0)
        out[s] = x.runs, x.busy, x.most, x.first, x.last, x.switches
        area[s] = x.area
    return out, area


def state(Loop loop):
    """All that decides the future of the loop, relative to now and to the requests issued: bytes."""
    cdef Model *m
    cdef Core *core
    cdef Station *x
    cdef int64_t i
    out = []
    for i in range(loop.n_models):
        m = &loop.models[i]
        out += (m.turn, m.issued == m.requests)
    for i in range(loop.n_stations):
        x = &loop.stations[i]
        out.append(x.reserved)
        _describe(loop, x.queue.head, out)
    for i in range(loop.n_links):
        _describe(loop, loop.links[i].queue.head, out)
    _describe(loop, loop.host.queue.head, out)
    for i in range(loop.n_cores):
        core = &loop.cores[i]
        out += (core.loaded, core.running)
        if core.running != NONE:
            out.append(core.begin - loop.now)
            _describe_one(loop, core.piece, out)
    events = sorted([(loop.heap.events[i].tick, loop.heap.events[i].key, loop.heap.events[i].piece)
                     for i in range(loop.heap.size)])
    for tick, key, piece in events:
        kind = key >> INDEX_BITS
        out += (tick - loop.now, kind, -1 if kind == CPU_ENDS else key)
        if piece != NONE:
            _describe_one(loop, piece, out)
    return np.array(out, dtype=np.int64).tobytes()


cdef _describe(Loop loop, int32_t p, list out):
    while p != NONE:
        _describe_one(loop, p, out)
        p = loop.pieces[p].next
    out.append(-1)


cdef _describe_one(Loop loop, int32_t p, list out):
    cdef Piece *x = &loop.pieces[p]
    cdef Model *m = &loop.models[loop.stations[x.station].model]
    out += (x.station, m.base + m.issued - x.request, loop.now - x.ready, loop.left[x.request],
            loop.now - loop.v_arrival[x.request], loop.v_start[x.request] < 0)


def skip(Loop loop, int64_t ticks, const int64_t[::1] requests, runs):
    """Let a repeating pattern pass: the clock, `requests` of each model, and what counts rose by `runs`.

    The caller fills in the columns of what was skipped. Args: runs: (core counters, station counters, area), the
    rise of each; longest queues and first starts do not rise.
    """
    cdef int64_t i
    cdef Station *x
    cores, stations, area = runs
    for i in range(loop.heap.size):
        loop.heap.events[i].tick += ticks
    moved = {}
    for i in range(loop.n_cores):
        loop.cores[i].begin += ticks
        loop.cores[i].busy += cores[i, 0]
        if loop.cores[i].running != NONE:
            _move(loop, loop.cores[i].piece, ticks, requests, moved)
    for i in range(loop.n_stations):
        x = &loop.stations[i]
        _move_all(loop, x.queue.head, ticks, requests, moved)
        x.since += ticks
        x.runs += stations[i, 0]
        x.busy += stations[i, 1]
        x.last += ticks if stations[i, 0] else 0
        x.switches += stations[i, 5]
        x.area += area[i]
    for i in range(loop.n_links):
        _move_all(loop, loop.links[i].queue.head, ticks, requests, moved)
    _move_all(loop, loop.host.queue.head, ticks, requests, moved)
    for i in range(loop.heap.size):
        if loop.heap.events[i].piece != NONE:
            _move(loop, loop.heap.events[i].piece, ticks, requests, moved)
    for new, left in moved.items():
        loop.left[new] = left
    for i in range(loop.n_models):
        loop.models[i].issued += requests[i]
        loop.models[i].done += requests[i]
        loop.done += requests[i]
    loop.now += ticks
    loop.offset += ticks


cdef _move_all(Loop loop, int32_t p, int64_t ticks, const int64_t[::1] requests, dict moved):
    while p != NONE:
        _move(loop, p, ticks, requests, moved)
        p = loop.pieces[p].next


cdef _move(Loop loop, int32_t p, int64_t ticks, const int64_t[::1] requests, dict moved):
    cdef Piece *x = &loop.pieces[p]
    left = loop.left[x.request]
    x.ready += ticks
    x.request += requests[loop.stations[x.station].model]
    moved[x.request] = left
