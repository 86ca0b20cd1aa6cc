"""What came of serving: columns of requests, and what every core and step did, with summaries as plain JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np

from isa.topology import Link


@dataclass(frozen=True)
class Requests:
    """The requests of one load, in the order they arrived; columns [n] int64 ticks.

    Attributes:
        arrival, start, end: start is when the first piece leaves its first queue; end when the last has passed.
        pieces: runs that the requests became; padding: rows of them that hold no request.
    """

    name: str
    arrival: np.ndarray
    start: np.ndarray
    end: np.ndarray
    pieces: int
    padding: int
    tick_hz: int

    @cached_property
    def _ordered(self) -> np.ndarray:
        return np.sort(self.end - self.arrival)

    @property
    def latency_s(self) -> np.ndarray:
        """[n] float64 seconds from arrival to end."""
        return (self.end - self.arrival) / self.tick_hz

    def percentile_s(self, percent: float) -> float:
        """The smallest latency that `percent` of the requests do not exceed, in seconds; 0 without requests."""
        ordered = self._ordered
        return float(ordered[max(ceil(percent / 100 * len(ordered)) - 1, 0)]) / self.tick_hz if len(ordered) else 0.0

    @property
    def throughput_per_s(self) -> float:
        """Requests per second from the first arrival to the last end; 0 when that is no time."""
        span = int(self.end.max(initial=0)) - int(self.arrival.min(initial=0)) if len(self.end) else 0
        return len(self.end) * self.tick_hz / span if span else 0.0

    @property
    def steady_per_s(self) -> float:
        """Requests per second over the middle half of the ends, where a pipeline neither fills nor drains."""
        ends = np.sort(self.end)
        low, high = len(ends) // 4, len(ends) - 1 - len(ends) // 4
        span = int(ends[high] - ends[low]) if len(ends) else 0
        return (high - low) * self.tick_hz / span if span else self.throughput_per_s

    def summary(self) -> dict[str, Any]:
        """JSON values: counts, rates per second, milliseconds."""
        waits = (self.start - self.arrival) / self.tick_hz
        return {
            "name": self.name, "requests": len(self.end), "pieces": self.pieces, "padding_rows": self.padding,
            "throughput_per_s": self.throughput_per_s, "steady_per_s": self.steady_per_s,
            "latency_ms": {n: self.percentile_s(p) * 1e3 for n, p in (
                ("p0", 0), ("p50", 50), ("p90", 90), ("p99", 99), ("max", 100))},
            "mean_wait_ms": float(waits.mean()) * 1e3 if len(waits) else 0.0,
        }


@dataclass(frozen=True)
class CoreUse:
    """One core: share of the time it ran, models brought in place of others, and the time that took."""

    index: int
    utilization: float
    busy_ns: float
    switches: int
    switch_ns: float


@dataclass(frozen=True)
class StepUse:
    """One step of one copy of a model.

    Attributes:
        busy_ns: in service, all runs together; runs: how many.
        alone_ns, together_ns: mean time of a run with the machine to itself, and as it was.
        bubble_share: of the time between its first start and its last end, the part it was not in service.
        queue_mean, queue_max: pieces that waited for it; the mean is over the time of the whole simulation.
        dram_bytes: of device memory that it read and wrote, on whatever chip, all runs together.
        switches: runs that brought the model onto the core in place of another; switch_ns: the time that took.
    """

    model: int
    copy: int
    position: int
    kind: str
    where: int
    runs: int
    busy_ns: float
    alone_ns: float
    together_ns: float
    bubble_share: float
    queue_mean: float
    queue_max: int
    dram_bytes: int
    switches: int
    switch_ns: float

    @property
    def contention(self) -> float:
        """How much longer a run took than alone, as a share."""
        return self.together_ns / self.alone_ns - 1 if self.alone_ns and self.runs else 0.0


@dataclass(frozen=True)
class Served:
    """A finished simulation.

    Attributes:
        method: "machine", "extended", "recurrence" or "approximate"; exact: whether it equals the machine's answer.
        reason: why that method.
        loads: one per load. cores: those that served. steps: those on cores and links and the host, in order.
        ticks: from 0 to the last end; tick_hz: ticks per second.
        dram_bytes: [chips]; link_bytes: by link.
    """

    method: str
    exact: bool
    reason: str
    loads: tuple[Requests, ...]
    cores: tuple[CoreUse, ...]
    steps: tuple[StepUse, ...]
    ticks: int
    tick_hz: int
    dram_bytes: np.ndarray
    link_bytes: Mapping[Link, int]

    @property
    def seconds(self) -> float:
        return self.ticks / self.tick_hz

    @property
    def stages(self) -> tuple[StepUse, ...]:
        """The steps on cores."""
        return tuple(s for s in self.steps if s.kind == "core")

    def to_json(self) -> dict[str, Any]:
        """Summaries as JSON values; the columns are in `loads`."""
        return {
            "method": self.method, "exact": self.exact, "reason": self.reason, "seconds": self.seconds,
            "loads": [load.summary() for load in self.loads],
            "cores": [asdict(core) for core in self.cores],
            "steps": [{**asdict(step), "contention": step.contention} for step in self.steps],
            "dram_bytes": [int(n) for n in self.dram_bytes],
            "link_bytes": [
                {"source": a, "destination": b, "bytes": n} for (a, b), n in sorted(self.link_bytes.items())],
        }
