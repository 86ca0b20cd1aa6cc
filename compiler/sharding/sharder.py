"""A device segment as a pipeline: cut by the costs, timed, cut again with what the stages' estimates teach."""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from compiler.lower import lower_graph
from compiler.sharding.balance import linked_ns, slowest_ns
from compiler.sharding.calibrate import Calibration
from compiler.sharding.costs import node_costs
from compiler.sharding.line import Line, line_of
from compiler.sharding.order import order
from compiler.sharding.rates import NEVER, rates
from compiler.sharding.stages import Built, Stages

BALANCED = 1.03  # slowest stage over the mean that needs no further round
EVEN = 2.0  # slowest stage over the mean up to which sharing rows is taken to be worth it
FEWER = 1.5  # slowest stage over the mean from which half as many stages are tried: handing on costs time too
PATIENCE = 6  # rounds without a faster slowest stage
ROUNDS = 30
SHARING = (1, 2, 4)  # parts of a chip's DRAM bandwidth at which weights without room are priced
SAME = 0.02  # of the time between two results that fetching fewer weights is worth
PIN_ROUNDS = 4  # to see whether all weights find room


@dataclass(frozen=True)
class Pipelined:
    """A segment in stages. `line` and `ends` say what each of them does."""

    line: Line
    ends: Sequence[int]
    built: tuple[Built, ...]

    @property
    def streamed_bytes(self) -> int:
        """Weights that the runs of all stages fetch from DRAM."""
        return sum(b.streamed_bytes for b in self.built)


@dataclass(frozen=True)
class _Round:
    """Ends of stages that were timed.

    Attributes:
        times: ns of each alone on its chip, links included. dram_ns: for the weights that the stages of a chip fetch.
        streamed_bytes: all weight bytes that a run fetches.
    """

    ends: list[int]
    times: list[float]
    dram_ns: float
    streamed_bytes: int

    @property
    def ns(self) -> float:
        """Between two results of a full pipeline."""
        return max(self.dram_ns, *self.times)

    def rank(self, pinned: bool) -> tuple[int, float]:
        """Less is better."""
        return self.streamed_bytes if pinned else 0, self.ns

    @property
    def balanced(self) -> bool:
        """Whether no further round is worth its time."""
        return self.ns * len(self.times) <= BALANCED * sum(self.times)

    def even(self, limit: float) -> bool:
        """Whether the slowest stage takes at most `limit` times the mean."""
        return math.isfinite(self.ns) and max(self.times) * len(self.times) <= limit * sum(self.times)


class Sharder:
    """Makes pipelines of the segment whose stages `stages` makes."""

    def __init__(self, stages: Stages) -> None:
        graph, target = stages.graph, stages.target
        self.graph, self.target, self.first_core = graph, target, stages.first_core
        self.stages = stages
        self.precision = stages.precision_of(graph)
        program, _ = lower_graph(graph, target, self.precision, stages.options, list(graph.outputs))
        self.costs = node_costs(program, graph)
        self.names = order(graph)

    def pipeline(self, stages: int, pinned: bool = False) -> Pipelined:
        """At most so many stages, as balanced as the rounds make them.

        Weights without room are priced at the whole DRAM bandwidth of a chip first, then at parts of it: how much the
        neighbours fetch is seen in the rounds only.

        Images joined from rows are on chip whole, and rows of an input may be slow to hand on: where stages come out
        uneven, or cannot be built, no rows are shared, or half as many stages made, if that is better.

        Args:
            pinned: weights that fit all are worth more than balance.
        Raises: AllocationError, UnsupportedOp: a stage cannot be built.
        """
        found: list[tuple[Line, _Round]] = []
        for rows in (True, False):
            line = self._line(stages, rows)
            found.append((line, self._best(self._tried(line, stages, pinned), pinned)))
            if found[0][1].even(EVEN):
                break
        if stages > 1 and not found[0][1].streamed_bytes and not found[0][1].even(FEWER):
            found.append((found[0][0], self._best(self._tried(found[0][0], stages // 2, pinned), pinned)))
        line, best = min(found, key=lambda f: f[1].rank(pinned))
        return Pipelined(line, best.ends, tuple(self.stages.build(line, best.ends)))

    def _tried(self, line: Line, stages: int, pinned: bool) -> list[_Round]:
        dram = self.target.dram_bytes_per_ns
        made: list[_Round] = []
        for stream in [NEVER] if pinned and self.may_hold(stages) else [dram / n for n in SHARING]:
            if not made or any(m.streamed_bytes for m in made):
                made += self._improve(line, stages, stream, pinned)
        return made

    def _improve(self, line: Line, stages: int, stream: float, pinned: bool) -> list[_Round]:
        """Rounds until one is good, or some have not been better."""
        made: list[_Round] = []
        for found in islice(self._rounds(line, stages, stream), ROUNDS):
            made.append(found)
            best = min(made, key=lambda m: m.rank(pinned))
            stale = len(made) - 1 - made.index(best)
            if stale == (PATIENCE if math.isfinite(best.ns) else 1) or (found.balanced and not found.streamed_bytes):
                break
        return made

    @staticmethod
    def _best(made: Sequence[_Round], pinned: bool) -> _Round:
        """The fastest; of those that are about as fast, the one that fetches least."""
        best = min(made, key=lambda m: m.rank(pinned))
        good = [m for m in made if pinned or m.ns <= best.ns * (1 + SAME)]
        return min(good, key=lambda m: m.rank(True))

    def holds(self, stages: int) -> bool:
        """Whether so many cores are seen to hold all weights."""
        rounds = islice(self._rounds(self._line(stages), stages, NEVER), PIN_ROUNDS)
        return self.may_hold(stages) and any(not made.streamed_bytes for made in rounds)

    def _rounds(self, line: Line, stages: int, stream: float) -> Iterator[_Round]:
        """Ever other cuts, each chosen by what the ones before have taught."""
        limits = rates(self.target, min(stages, len(line.atoms)), self.first_core, stream)
        calibration = Calibration(line, limits)
        seen: set[tuple[int, ...]] = set()
        while ends := calibration.balance(seen):
            seen.add(tuple(ends))
            parts, whole = self.stages.parts(line, ends)
            times = [self.stages.time(part, whole) for part in parts]
            linked = [linked_ns(t.ns, p.own, p.relayed, limits) for t, p in zip(times, parts, strict=True)]
            missing = [t.streamed_bytes for t in times]
            fetched = Counter[int]()
            for k, size in enumerate(missing):
                fetched[limits.chip_of(k)] += size
            dram = max(fetched.values()) / self.target.dram_bytes_per_ns
            yield _Round(ends, linked, dram, sum(missing))
            calibration.learn(ends, [t.ns for t in times], missing)

    def may_hold(self, stages: int) -> bool:
        """Whether so many cores could hold all weights, by the costs alone."""
        line = self._line(stages)
        limits = rates(self.target, min(stages, len(line.atoms)), self.first_core, NEVER)
        return slowest_ns(line, limits) < 1 / NEVER

    def _line(self, stages: int, rows: bool = True) -> Line:
        return line_of(self.graph, self.names, self.costs, self.precision, stages, rows)
