"""What limits the rate: how much of the slowest stage's time each resource of the machine is at work, or waited for.

Busy shares (engines, bandwidths) and shares of the critical path (latencies, DMA service) are on one scale: a resource
at 100 % sets the time alone. Those within two points of the first are co-critical: relieving one alone gains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from isa.program import Program
from isa.target import Target
from isa.topology import Topology
from isa.trace import Trace
from isa.word import ENGINES
from profiler.analyses.engine_time import issued
from profiler.analyses.pipeline import Chain, pipeline
from profiler.analyses.run_paths import Reason, Steps, run_paths
from profiler.intervals import covered
from profiler.table import Table

CO_CRITICAL = 2.0  # percentage points
IMBALANCE = 1.10  # a rate that balanced stages would raise so much: the stages come first
STAGES, HOST = "stage balance", "host link"
_OF_PATH = {
    "semaphore latency": (Reason.SIGNAL,),
    "DMA start latency": (Reason.DMA_START,),
    "DMA engines": (Reason.DMA_SERVICE, Reason.DMA_QUEUE),
    "result latency": (Reason.LATENCY,),
}


@dataclass(frozen=True)
class Limits:
    """Of one copy of a model.

    Attributes:
        stage, core: the slowest stage.
        shares: resource -> percent of the time from one request to the next, the largest first.
        limited_by: the resources that set it.
    """

    model: int
    copy: int
    stage: int
    core: int
    shares: dict[str, float]
    limited_by: list[str]


@dataclass(frozen=True)
class Resources:
    """The limits of every copy of every model."""

    copies: list[Limits]

    def as_json(self) -> dict[str, Any]:
        """The attributes."""
        return asdict(self)

    def tables(self) -> list[Table]:
        """The largest shares of each copy."""
        table = Table("What limits the rate", ["model", ">copy", ">stage", "limited by", "shares"])
        for c in self.copies:
            most = ", ".join(f"{name} {share:.0f} %" for name, share in list(c.shares.items())[:3])
            table.rows.append([str(c.model), str(c.copy), str(c.stage), " and ".join(c.limited_by), most])
        return [table]


def resources(trace: Trace, programs: Sequence[Program], target: Target, paths: Steps | None = None) -> Resources:
    """What limits each copy of each model; `paths`: the trace's run_paths, where known already."""
    steps, done = paths or run_paths(trace, target), issued(trace, target)
    lengths = np.zeros((len(Reason), len(trace.runs["start"])), np.int64)
    np.add.at(lengths, (steps.reason, steps.run), steps.end - steps.start)
    return Resources([_limits(trace, target, c, done, lengths) for c in pipeline(trace, programs, target).chains])


def _limits(trace: Trace, target: Target, chain: Chain, done: np.ndarray, lengths: np.ndarray) -> Limits:
    slowest = max(chain.stages, key=lambda s: s.mean)
    runs = trace.runs
    mine = (runs["model"] == chain.model) & (runs["copy"] == chain.copy) & (runs["stage"] == slowest.stage)
    time = max(slowest.busy, 1)
    shares = _engines(trace, done, mine, time) | _bandwidths(trace, target, mine, slowest.core, time)
    for name, reasons in _OF_PATH.items():
        shares[name] = float(lengths[list(reasons)][:, mine].sum()) / time
    part = 100.0 * slowest.mean / max(chain.period, 1.0)
    shares = {name: min(part * share, 100.0) for name, share in shares.items()}
    shares[HOST] = 100.0 * chain.link_period / max(chain.period, 1.0)
    ranked = {name: shares[name] for name in sorted(shares, key=lambda n: (-shares[n], n)) if shares[name] >= 0.05}
    most = max(ranked.values(), default=0.0)
    found = [name for name, share in ranked.items() if share >= most - CO_CRITICAL]
    if chain.speedup >= IMBALANCE:
        found = [STAGES]
    return Limits(chain.model, chain.copy, slowest.stage, slowest.core, ranked, found)


def _engines(trace: Trace, done: np.ndarray, runs: np.ndarray, time: int) -> dict[str, float]:
    table = trace.instructions
    here = runs[table["run"]]
    found = {}
    for number, name in enumerate(ENGINES[:4]):
        rows = np.flatnonzero(here & (table["engine"] == number))
        found[f"{name} engine"] = covered(table["start"][rows], done[rows]) / time
    return found


def _bandwidths(trace: Trace, target: Target, runs: np.ndarray, core: int, time: int) -> dict[str, float]:
    """DRAM of the chip, by the traffic of all its cores while any ran; links, by what the stage itself sends."""
    moves, chip = trace.transfers, trace.runs["core"] // target.cores_per_chip == core // target.cores_per_chip
    ns = 1e9 / trace.tick_hz
    mine = runs[moves["run"]]
    traffic = moves["read"] + moves["written"]
    together = covered(trace.runs["start"][chip], trace.runs["end"][chip])
    found = {
        "DRAM bandwidth": max(
            float(traffic[mine].sum()) / (target.dram_bytes_per_ns * ns * time),
            float(traffic[chip[moves["run"]]].sum()) / (target.dram_bytes_per_ns * ns * max(together, 1)),
        )
    }
    rate = Topology(target).link_bytes_per_ns
    if rate and moves["link_bytes"][mine].any():
        found["chip-to-chip link"] = float(moves["link_bytes"][mine].sum()) / (rate * ns * time)
    return found
