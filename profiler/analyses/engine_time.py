"""The whole time of every engine as segments without gaps: issuing, waiting before a word, between runs, at the end.

An engine is *active* while it issues: from a word's start to the end of its cost. The latency after that, until the
result is written, is nobody's time; a word that waits for it shows it. On the PE two sub-units overlap: what is hidden
behind the other's work is active.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from isa.target import Target
from isa.trace import RunWait, Trace
from isa.word import ENGINES


class Stall(IntEnum):
    """What an engine's time goes to. Every tick of every engine has exactly one; docs/profile.md defines them."""

    ACTIVE = 0
    TENSOR = 1  # waits for a word of that engine; the five in the order of isa.word.ENGINES
    VECTOR = 2
    SCALAR = 3
    GPSIMD = 4
    SYNC = 5
    SIGNAL = 6
    DMA_START = 7
    DMA_QUEUE = 8
    DMA_SERVICE = 9
    DRAM = 10
    LINK = 11
    PORT = 12
    RAW = 13
    PE_SLOT = 14
    END_OF_STREAM = 15
    NO_INPUT = 16
    NO_ROOM = 17
    NO_WORK = 18
    SWITCH = 19
    NOT_RECORDED = 20
    IDLE = 21


NAMES = tuple(s.name.lower() for s in Stall)
WAIT = 255  # of `Segments.kind`: before a word, to be explained by its cause
_OF_RUN_WAIT = np.zeros(len(RunWait), np.uint8)
for _wait, _stall in (
    (RunWait.NONE, Stall.SIGNAL),
    (RunWait.INPUT, Stall.NO_INPUT),
    (RunWait.ROOM, Stall.NO_ROOM),
    (RunWait.WORK, Stall.NO_WORK),
    (RunWait.SWITCH, Stall.SWITCH),
):
    _OF_RUN_WAIT[_wait] = _stall


