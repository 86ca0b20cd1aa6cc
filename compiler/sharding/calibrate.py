"""What building stages teaches about the line: their times, what cuts cost, and where weights find no room.

A cut costs more or less than its bytes: values are turned for the next core, overlap between nodes is lost. What the
stages on both sides take beyond their pieces is spread over the kinds of their cuts, and so foretells cuts of the same
kind elsewhere (networks repeat their layers). The same kinds of atoms between the same kinds of cuts take the same
time.
"""
from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from compiler.sharding.balance import balance, spans, stage_ns, streamed_bytes
from compiler.sharding.line import Line
from compiler.sharding.rates import Rates

SWEEPS = 20  # over all that has been seen, to spread what remains
TRUST = (1.0, 0.7, 0.4, 0.0)  # part of the costs of cuts that is believed
STEP = 0.5  # of a remainder that one visit moves to each of a stage's two cuts: all of it

Cut = tuple[int, int, bool]  # looks of the nodes before and behind, and whether they are one
Stage = tuple[Cut, tuple[int, ...], Cut]


class _Seen(NamedTuple):
    """Where a stage was seen, its ns, and whether these are its pieces' and its cuts' alone."""

    low: int
    end: int
    ns: float
    plain: bool


@dataclass
class Calibration:
    """What is known so far about a line."""

    line: Line
    rates: Rates
    seen: dict[Stage, _Seen] = field(default_factory=dict)

    def balance(self, seen: Collection[tuple[int, ...]]) -> list[int]:
        """The best cut that was not yet seen, by what is known; [] when nothing new promises to be best.

        What cuts cost is learned from the few that were made. So where that points to nothing new, it is believed less.
        """
        for trust in TRUST:
            line = replace(self.line, enter=self.line.enter * trust, leave=self.line.leave * trust)
            ends = balance(line, self.rates)
            if tuple(ends) not in seen:
                return ends
        return []

    def learn(self, ends: Sequence[int], times: Sequence[float], streamed: Sequence[int]) -> Line:
        """The line as it looks after stages have been built.

        Args:
            times: ns of each, without links, as if it were alone on its chip.
            streamed: weight bytes of each that found no room.
        """
        scratch = self.line.scratch.copy()
        for (low, end), alone, missing in zip(spans(ends), times, streamed, strict=True):
            time = max(alone, missing / self.rates.stream_bytes_per_ns)
            self.seen[self._stage(low, end)] = _Seen(low, end, time, not missing and math.isfinite(time))
            short = missing - streamed_bytes(self.line, low, end, self.rates)
            scratch[low:end] += max(0, math.ceil(short / self.rates.partitions))
        self.line = replace(self.line, scratch=scratch)
        self._spread()
        self.line = replace(self.line, known=self._known())
        return self.line

    def _spread(self) -> None:
        """Fit the costs of the kinds of cuts to all times seen."""
        enter: dict[Cut, float] = {}
        leave: dict[Cut, float] = {}
        bare = replace(self.line, enter=np.zeros_like(self.line.enter), leave=np.zeros_like(self.line.leave))
        rest = [(stage, time - stage_ns(bare, low, end, self.rates))
                for stage, (low, end, time, plain) in self.seen.items() if plain]
        for _ in range(SWEEPS):
            for (first, _, last), missing in rest:
                error = missing - enter.get(first, 0.0) - leave.get(last, 0.0)
                enter[first] = enter.get(first, 0.0) + STEP * error
                leave[last] = leave.get(last, 0.0) + STEP * error
        cuts = [self._cut(at) for at in range(len(self.line.atoms) + 1)]
        self.line = replace(
            self.line,
            enter=np.array([enter.get(c, 0.0) for c in cuts]),
            leave=np.array([leave.get(c, 0.0) for c in cuts]),
        )

    def _known(self) -> dict[tuple[int, int], float]:
        """Times of all stages that look like one that was seen."""
        n = len(self.line.atoms)
        found = {}
        for stage, (low, end, time, _) in self.seen.items():
            for start in np.flatnonzero(self.line.kinds[: n - (end - low) + 1] == self.line.kinds[low]).tolist():
                if self._stage(start, start + end - low) == stage:
                    found[start, start + end - low] = time
        return found

    def _stage(self, low: int, end: int) -> Stage:
        return self._cut(low), tuple(self.line.kinds[low:end].tolist()), self._cut(end)

    def _cut(self, at: int) -> Cut:
        line = self.line
        if at in (0, len(line.atoms)):
            return -1, int(at > 0), False
        inside = line.atoms[at - 1][-1].node == line.atoms[at][0].node
        return int(line.looks[at - 1, 1]), int(line.looks[at, 0]), inside
