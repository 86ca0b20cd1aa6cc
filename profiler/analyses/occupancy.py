"""What the memories hold over time: SBUF and PSUM of each core, DRAM of each chip by category, spills.

SBUF and PSUM are counted in bytes of a partition, as they are allocated: a value takes its bytes of all partitions. It
lives from its first write to its last read; pinned weights and handover buffers stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from isa import word
from isa.program import IN_DRAM, VARIABLE_KINDS, Program
from isa.target import Target
from isa.trace import Trace
from profiler.analyses import source
from profiler.analyses.accesses import Accesses, Values, accesses, values
from profiler.analyses.source import Source
from profiler.metrics import percent
from profiler.table import Table
from profiler.text import bytes_text

BINS = 400  # of the time axis


@dataclass(frozen=True)
class Memory:
    """SBUF or PSUM of one core, in bytes of a partition.

    Attributes:
        capacity: of the target; allocated: the compiler's own count, in the order of its schedule.
        held: pinned weights and handover buffers, of the stage on the core that has most.
        peak: most alive at once, `held` included.
        points: [BINS] the most alive in each part of the time.
    """

    core: int
    memory: str
    capacity: int
    allocated: int
    held: int
    peak: int
    points: list[int]


@dataclass(frozen=True)
class Dram:
    """DRAM of one chip: bytes of the variables of its stages by kind, and bytes moved in each part of the time."""

    chip: int
    variables: dict[str, int]
    read: list[float]
    written: list[float]


@dataclass(frozen=True)
class Spill:
    """Bytes of a layer's intermediates that went to DRAM and came back."""

    model: int
    layer: str
    saved: int
    reloaded: int


@dataclass(frozen=True)
class Occupancy:
    """`bin_ticks`: length of each part of the time, BINS of them from 0."""

    bin_ticks: float
    memories: list[Memory]
    dram: list[Dram]
    spills: list[Spill]

    def as_json(self) -> dict[str, Any]:
        """The attributes."""
        return asdict(self)

    def tables(self) -> list[Table]:
        """Peaks."""
        table = Table("On-chip memory, per partition", ["core", "memory", ">peak", ">held", ">capacity", ">used"])
        for m in self.memories:
            cells = (bytes_text(m.peak), bytes_text(m.held), bytes_text(m.capacity))
            table.rows.append([str(m.core), m.memory, *cells, f"{percent(m.peak, m.capacity):.0f} %"])
        for s in self.spills[:3]:
            table.notes.append(f"{s.layer}: {bytes_text(s.saved)} spilled, {bytes_text(s.reloaded)} reloaded")
        return [table]


def occupancy(trace: Trace, programs: Sequence[Program], target: Target) -> Occupancy:
    """Memory over the time of a trace."""
    known = source.read(trace, programs)
    edges = np.linspace(0, max(trace.total_ticks, 1), BINS + 1)
    numbers = np.arange(len(trace.runs["start"]) + 1, dtype=np.int32)
    begin = [np.searchsorted(table["run"], numbers) for table in (trace.instructions, trace.transfers)]
    memories = [
        _memory(trace, known, int(core), space, name, target, edges, begin)
        for space, name in word.SPACE_NAMES.items()
        for core in np.unique(trace.runs["core"])
    ]
    chips = np.unique(trace.runs["core"]) // target.cores_per_chip
    drams = [_dram(trace, known, int(chip), target, edges) for chip in np.unique(chips)]
    return Occupancy(float(edges[1]), sorted(memories, key=lambda m: (m.core, m.memory)), drams, _spills(trace, known))


