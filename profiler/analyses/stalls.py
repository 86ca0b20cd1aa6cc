"""Where the time of each engine goes: active, waiting (by cause), or idle; it adds up to the whole, in ticks.

Two views. `direct`: what the engine itself waited for. `root`: a wait for an engine that waits in its turn is counted
as what that one waits for, so a chain that ends in a DMA transfer is DMA time on every engine of the chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isa.program import Program
from isa.target import Target
from isa.trace import Trace
from isa.word import ENGINES
from profiler.analyses import source
from profiler.analyses.causes import Causes, Pieces, joined
from profiler.analyses.engine_time import NAMES, WAIT, Segments, Stall, segments
from profiler.analyses.posts import Posts
from profiler.table import Table

_DMA = [Stall.DMA_START, Stall.DMA_QUEUE, Stall.DMA_SERVICE, Stall.DRAM, Stall.LINK]
GROUPS: dict[str, list[int]] = {  # for overviews
    "active": [Stall.ACTIVE],
    "other engines": list(range(Stall.TENSOR, Stall.SYNC + 1)),
    "signals": [Stall.SIGNAL],
    "DMA": [int(s) for s in _DMA],
    "dependences": [Stall.PORT, Stall.RAW, Stall.PE_SLOT],
    "pipeline": [Stall.NO_INPUT, Stall.NO_ROOM, Stall.SWITCH],
    "no work": [Stall.NO_WORK, Stall.END_OF_STREAM, Stall.IDLE, Stall.NOT_RECORDED],
}


@dataclass(frozen=True, eq=False)
class Stalls:
    """Time of every engine of every core that ran something, in ticks.

    Attributes:
        total_ticks: of the trace; `tick_hz` ticks are a second.
        cores: [c] numbers.
        direct, root: [c, 5, len(Stall)] int64; sums over the last axis are `total_ticks`.
        word_class: [n] the `Stall` that took most of the wait before each instruction; ACTIVE where it did not wait.
    """

    total_ticks: int
    tick_hz: int
    cores: np.ndarray
    direct: np.ndarray
    root: np.ndarray
    word_class: np.ndarray

    def percent(self, view: str = "direct") -> np.ndarray:
        """[5, len(Stall)] of the time of all cores, by engine."""
        sums = getattr(self, view).sum(axis=0)
        return 100.0 * sums / max(self.total_ticks * len(self.cores), 1)

    def as_json(self) -> dict[str, Any]:
        """Engines in percent, every core's engines in ticks; classes of 0 ticks are left out."""
        engines = {
            name: {view: _named(self.percent(view)[e], float) for view in ("direct", "root")}
            for e, name in enumerate(ENGINES)
        }
        lanes = [
            {"core": int(core), "engine": name, **{v: _named(getattr(self, v)[c, e], int) for v in ("direct", "root")}}
            for c, core in enumerate(self.cores)
            for e, name in enumerate(ENGINES)
        ]
        return {"total_ticks": self.total_ticks, "tick_hz": self.tick_hz, "engines_percent": engines, "lanes": lanes}

    def tables(self) -> list[Table]:
        """Engines by group of classes, the root view."""
        table = Table("What engines do, and what their waits come down to", ["engine", *(f">{g}" for g in GROUPS)])
        root = self.percent("root")
        for e, name in enumerate(ENGINES):
            if root[e, Stall.ACTIVE]:
                table.rows.append([name, *(f"{root[e, g].sum():.1f} %" for g in GROUPS.values())])
        return [table]


def stalls(trace: Trace, programs: Sequence[Program], target: Target) -> Stalls:
    """The stall breakdown of a trace."""
    found = segments(trace, target)
    causes = Causes(trace, target, Posts(source.read(trace, programs), target))
    waits = np.flatnonzero(found.kind == WAIT)
    pieces = causes.direct(waits, found.start[waits], found.end[waits], found.op[waits])
    tails = np.flatnonzero(found.kind == Stall.END_OF_STREAM)
    ends = causes.ends(tails, found.start[tails], found.end[tails], found.op[tails])
    shape = (len(found.cores), len(ENGINES), len(Stall))

    def total(without: set[int], parts: Pieces) -> np.ndarray:
        rest = np.flatnonzero(~np.isin(found.kind, list(without)))
        base = _sums(found.lane[rest], found.kind[rest], found.end[rest] - found.start[rest], shape)
        return base + _sums(found.lane[parts.owner], parts.kind, parts.end - parts.start, shape)

    root = total({WAIT, Stall.END_OF_STREAM}, causes.root(found, joined([pieces, ends])))
    return Stalls(trace.total_ticks, trace.tick_hz, found.cores, total({WAIT}, pieces), root,
                  _word_class(trace, found, pieces))  # fmt: skip


def _sums(lane: np.ndarray, kind: np.ndarray, ticks: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Ticks by (lane, kind). Exact: sums of whole numbers stay below 2^53."""
    sums = np.bincount(lane * shape[2] + kind, weights=ticks, minlength=shape[0] * shape[1] * shape[2])
    return sums.astype(np.int64).reshape(shape)


def _word_class(trace: Trace, found: Segments, pieces: Pieces) -> np.ndarray:
    classes = np.full(len(trace.instructions["start"]), Stall.ACTIVE, np.uint8)
    order = np.argsort(pieces.end - pieces.start, kind="stable")  # the longest is written last
    classes[found.op[pieces.owner[order]]] = pieces.kind[order]
    return classes


def _named(values: np.ndarray, kind: type) -> dict[str, Any]:
    return {name: kind(v) for name, v in zip(NAMES, values) if v}
