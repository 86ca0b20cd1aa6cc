"""The pipeline from outside: time of each stage, what its core did between runs, the bottleneck, what balance gives.

A core's time is its runs and its bubbles: *fill* before its first run and *drain* behind its last; between runs the
signal that starts each run and waits for the host link are *transfer*; of the rest, up to what the slowest stage takes
longer than this one is *imbalance*, and what is left is *starved*: too few requests were in flight, or none was there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from isa.program import Program
from isa.target import Target
from isa.trace import HostKind, RunWait, Trace
from profiler.analyses.engine_time import ticks
from profiler.metrics import percent
from profiler.table import Table
from profiler.text import seconds_text

BUBBLES = ("fill", "drain", "transfer", "imbalance", "switch", "starved", "not_recorded")


@dataclass(frozen=True)
class StageTime:
    """One stage of one copy of a model on its core; times in ticks.

    Attributes:
        busy: in runs; busy + all bubbles + `others` (runs of other stages on the core) is the total of the trace.
        mean, shortest, longest: of its runs.
        busy_percent: of the total.
    """

    model: int
    copy: int
    stage: int
    core: int
    runs: int
    busy: int
    mean: float
    shortest: int
    longest: int
    others: int
    bubbles: dict[str, int]
    busy_percent: float


@dataclass(frozen=True)
class Chain:
    """One copy of a model: its stages and what bounds its rate.

    Attributes:
        bottleneck: "stage 3", or "host link" where that is busier per request than any stage.
        period: ticks from one request to the next that the bottleneck allows; balanced: with all stages equally long.
        speedup: of the rate, were they.
        requests_per_s: that `period` allows.
        link_period: ticks of host link per request.
    """

    model: int
    copy: int
    stages: list[StageTime]
    bottleneck: str
    period: float
    balanced: float
    speedup: float
    requests_per_s: float
    link_period: float


@dataclass(frozen=True)
class Pipeline:
    """All copies of all models. `host_link_percent`: of the trace's time, by chip."""

    total_ticks: int
    tick_hz: int
    chains: list[Chain]
    host_link_percent: dict[int, float]
    host_cpu_ticks: int

    def as_json(self) -> dict[str, Any]:
        """The attributes."""
        links = {str(chip): share for chip, share in self.host_link_percent.items()}
        return {**asdict(self), "host_link_percent": links}

    def tables(self) -> list[Table]:
        """A table for each chain."""
        return [self._table(chain) for chain in self.chains]

    def _table(self, chain: Chain) -> Table:
        table = Table(
            f"Pipeline of model {chain.model}, copy {chain.copy}",
            ["stage", ">core", ">runs", ">time", ">busy", *(f">{b}" for b in BUBBLES if b != "not_recorded")],
        )
        for s in chain.stages:
            shares = [f"{percent(s.bubbles[b], self.total_ticks):.1f} %" for b in BUBBLES if b != "not_recorded"]
            table.rows.append([str(s.stage), str(s.core), str(s.runs), seconds_text(s.mean / self.tick_hz),
                               f"{s.busy_percent:.1f} %", *shares])  # fmt: skip
        table.notes.append(
            f"bottleneck: {chain.bottleneck}; at most {chain.requests_per_s:.4g} requests/s, "
            f"x{chain.speedup:.2f} with balanced stages"
        )
        return table


def pipeline(trace: Trace, programs: Sequence[Program], target: Target) -> Pipeline:
    """The pipeline view of a trace."""
    runs, host = trace.runs, trace.host
    signal = ticks(trace, target, target.semaphore_latency_ns * 1e-9)
    links = host["kind"] != HostKind.CPU
    shares = {
        int(chip): percent(_length(host, links & (host["where"] == chip)), trace.total_ticks)
        for chip in np.unique(host["where"][links])
    }
    keys = np.unique(np.stack([runs["model"], runs["copy"]], axis=1), axis=0)
    chains = [_chain(trace, int(m), int(c), signal) for m, c in keys]
    return Pipeline(trace.total_ticks, trace.tick_hz, chains, shares, _length(host, ~links))


def _length(table: dict[str, np.ndarray], rows: np.ndarray) -> int:
    return int((table["end"] - table["start"])[rows].sum())


