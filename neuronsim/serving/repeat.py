"""Exact extension: when everything that decides the future repeats, so does what follows from it, and is only copied.

The state is looked at after each end of a request: the loop's own, relative to its clock and to the requests issued,
and the machine's. From one occurrence of a state to the next is a period; all whole periods before the first load runs
out of requests are passed over at once, and the rest is simulated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuronsim._core import serving_state
from neuronsim._core.serving import Loop


@dataclass(frozen=True)
class Mark:
    """Where a simulation stood: clock, requests issued by each load, and what it had counted."""

    tick: int
    issued: np.ndarray
    cores: np.ndarray
    stations: np.ndarray
    area: np.ndarray

    @classmethod
    def of(cls, loop: Loop) -> Mark:
        return cls(loop.now, serving_state.issued(loop), serving_state.core_counters(loop),
                   *serving_state.station_counters(loop))


@dataclass
class Repetition:
    """Looks for a repeated state; `requests` as in `Layout`."""

    requests: np.ndarray
    machine: Any = None

    def run(self, loop: Loop, within: Callable[[np.ndarray], bool],
            report: Callable[[Loop], None] = lambda loop: None) -> bool:
        """Go on until the end, extending every pattern found.

        Args: within: told how often each station has run in simulation, whether to look on for a pattern.
        Returns: False when it was not, before the end.
        """
        total, ending = int(self.requests[-1]), self._exhausted(loop)
        seen: dict[bytes, Mark] | None = {}
        skipped = 0
        while loop.done < total:
            loop.advance(loop.done + 1)
            report(loop)
            if (now := self._exhausted(loop)) != ending:  # another regime
                seen, ending = {}, now
            if seen is None:
                continue
            state = self._state(loop)
            mark = Mark.of(loop)
            if state in seen:
                skipped += extend(loop, seen[state], mark, self.requests) * (mark.stations - seen[state].stations)[:, 0]
                seen = None  # nothing to gain before a load ends
            elif not within(mark.stations[:, 0] - skipped):
                return False
            else:
                seen[state] = mark
        return True

    def _exhausted(self, loop: Loop) -> tuple[bool, ...]:
        return tuple((serving_state.issued(loop) == np.diff(self.requests)).tolist())

    def _state(self, loop: Loop) -> bytes:
        machine = self.machine.state() if self.machine is not None else b""
        return hashlib.blake2b(serving_state.state(loop) + machine, digest_size=32).digest()


def extend(loop: Loop, before: Mark, now: Mark, requests: np.ndarray) -> int:
    """Pass over all whole periods that the loads have requests for; how many they were.

    Columns and counters are as if they had been simulated.
    """
    period, issued = now.tick - before.tick, now.issued - before.issued
    left = np.diff(requests) - now.issued
    some = issued > 0
    # one request is left over: after the last there is no next arrival
    times = int(((left[some] - 1) // issued[some]).min()) if some.any() else 0
    if times <= 0:
        return 0
    for column in (loop.arrival, loop.start, loop.end):
        for load, step in enumerate(issued):
            rows = column[requests[load]:requests[load + 1]]
            known = rows[:now.issued[load]]
            inside = np.flatnonzero((known > before.tick) & (known <= now.tick))
            repeat(rows, inside, int(step), period, times)
    rise = (times * (now.cores - before.cores), times * (now.stations - before.stations),
            times * (now.area - before.area))
    serving_state.skip(loop, times * period, times * issued, rise)
    return times


def repeat(column: np.ndarray, rows: np.ndarray, step: int, period: int, times: int) -> None:
    """column[row + k step] = column[row] + k period for every row and k in 1..times."""
    k = np.arange(1, times + 1, dtype=np.int64)[:, None]
    column[rows + k * step] = column[rows] + k * period
