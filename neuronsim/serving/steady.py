"""The steady state of several callers of one loaded model: what `neuronsim run` reports as throughput and latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from neuronsim._core import serving_state
from neuronsim._core.serving import Loop
from neuronsim.serving.model import KINDS

_PER_SECOND = 10**12  # whole picoseconds
_RUNS_AT_MOST = 4_000  # of callers whose pattern repeats later: the second half of them stands for it


@dataclass(frozen=True)
class Steady:
    """What N callers see: runs per second (None when a run takes no time), and latencies in seconds over a period."""

    throughput_per_s: float | None
    latencies: tuple[float, ...]

    def percentile(self, percent: float) -> float:
        """The smallest latency that `percent` of the runs do not exceed."""
        ordered = sorted(self.latencies)
        return ordered[max(ceil(percent / 100 * len(ordered)) - 1, 0)]


def serve_steps(steps: Sequence[tuple[str, float, int]], vcpus: int, callers: int) -> Steady:
    """The steady state of `callers` closed loops over steps of (kind, seconds, where) on the cores of one chip.

    A kind is "cpu", "link" or "core", of which only cores have a number; steps that take no time are left out. A core
    hands on to the next one where steps on two follow each other; their signals are part of the times.
    """
    kinds = [(KINDS.index(kind), where, round(seconds * _PER_SECOND)) for kind, seconds, where in steps]
    timed = [step for step in kinds if step[2]]
    if not timed:
        return Steady(None, (0.0,))
    loop = _loop(timed, vcpus, callers)
    seen: dict[bytes, tuple[int, int]] = {}
    half = (0, 0)
    while loop.done < _RUNS_AT_MOST:
        loop.advance(loop.done + 1)
        state = serving_state.state(loop)
        if state in seen:
            return _since(loop, *seen[state])
        seen[state] = (loop.done, loop.now)
        if loop.done <= _RUNS_AT_MOST // 2:
            half = (loop.done, loop.now)
    return _since(loop, *half)


def _loop(timed: Sequence[tuple[int, int, int]], vcpus: int, callers: int) -> Loop:
    requests = _RUNS_AT_MOST + callers
    stations = [(kind, where, 0, i + 1 == len(timed), -1, ticks, 0, -1) for i, (kind, where, ticks) in enumerate(timed)]
    cores = 1 + max(where for _, where, _ in timed)
    return Loop(
        np.array(stations, dtype=np.int64), np.array([[1, 0, 0, callers, 0, requests, 0]], dtype=np.int64),
        np.zeros(1, dtype=np.int32), np.ones(requests, dtype=np.int32), np.zeros(requests, dtype=np.int64),
        cores=cores, chips=1, vcpus=vcpus, credit=0,
    )


def _since(loop: Loop, runs: int, tick: int) -> Steady:
    """What ended after that tick."""
    ended = (loop.end > tick) & (loop.end <= loop.now)
    latencies = (loop.end - loop.arrival)[ended] / _PER_SECOND
    return Steady((loop.done - runs) * _PER_SECOND / (loop.now - tick), tuple(np.sort(latencies).tolist()))
