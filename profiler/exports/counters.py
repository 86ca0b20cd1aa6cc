"""Curves over time: bytes a second of DRAM and links, transfers waiting or moving, memory in use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from isa.program import Program
from isa.target import Target
from isa.topology import Link, Topology
from isa.trace import Table, Trace
from profiler.analyses.occupancy import BINS, occupancy
from profiler.exports import model
from profiler.exports.clock import NANOSECONDS
from profiler.exports.model import Counter
from profiler.exports.slices import Maker

POINTS = 2000  # of a curve over the window; finer detail is in the slices


@dataclass(frozen=True)
class Usage:
    """A curve from an analysis, for instance of SBUF in use: the `value` from each `tick` to the next, on a core."""

    core: int
    name: str
    unit: str
    tick: np.ndarray
    value: np.ndarray


def memory_usage(trace: Trace, programs: Sequence[Program], target: Target) -> list[Usage]:
    """What SBUF and PSUM hold on every core, bytes of a partition: the most in each part of the time."""
    found = occupancy(trace, programs, target)
    edges = (np.arange(BINS) * found.bin_ticks).astype(np.int64)
    return [Usage(m.core, f"{m.memory.upper()} used", "bytes a partition", edges, np.array(m.points, np.int64))
            for m in found.memories]


def counters(maker: Maker, usage: Sequence[Usage] = ()) -> list[Counter]:
    """All curves of the window."""
    return [*_pending(maker), *_dram(maker), *_links(maker), *_given(maker, usage)]


def rate(start: np.ndarray, end: np.ndarray, amount: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Amount per tick between neighbouring edges when each is spread evenly from its start to its end.

    Args: start, end: [n] ticks; an empty interval counts as one tick. amount: [n]. edges: [k] ascending, distinct.
    Returns: [k - 1] float64.
    """
    end = np.maximum(end, start + 1)
    times, where = np.unique(np.concatenate([start, end]), return_inverse=True)
    if not len(times):
        return np.zeros(max(len(edges) - 1, 0))
    slope = amount / (end - start)
    change = np.zeros(len(times))
    np.add.at(change, where, np.concatenate([slope, -slope]))
    so_far = np.concatenate([[0.0], np.cumsum(np.cumsum(change)[:-1] * np.diff(times))])
    return np.maximum(np.diff(np.interp(edges, times, so_far)) / np.diff(edges), 0.0)


def peaks(start: np.ndarray, end: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Most intervals that cover an instant between neighbouring edges: int64 [len(edges) - 1]."""
    times, where = np.unique(np.concatenate([start, end]), return_inverse=True)
    change = np.zeros(len(times), np.int64)
    np.add.at(change, where, np.concatenate([np.ones(len(start), np.int64), np.full(len(end), -1)]))
    level = np.cumsum(change)
    bins = np.searchsorted(edges, times, side="right") - 1
    before = np.searchsorted(times, edges[:-1], side="right")  # what is open when a bin begins
    most = np.concatenate([[0], level])[before]
    inside = (bins >= 0) & (bins < len(most))
    np.maximum.at(most, bins[inside], level[inside])
    return most


def _edges(maker: Maker) -> np.ndarray:
    """Bins of equal length over the window, none shorter than the nanosecond that viewers show."""
    low, high = maker.window
    most = (high - low) * NANOSECONDS // maker.trace.tick_hz
    return np.unique(np.linspace(low, max(high, low + 1), min(max(most, 1), POINTS) + 1).astype(np.int64))


def _pending(maker: Maker) -> Iterator[Counter]:
    table, edges = maker.trace.transfers, _edges(maker)
    for core in np.unique(table["core"]).tolist():
        mine = table["core"] == core
        track = maker.events.tracks.number("pending DMA", maker.core(core), model.COUNTERS)
        yield _curve(track, "transfers", edges, peaks(table["enqueue"][mine], table["end"][mine], edges))


def _dram(maker: Maker) -> Iterator[Counter]:
    table = maker.trace.transfers
    chips = np.minimum(table["core"] // maker.target.cores_per_chip, maker.target.chips - 1)
    for chip in np.unique(chips).tolist():
        mine = chips == chip
        track = maker.events.tracks.number("DRAM", maker.device(chip), model.ABOVE + 1)
        yield _gigabytes(maker, track, table, mine, (table["read"] + table["written"])[mine])


def _links(maker: Maker) -> Iterator[Counter]:
    table = maker.trace.transfers
    routes = _routes(maker)
    crossed: dict[Link, list[np.ndarray]] = {}
    far = np.flatnonzero(table["link_bytes"] > 0)
    for run in np.unique(table["run"][far]).tolist():
        for link in routes.get(run, ()):
            crossed.setdefault(link, []).append(far[table["run"][far] == run])
    for link in sorted(crossed):
        rows = np.concatenate(crossed[link])
        track = maker.events.tracks.number(f"link {link.source} to {link.destination}", rank=model.COUNTERS)
        yield _gigabytes(maker, track, table, rows, table["link_bytes"][rows])


def _routes(maker: Maker) -> dict[int, tuple[Link, ...]]:
    """Links between the core of each run and that of the next stage of its pipeline."""
    runs, topology = maker.trace.runs, Topology(maker.target)
    keys = list(zip(*(runs[c].tolist() for c in ("model", "copy", "stage")), strict=True))
    core_of = dict(zip(keys, runs["core"].tolist(), strict=True))
    found = {}
    for run, (number, copy, stage) in enumerate(keys):
        program = maker.programs[number]
        node = next((n for n in program.nodes if n.stage == stage), None)
        after = None if node is None else program.downstream(node)
        there = None if after is None else core_of.get((number, copy, after.stage))
        if there is not None:
            found[run] = topology.route(core_of[number, copy, stage], there)
    return found


def _gigabytes(maker: Maker, track: int, table: Table, rows: np.ndarray, amount: np.ndarray) -> Counter:
    edges = _edges(maker)
    per_tick = rate(table["start"][rows], table["end"][rows], amount, edges)
    return _curve(track, "GB/s", edges, per_tick * (maker.trace.tick_hz / NANOSECONDS))


def _given(maker: Maker, usage: Sequence[Usage]) -> Iterator[Counter]:
    low, high = maker.window
    for number, curve in enumerate(usage):
        track = maker.events.tracks.number(curve.name, maker.core(curve.core), model.COUNTERS + 1 + number)
        inside = (curve.tick >= low) & (curve.tick <= high)
        tick, value = curve.tick[inside], curve.value[inside]
        kept = np.concatenate([[True], value[1:] != value[:-1]])[:len(tick)]
        yield Counter(track, curve.unit, tick[kept], value[kept])


def _curve(track: int, unit: str, edges: np.ndarray, values: np.ndarray) -> Counter:
    """The value of each bin from its first edge on, 0 after the last; points that change nothing left out."""
    values = np.append(values, values.dtype.type(0))
    kept = np.concatenate([[True], values[1:] != values[:-1]])
    return Counter(track, unit, edges[kept], values[kept])