def _chain(trace: Trace, model: int, copy: int, signal: int) -> Chain:
    runs = trace.runs
    mine = (runs["model"] == model) & (runs["copy"] == copy)
    length = runs["end"] - runs["start"]
    numbers = np.unique(runs["stage"][mine])
    means = [float(length[mine & (runs["stage"] == s)].mean()) for s in numbers]
    slowest = max(means)
    stages = [_stage(trace, mine & (runs["stage"] == s), slowest, signal) for s in numbers]
    start = signal if len(stages) > 1 else 0
    link = _link_period(trace, model)
    period = max(slowest + start, link)
    balanced = max(float(np.mean(means)) + start, link)
    name = "host link" if link > slowest + start else f"stage {numbers[int(np.argmax(means))]}"
    rate = trace.tick_hz / period if period else 0.0
    return Chain(model, copy, stages, name, period, balanced, period / balanced if balanced else 1.0, rate, link)


def _link_period(trace: Trace, model: int) -> float:
    """Ticks of host link per request of a model, both directions of a link one after the other."""
    host, requests = trace.host, int((trace.requests["model"] == model).sum())
    mine = (host["model"] == model) & (host["kind"] != HostKind.CPU)
    chips = np.unique(host["where"][mine])
    return max((_length(host, mine & (host["where"] == c)) for c in chips), default=0) / max(requests, 1)


def _stage(trace: Trace, rows: np.ndarray, slowest: float, signal: int) -> StageTime:
    """The stage whose runs those are, and the bubbles of its core."""
    runs = trace.runs
    core = int(runs["core"][rows][0])
    length = (runs["end"] - runs["start"])[rows]
    on_core = np.flatnonzero(runs["core"] == core)
    others = int((runs["end"] - runs["start"])[on_core].sum() - length.sum())
    bubbles = _bubbles(trace, on_core[np.argsort(runs["start"][on_core], kind="stable")], slowest, signal)
    first = int(np.flatnonzero(rows)[0])
    return StageTime(
        int(runs["model"][first]), int(runs["copy"][first]), int(runs["stage"][first]), core, len(length),
        int(length.sum()), float(length.mean()), int(length.min()), int(length.max()), others, bubbles,
        percent(int(length.sum()), trace.total_ticks),
    )  # fmt: skip


def _bubbles(trace: Trace, order: np.ndarray, slowest: float, signal: int) -> dict[str, int]:
    """Ticks of a core outside of its runs, which `order` lists by time."""
    runs = trace.runs
    start, end, wait_for = runs["start"][order], runs["end"][order], runs["wait_for"][order]
    gap = start[1:] - end[:-1]
    recorded = np.minimum(gap, runs["wait"][order][1:])
    switch = np.where(wait_for[1:] == RunWait.SWITCH, recorded, np.minimum(runs["switch"][order][1:], recorded))
    rest = recorded - switch
    transfer = np.minimum(rest, signal)
    by_input = wait_for[1:] == RunWait.INPUT
    before = end[:-1]
    link = _overlap(trace, runs["request"][order][1:], before, start[1:] - transfer)
    transfer = transfer + np.where(by_input, np.minimum(link, rest - transfer), 0)
    rest = rest - transfer
    shorter = np.maximum(np.round(slowest - (end - start)[:-1]).astype(np.int64), 0)
    imbalance = np.where(wait_for[1:] == RunWait.WORK, 0, np.minimum(rest, shorter))
    last = trace.total_ticks - int(end[-1])
    dropped = any(trace.dropped.values())
    sums = (int(start[0]), 0 if dropped else last, transfer, imbalance, switch, rest - imbalance,
            int((gap - recorded).sum()) + (last if dropped else 0))  # fmt: skip
    return {name: int(np.sum(value)) for name, value in zip(BUBBLES, sums, strict=True)}


def _overlap(trace: Trace, request: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Ticks of each interval in which the host link last brought inputs of its request."""
    host, count = trace.host, len(trace.requests["start"])
    brought = np.flatnonzero(host["kind"] == HostKind.LINK_IN)
    begin, finish = np.zeros(count, np.int64), np.zeros(count, np.int64)
    begin[host["request"][brought]], finish[host["request"][brought]] = host["start"][brought], host["end"][brought]
    return np.maximum(np.minimum(end, finish[request]) - np.maximum(start, begin[request]), 0)
