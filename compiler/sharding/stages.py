"""A device segment as a pipeline: cut by the costs, built, cut again with costs corrected by the stages' estimates."""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import cast

from compiler.backend.build import build
from compiler.errors import AllocationError
from compiler.interval_rules import Range
from compiler.ir import Graph
from compiler.lower import lower_graph
from compiler.lowering.wish import wishes
from compiler.nonfinite import nonfinite
from compiler.options import CompileOptions
from compiler.precision import Precision
from compiler.ranges import ranges
from compiler.sharding.balance import linked_ns, slowest_ns
from compiler.sharding.calibrate import Calibration
from compiler.sharding.costs import node_costs
from compiler.sharding.division import Division, divide
from compiler.sharding.handover import buffer_bytes, spaces
from compiler.sharding.line import Line, Piece, line_of, size_bytes
from compiler.sharding.look import look
from compiler.sharding.order import order
from compiler.sharding.rates import NEVER, rates
from isa.program import IN_SBUF, Stage
from isa.target import Target

BALANCED = 1.03  # slowest stage over the mean that needs no further round
PATIENCE = 6  # rounds without a faster slowest stage
ROUNDS = 30
SHARING = (1, 2, 4)  # parts of a chip's DRAM bandwidth at which weights without room are priced
SAME = 0.02  # of the time between two results that fetching fewer weights is worth
PIN_ROUNDS = 4  # to see whether all weights find room


@dataclass(frozen=True)
class Built:
    """One stage of a segment.

    Attributes:
        inputs, outputs: names of the values it reads and makes; of a pipeline, as handed over.
        layers: names of the segment's nodes that it computes, or parts of, in order.
    """

    stage: Stage
    inputs: Sequence[str]
    outputs: Sequence[str]
    layers: tuple[str, ...] = ()

    @property
    def streamed_bytes(self) -> int:
        """Weights that every run fetches from DRAM."""
        return cast(int, self.stage.info["streamed_bytes"])


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
class _Whole:
    """What is known of the segment as a whole, and so of the values of its stages."""

    precision: Precision
    nonfinite: frozenset[str]
    ranges: Mapping[str, Range]
    wishes: Mapping[str, int | None]


@dataclass(frozen=True)
class _Part:
    """What one stage is to be.

    Attributes:
        spaces: memory of what it is handed and hands on, by name.
        own, relayed: bytes that it makes, and only hands on, for another chip.
    """

    number: int
    graph: Graph
    pieces: tuple[Piece, ...]
    spaces: Mapping[str, str]
    own: int = 0
    relayed: int = 0


@dataclass(frozen=True)
class _Time:
    """Estimated ns of a stage on its core, and the weight bytes that found no room there."""

    ns: float
    streamed_bytes: int


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


