"""Several callers of one loaded model: while one caller's run is on the core, others use the host's CPU.

Every run passes the same phases in order, each on one resource: CPU segments on a hardware thread of the host,
transfers on the host link, device stages on their cores. Link and cores serve one run at a time, first come first
served; the host has as many servers as hardware threads. A caller starts its next run when the last one has ended. The
model is exact and deterministic: times are whole picoseconds, ties go by arrival, and the pattern that repeats is the
steady state.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

CPU, LINK, CORE = "cpu", "link", "core"
_PER_SECOND = 10**12
_RUNS_AT_MOST = 20_000  # of callers whose pattern repeats later: the second half of them stands for it


class Phase(NamedTuple):
    """A part of a run: what it occupies (`CPU`, `LINK`, or `CORE` and a number), and for how long."""

    resource: str
    seconds: float


@dataclass(frozen=True)
class Steady:
    """What N callers see: runs per second (None when a run takes no time), and latencies in seconds over a period."""

    throughput_per_s: float | None
    latencies: tuple[float, ...]

    def percentile(self, percent: float) -> float:
        """The smallest latency that `percent` of the runs do not exceed."""
        ordered = sorted(self.latencies)
        return ordered[max(ceil(percent / 100 * len(ordered)) - 1, 0)]


def steady_state(phases: Sequence[Phase], vcpus: int, callers: int) -> Steady:
    """The steady state of `callers` closed loops over `phases` on a host of `vcpus` hardware threads."""
    steps = [(p.resource, round(p.seconds * _PER_SECOND)) for p in phases]
    steps = [(resource, time) for resource, time in steps if time]
    if not steps:
        return Steady(None, (0.0,))
    return _Loop(steps, {**{resource: 1 for resource, _ in steps}, CPU: vcpus}, callers).steady()


class _Loop:
    """The event loop. A caller is a number; times are picoseconds."""

    def __init__(self, steps: list[tuple[str, int]], servers: Mapping[str, int], callers: int) -> None:
        self.steps = steps
        self.free = dict(servers)
        self.queues: dict[str, deque[int]] = {resource: deque() for resource in servers}
        self.step = [0] * callers
        self.began = [0] * callers
        self.serving: list[tuple[int, int, int]] = []  # heap of (end, order of start, caller)
        self.started = 0
        self.now = 0
        self.latencies: list[int] = []
        for caller in range(callers):
            self.arrive(caller)

    def steady(self) -> Steady:
        seen: dict[object, tuple[int, int]] = {}
        while len(self.latencies) < _RUNS_AT_MOST:
            if not self.advance():
                continue
            pattern = self.pattern()
            if pattern in seen:
                return self.since(*seen[pattern])
            seen[pattern] = (len(self.latencies), self.now)
            if len(self.latencies) == _RUNS_AT_MOST // 2:
                half = (len(self.latencies), self.now)
        return self.since(*half)

    def since(self, runs: int, time: int) -> Steady:
        latencies = self.latencies[runs:]
        return Steady(
            len(latencies) * _PER_SECOND / (self.now - time), tuple(latency / _PER_SECOND for latency in latencies)
        )

    def advance(self) -> bool:
        """Take the next end of a phase; whether it ended a run."""
        self.now, _, caller = heapq.heappop(self.serving)
        resource, _ = self.steps[self.step[caller]]
        self.free[resource] += 1
        if self.queues[resource]:
            self.serve(self.queues[resource].popleft())
        self.step[caller] = (self.step[caller] + 1) % len(self.steps)
        ended = self.step[caller] == 0
        if ended:
            self.latencies.append(self.now - self.began[caller])
            self.began[caller] = self.now
        self.arrive(caller)
        return ended

    def arrive(self, caller: int) -> None:
        resource, _ = self.steps[self.step[caller]]
        if self.free[resource]:
            self.serve(caller)
        else:
            self.queues[resource].append(caller)

    def serve(self, caller: int) -> None:
        resource, time = self.steps[self.step[caller]]
        self.free[resource] -= 1
        self.started += 1
        heapq.heappush(self.serving, (self.now + time, self.started, caller))

    def pattern(self) -> object:
        """All that decides the future, without the clock and without who is who."""
        serving = [(end - self.now, self.about(caller)) for end, _, caller in sorted(self.serving)]
        return tuple(serving), tuple(tuple(map(self.about, queue)) for queue in self.queues.values())

    def about(self, caller: int) -> tuple[int, int]:
        return self.step[caller], self.now - self.began[caller]