# ---- SBUF and PSUM
def _memory(trace: Trace, known: Source, core: int, space: int, name: str, target: Target, edges: np.ndarray,
            begin: list[np.ndarray]) -> Memory:  # fmt: skip
    """`begin`: first instruction, and first transfer, of each run."""
    capacity = target.sbuf_partition_bytes if space == word.SBUF else target.psum_partition_bytes
    on_core = np.flatnonzero(trace.runs["core"] == core)
    times, changes, held, allocated = [], [], 0, 0
    for number in np.unique(known.stage_of_run[on_core]):
        stage = known.ran[int(number)].stage
        runs = on_core[known.stage_of_run[on_core] == number]
        allocated = max(allocated, stage.sbuf_peak_bytes if space == word.SBUF else stage.psum_peak_bytes)
        found = accesses(stage, space)
        kept: Values | None = None
        for run in runs.tolist():
            start, end = _times(trace, found, *(slice(b[run], b[run + 1]) for b in begin))
            kept = kept or values(found, start, end)
            times += [start[kept.first], end[kept.last]]
            changes += [kept.bytes, -kept.bytes]
        held = max(held, kept.held if kept else 0)
    levels, peak = _most(np.concatenate(times), np.concatenate(changes), edges)
    return Memory(core, name, capacity, allocated, held, peak + held, (levels + held).tolist())


def _times(trace: Trace, found: Accesses, words: slice, moves: slice) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of each access in the run with those rows."""
    row = words.start + found.op
    start, end = trace.instructions["start"][row].copy(), trace.instructions["end"][row].copy()
    if found.moves.any():
        transfer = np.searchsorted(trace.transfers["op"][moves], row[found.moves]) + moves.start
        start[found.moves], end[found.moves] = trace.transfers["start"][transfer], trace.transfers["end"][transfer]
    return start, end


def _most(time: np.ndarray, change: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, int]:
    """Highest level in each part of the time, and over all, of a level that changes at those times."""
    order = np.lexsort((change, time))  # what ends at a tick makes room for what begins
    time, level = time[order], np.cumsum(change[order])
    last = np.searchsorted(time, edges[:-1], side="right") - 1
    highest = np.where(last >= 0, level[np.maximum(last, 0)] if len(level) else 0, 0)
    part = np.clip(np.searchsorted(edges, time, side="right") - 1, 0, len(edges) - 2)
    np.maximum.at(highest, part, level)
    return highest.astype(np.int64), int(level.max(initial=0))


# ---- DRAM
def _dram(trace: Trace, known: Source, chip: int, target: Target, edges: np.ndarray) -> Dram:
    sizes = dict.fromkeys(VARIABLE_KINDS, 0)
    runs, moves = trace.runs, trace.transfers
    here = runs["core"] // target.cores_per_chip == chip
    places = np.stack([runs["core"][here], known.stage_of_run[here]], axis=1)
    for _, number in np.unique(places, axis=0):
        for v in known.ran[int(number)].stage.variables:
            sizes[v.kind] += v.size_bytes if v.space == IN_DRAM else 0
    mine = np.flatnonzero(moves["core"] // target.cores_per_chip == chip)
    read, written = (_moved(moves, mine, column, edges) for column in ("read", "written"))
    return Dram(chip, sizes, read, written)


def _moved(moves: dict[str, np.ndarray], rows: np.ndarray, column: str, edges: np.ndarray) -> list[float]:
    """Bytes in each part of the time, those of a transfer evenly over it."""
    start, size = moves["start"][rows].astype(np.float64), moves[column][rows].astype(np.float64)
    end = np.maximum(moves["end"][rows], start + 1)
    rate = size / (end - start)

    def until(at: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Sum over what lies before each edge of weight x (edge - at)."""
        order = np.argsort(at, kind="stable")
        sums = np.concatenate([[0.0], np.cumsum(weight[order])])
        firsts = np.concatenate([[0.0], np.cumsum((weight * at)[order])])
        count = np.searchsorted(at[order], edges, side="right")
        return sums[count] * edges - firsts[count]

    found: list[float] = np.maximum(np.diff(until(start, rate) - until(end, rate)), 0.0).tolist()
    return found


def _spills(trace: Trace, known: Source) -> list[Spill]:
    purpose = known.purpose_of_debug[known.transfer_debug]
    sums = {}
    for name in ("spill", "reload"):
        weights = np.where(purpose == name, trace.transfers["bytes"], 0)
        sums[name] = np.bincount(known.transfer_layer, weights=weights, minlength=len(known.layers)).astype(np.int64)
    rows = np.flatnonzero(sums["spill"] + sums["reload"])
    found = [
        Spill(known.layers[k].model, known.layers[k].name, int(sums["spill"][k]), int(sums["reload"][k])) for k in rows
    ]
    return sorted(found, key=lambda s: (-s.saved - s.reloaded, s.model, s.layer))