class Sharder:
    """Makes pipelines of one segment.

    Args:
        graph: optimised; not changed.
        precision_of: storage types of a graph under the options.
        first_core: of the first stage.
    """

    def __init__(
        self, graph: Graph, target: Target, options: CompileOptions, precision_of: Callable[[Graph], Precision],
        first_core: int = 0,
    ) -> None:
        self.graph, self.target, self.options, self.first_core = graph, target, options, first_core
        self.precision_of = precision_of
        self.precision = precision_of(graph)
        program, _ = lower_graph(graph, target, self.precision, options, list(graph.outputs))
        self.costs = node_costs(program, graph)
        self.names = order(graph)
        self._stages: dict[Hashable, Stage] = {}
        self._times: dict[Hashable, _Time] = {}

    def pipeline(self, stages: int, pinned: bool = False) -> Pipelined:
        """At most so many stages, as balanced as the rounds make them.

        Weights without room are priced at the whole DRAM bandwidth of a chip first, then at parts of it: how much the
        neighbours fetch is seen in the rounds only.

        Args:
            pinned: weights that fit all are worth more than balance.
        Raises: AllocationError, UnsupportedOp: a stage cannot be built.
        """
        line = self._line(stages)
        dram = self.target.dram_bytes_per_ns
        made: list[_Round] = []
        for stream in [NEVER] if pinned and self.may_hold(stages) else [dram / n for n in SHARING]:
            if not made or any(m.streamed_bytes for m in made):
                made += self._improve(line, stages, stream, pinned)
        ends = self._best(made, pinned).ends
        return Pipelined(line, ends, tuple(self.build(line, ends)))

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
            parts, whole = self._parts(line, ends)
            times = [self._time(part, whole) for part in parts]
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

    def _line(self, stages: int) -> Line:
        return line_of(self.graph, self.names, self.costs, self.precision, stages)

    def build(self, line: Line, ends: Sequence[int], require_pinned: bool = False) -> list[Built]:
        """The stages that end after so many atoms.

        Raises: PinError with `require_pinned`; else as `pipeline`.
        """
        parts, whole = self._parts(line, ends)
        found = []
        for part in parts:
            stage = self._stage(part, whole, require_pinned)
            layers = tuple(piece.node for piece in part.pieces)
            found.append(Built(stage, tuple(part.graph.inputs), tuple(part.graph.outputs), layers))
        return found

    def _parts(self, line: Line, ends: Sequence[int]) -> tuple[list[_Part], _Whole]:
        limits = rates(self.target, len(ends), self.first_core)
        division = divide(self.graph, line, ends)
        whole = self._whole(division)
        parts: list[_Part] = []
        handed: dict[str, str] = {}
        for k, graph in enumerate(division.cut.stages):
            sizes = {} if k == len(ends) - 1 else {o: size_bytes(graph, o, whole.precision) for o in graph.outputs}
            mine, handed = handed, spaces(sizes, self.target)
            over = sizes if limits.crosses(k) else {}
            relayed = sum(over.get(o, 0) for n in graph.nodes if n.op == "Identity" for o in n.outputs)
            own = sum(over.values()) - relayed
            parts.append(_Part(k, graph, division.shares[k], {**mine, **handed}, own, relayed))
        return parts, whole

    def _whole(self, division: Division) -> _Whole:
        graph, copies = division.graph, division.cut.copies
        precision = self.precision_of(graph)
        precision.adopt(copies)
        infinite, known, wanted = nonfinite(graph), ranges(graph), wishes(graph)
        return _Whole(
            precision,
            infinite | {name for name, value in copies.items() if value in infinite},
            known | {name: known[value] for name, value in copies.items() if value in known},
            wanted | {name: wanted[value] for name, value in copies.items() if value in wanted},
        )

    def _time(self, part: _Part, whole: _Whole) -> _Time:
        """Time of a stage; that of one that looks alike where there is one. Infinite where it cannot be built."""
        key = look(part.graph, part.spaces)
        if key not in self._times:
            try:
                info = self._stage(part, whole).info
                self._times[key] = _Time(cast(float, info["estimated_ns"]), cast(int, info["streamed_bytes"]))
            except AllocationError:
                self._times[key] = _Time(math.inf, 0)
        return self._times[key]

    def _stage(self, part: _Part, whole: _Whole, require_pinned: bool = False) -> Stage:
        """The stage, built."""
        shapes = tuple((name, part.graph.shape(name), space) for name, space in part.spaces.items())
        key = part.pieces, shapes, require_pinned
        if key not in self._stages:
            self._stages[key] = self._built(part, whole, require_pinned)
        return self._stages[key]

    def _built(self, part: _Part, whole: _Whole, require_pinned: bool) -> Stage:
        graph = part.graph
        options = replace(self.options, require_pinned=require_pinned)
        sizes = (size_bytes(graph, i, whole.precision) for i in graph.inputs if part.spaces.get(i) == IN_SBUF)
        try:
            program, streamed = lower_graph(
                graph, self.target, whole.precision, options, list(graph.outputs), whole.nonfinite, whole.ranges,
                part.spaces, whole.wishes,
            )
            stage = build(program, options, pin=True, handover_bytes=buffer_bytes(sizes, self.target))
        except AllocationError as error:
            layer = error.layer.removeprefix("output ")
            nodes = [s for n in graph.nodes if layer in n.outputs for s in n.sources or [n.name]]
            raise error.within(place(part.number, [p.node for p in part.pieces]), nodes) from None
        stage.info["spill_bytes"] = cast(int, stage.info["spill_bytes"]) + streamed
        return stage


def place(k: int, layers: Sequence[str]) -> str:
    """A stage in words: its number and its layers."""
    if len(layers) < 2:
        return f"stage {k} (layer {layers[0]})" if layers else f"stage {k} (hands on only)"
    return f"stage {k} (layers {layers[0]} .. {layers[-1]})"