@dataclass(frozen=True, eq=False)
class Segments:
    """Time of all engines of the cores that ran something, in order of (lane, start), without gaps from 0 to `total`.

    Attributes:
        cores: [c] numbers; lane = 5 * (row of the core) + engine.
        lane, start, end: [s] int64.
        kind: [s] a `Stall`, or WAIT.
        op: [s] row of the instruction that is issued or waits; behind the last word, row of the run; else -1.
    """

    cores: np.ndarray
    total: int
    lane: np.ndarray
    start: np.ndarray
    end: np.ndarray
    kind: np.ndarray
    op: np.ndarray

    @property
    def lanes(self) -> int:
        return len(self.cores) * len(ENGINES)

    def overlaps(self, lane: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Segments that intervals of a lane overlap: (interval, segment) pairs. Intervals must not be empty."""
        width = self.total + 1
        key = self.lane * width + self.start
        first = np.searchsorted(key, lane * width + start, side="right") - 1
        count = np.searchsorted(key, lane * width + end, side="left") - first
        interval = np.repeat(np.arange(len(lane)), count)
        return interval, np.repeat(first - np.cumsum(count) + count, count) + np.arange(len(interval))


def ticks(trace: Trace, target: Target, seconds: float) -> int:
    """Seconds in ticks of the trace, to nearest."""
    return round(seconds * trace.tick_hz)


def issued(trace: Trace, target: Target) -> np.ndarray:
    """When each word's cost ends and the engine could issue the next: its end less the engine's latency; [n] ticks."""
    latency = np.zeros(len(ENGINES), np.int64)
    for number, name in enumerate(ENGINES):
        engine = target.engines[name]
        latency[number] = ticks(trace, target, engine.latency_cycles * engine.ticks_per_cycle / target.tick_hz)
    table = trace.instructions
    return np.maximum(table["start"], table["end"] - latency[table["engine"]])


def segments(trace: Trace, target: Target) -> Segments:
    """The segments of every engine of every core that ran something."""
    cores, core_row = np.unique(trace.runs["core"], return_inverse=True)
    parts = [*_of_words(trace, target, core_row), *_between_runs(trace, target, cores, core_row)]
    lane, start, end, kind, op = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    some = np.flatnonzero(end > start)
    order = some[np.argsort(lane[some] * (trace.total_ticks + 1) + start[some], kind="stable")]
    return Segments(cores, trace.total_ticks, lane[order], start[order], end[order], kind[order], op[order])


_Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _part(lane: np.ndarray, start: np.ndarray, end: np.ndarray, kind: int | np.ndarray, op: np.ndarray | int) -> _Part:
    shape = lane.shape
    return (lane.astype(np.int64), start, end, np.broadcast_to(np.uint8(kind), shape),
            np.broadcast_to(np.int64(op), shape))  # fmt: skip


def _of_words(trace: Trace, target: Target, core_row: np.ndarray) -> list[_Part]:
    """Waits, issues, and what is left of the run behind each engine's last word."""
    table, runs, engines = trace.instructions, trace.runs, len(ENGINES)
    all_lanes = core_row[:, None] * engines + np.arange(engines)
    front = np.broadcast_to(runs["start"][:, None], all_lanes.shape).copy()
    has_words = np.zeros(all_lanes.shape, bool)
    parts: list[_Part] = []
    if len(table["start"]):
        group = table["run"].astype(np.int64) * engines + table["engine"]  # ascending: words stand in engine order
        first = np.flatnonzero(np.diff(group, prepend=-1))
        begin = runs["start"][table["run"]]
        done = issued(trace, target)
        offset = group * (int((runs["end"] - runs["start"]).max()) + 1) - begin  # makes times of a later group later
        reach = np.maximum.accumulate(done + offset)
        before = np.maximum(np.concatenate([reach[:1] * 0, reach[:-1]]) - offset, begin)
        reach -= offset
        last = np.append(first[1:], len(group)) - 1
        front.reshape(-1)[group[last]] = np.maximum(reach[last], begin[last])
        has_words.reshape(-1)[group[last]] = True
        lane, op = all_lanes.reshape(-1)[group], np.arange(len(group))
        parts = [
            _part(lane, before, np.maximum(table["start"], before), WAIT, op),
            _part(lane, np.maximum(table["start"], before), np.maximum(done, before), Stall.ACTIVE, op),
        ]
    tail = np.where(has_words, np.uint8(Stall.END_OF_STREAM), np.uint8(Stall.IDLE)).reshape(-1)
    ends = np.broadcast_to(runs["end"][:, None], all_lanes.shape)
    run = np.repeat(np.arange(len(ends)), engines)
    return [*parts, _part(all_lanes.reshape(-1), front.reshape(-1), ends.reshape(-1), tail, run)]


def _between_runs(trace: Trace, target: Target, cores: np.ndarray, core_row: np.ndarray) -> list[_Part]:
    """Before each run of a core, and after its last."""
    runs = trace.runs
    order = np.lexsort((runs["start"], core_row))
    row, start, end = core_row[order], runs["start"][order], runs["end"][order]
    previous = np.where(np.diff(row, prepend=-1) > 0, 0, np.concatenate([[0], end[:-1]])) if len(row) else start
    waits = start - np.minimum(runs["wait"][order], start - previous)
    signal = ticks(trace, target, target.semaphore_latency_ns * 1e-9)
    signalled = np.maximum(waits, start - signal)
    switched = np.maximum(waits, signalled - runs["switch"][order])
    last = np.full(len(cores), 0, np.int64)
    np.maximum.at(last, core_row, runs["end"])
    reason = _OF_RUN_WAIT[runs["wait_for"][order]]
    behind = Stall.NOT_RECORDED if any(trace.dropped.values()) else Stall.IDLE  # the trace ends early
    pieces: tuple[tuple[np.ndarray, np.ndarray, np.ndarray, int | np.ndarray], ...] = (
        (row, previous, waits, int(Stall.NOT_RECORDED)),
        (row, waits, switched, reason),
        (row, switched, signalled, int(Stall.SWITCH)),
        (row, signalled, start, int(Stall.SIGNAL)),
        (np.arange(len(cores)), last, np.full(len(cores), trace.total_ticks), int(behind)),
    )
    return [
        _part(rows * len(ENGINES) + engine, begin, finish, kind, -1)
        for rows, begin, finish, kind in pieces
        for engine in range(len(ENGINES))
    ]
