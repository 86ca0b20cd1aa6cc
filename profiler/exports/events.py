"""The trace as tracks, slices, arrows and counters: what the Perfetto and Chrome writers share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from isa.program import Program
from isa.target import Target
from isa.trace import Cause, Trace
from profiler.exports.counters import Usage, counters, memory_usage
from profiler.exports.labels import Labels
from profiler.exports.model import Arrows, Events, Slices, Tracks
from profiler.exports.output import ExportError
from profiler.exports.slices import Maker
from profiler.exports.text import Names, clean

# kinds of slices at each level of detail
LEVELS: Mapping[str, tuple[str, ...]] = {
    "op": ("requests", "runs", "host", "layers"),
    "instr": ("requests", "runs", "host", "instructions"),
    "dma": ("requests", "runs", "host", "instructions", "transfers"),
}


def events(
    trace: Trace, programs: Sequence[Program], target: Target, *, level: str = "dma",
    window: tuple[float, float] | None = None, usage: Sequence[Usage] | None = None,
) -> Events:
    """Everything a viewer shows of a trace.

    Args:
        level: one of `LEVELS`: layers; or instructions and their arrows; or transfers as well.
        window: first and last second; what touches it is kept, whole. None: all.
        usage: further curves; None: those of `memory_usage`.
    Raises: ExportError for another level, or a window that holds no time.
    """
    if level not in LEVELS:
        raise ExportError("no such level of detail", where="level", limit=tuple(LEVELS), actual=level)
    names = Names()
    found = Events(Tracks(clean(trace.target)), names, trace.tick_hz, _notes(trace))
    maker = Maker(trace, programs, target, found, Labels.of(trace, programs, names), ticks_of(window, trace))
    make: Mapping[str, Callable[[], Slices]] = {
        "requests": maker.requests, "runs": maker.runs, "host": maker.host, "layers": maker.layers,
        "instructions": maker.instructions, "transfers": maker.transfers}
    found.slices = [slices for slices in (make[kind]() for kind in LEVELS[level]) if len(slices.start)]
    found.arrows = list(_arrows(trace, {s.kind: s for s in found.slices}))
    found.counters = counters(maker, memory_usage(trace, programs, target) if usage is None else usage)
    return found


def _notes(trace: Trace) -> list[str]:
    """What the reader has to know: rows that are missing, and the recorder's own notes."""
    dropped = [f"{n} rows of {table} were dropped" for table, n in trace.dropped.items()]
    return [f"1 tick = 1 / {trace.tick_hz} s", *dropped, *map(clean, trace.notes)]


def ticks_of(window: tuple[float, float] | None, trace: Trace) -> tuple[int, int]:
    """First and last tick of a window in seconds. Raises: ExportError."""
    if window is None:
        return 0, trace.total_ticks
    first, last = window
    if not (math.isfinite(first) and math.isfinite(last) and 0 <= first < last):
        raise ExportError("the window holds no time", where="window", limit="0 <= first < last, in seconds",
                          actual=window)
    if first * trace.tick_hz > trace.total_ticks:
        raise ExportError("the window begins after the end of the trace", where="window",
                          limit=f"{trace.total_ticks / trace.tick_hz} s", actual=f"{first} s")
    return math.floor(first * trace.tick_hz), min(math.ceil(last * trace.tick_hz), trace.total_ticks)


def _arrows(trace: Trace, slices: Mapping[str, Slices]) -> list[Arrows]:
    """From each word, or transfer, to the instructions it kept waiting, where both are shown."""
    waiting = slices.get("instructions")
    if waiting is None:
        return []
    table, at = trace.instructions, waiting.rows
    cause, producer = table["cause"][at], table["cause_op"][at]
    some = (table["start"][at] > table["wait_start"][at]) & (cause != Cause.NONE) & (producer >= 0)
    moving = slices.get("transfers")
    by_transfer = some & (cause == Cause.DMA) if moving is not None else np.zeros(len(at), bool)
    found = [_between(waiting, at, producer, some & ~by_transfer, len(table["start"]))]
    if moving is not None:
        found.append(_between(moving, trace.transfers["op"][moving.rows], producer, by_transfer, len(table["start"])))
    return [a for a in found if len(a.source)]


def _between(
    sources: Slices, op: np.ndarray, producer: np.ndarray, chosen: np.ndarray, words: int
) -> Arrows:
    """Arrows from the slices of `sources`, whose op ids are `op`, to the `chosen` slices waiting for `producer`."""
    slice_of = np.full(words, -1)
    slice_of[op] = np.arange(len(op))
    target = np.flatnonzero(chosen)
    source = slice_of[producer[target]]
    return Arrows(sources.kind, source[source >= 0], target[source >= 0])
