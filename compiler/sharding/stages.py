"""A device segment as a pipeline: cut by the costs, built, cut again with costs corrected by the stages' estimates."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from compiler.backend.build import build
from compiler.errors import AllocationError
from compiler.interval_rules import Range
from compiler.ir import Graph
from compiler.lower import lower_graph
from compiler.nonfinite import nonfinite
from compiler.options import CompileOptions
from compiler.precision import Precision
from compiler.ranges import ranges
from compiler.sharding.balance import Line, Rates, balance, rates, stage_ns
from compiler.sharding.costs import node_costs
from compiler.sharding.division import Division, divide
from compiler.sharding.handover import buffer_bytes, spaces
from compiler.sharding.line import line_of, size_bytes
from isa.program import IN_SBUF, Stage
from isa.target import Target

BALANCED = 1.03  # slowest stage over the mean that needs no further round
PATIENCE = 3  # rounds without a faster slowest stage
ROUNDS = 10
MOST_CORRECTION = 2.0  # factor by which one round may change a cost, up or down


@dataclass(frozen=True)
class Built:
    """One stage of a segment.

    Attributes:
        inputs, outputs: names of the values it reads and makes; of a pipeline, as handed over.
        layers: names of the nodes, in order.
        ns: its estimated time, with what its results take on the link to the next chip.
    """

    stage: Stage
    inputs: Sequence[str]
    outputs: Sequence[str]
    layers: tuple[str, ...] = ()
    ns: float = 0.0

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
    def slowest(self) -> float:
        """ns of the slowest stage."""
        return max(b.ns for b in self.built)

    @property
    def streamed_bytes(self) -> int:
        """Weights that the runs of all stages fetch from DRAM."""
        return sum(b.streamed_bytes for b in self.built)

    @property
    def balanced(self) -> bool:
        """Whether no further round is worth its time."""
        return self.slowest * len(self.built) <= BALANCED * sum(b.ns for b in self.built)


@dataclass(frozen=True)
class _Whole:
    """What is known of the segment as a whole, and so of the values of its stages."""

    precision: Precision
    nonfinite: frozenset[str]
    ranges: Mapping[str, Range]


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
        self._built: dict[tuple[object, ...], Built] = {}

    def pipeline(self, stages: int, pinned: bool = False) -> Pipelined:
        """At most so many stages, as balanced as the rounds make them.

        Args:
            pinned: weights that fit all are worth more than balance.
        Raises: AllocationError, UnsupportedOp: a stage cannot be built.
        """
        line = line_of(self.graph, [n.name for n in self.graph.nodes], self.costs, self.precision, stages)
        limits = rates(self.target, stages, self.first_core)
        best: Pipelined | None = None
        stale, seen = 0, set()
        for _ in range(ROUNDS):
            ends = balance(line, stages, limits)
            if tuple(ends) in seen:
                break
            seen.add(tuple(ends))
            made = Pipelined(line, ends, tuple(self.build(line, ends)))
            if best is None or _rank(made, pinned) < _rank(best, pinned):
                best, stale = made, 0
            else:
                stale += 1
            if stale == PATIENCE or (made.balanced and not (pinned and made.streamed_bytes)):
                break
            line = _corrected(made, limits)
        assert best is not None
        return best

    def may_hold(self, stages: int) -> bool:
        """Whether so many cores could hold all weights, by the costs alone."""
        return sum(c.weight_bytes for c in self.costs.values()) <= stages * self.target.sbuf_partition_bytes

    def build(self, line: Line, ends: Sequence[int], require_pinned: bool = False) -> list[Built]:
        """The stages that end after so many atoms; those built before are not built again.

        Raises: PinError with `require_pinned`; else as `pipeline`.
        """
        limits = rates(self.target, len(ends), self.first_core)
        division = divide(self.graph, line, ends)
        whole = self._whole(division)
        found: list[Built] = []
        handed: dict[str, str] = {}
        for k, graph in enumerate(division.cut.stages):
            mine, last = handed, k == len(ends) - 1
            sizes = {o: size_bytes(graph, o, whole.precision) for o in graph.outputs}
            handed = {} if last else spaces(sizes, self.target)
            over = sum(sizes.values()) if limits.crosses(k) and not last else 0
            key = (require_pinned, division.shares[k], over, limits.neighbours(k),
                   *((n, graph.shape(n), s) for n, s in (*mine.items(), *handed.items())))
            if key not in self._built:
                stage = self._stage(k, graph, whole, {**mine, **handed}, limits.neighbours(k), require_pinned)
                self._built[key] = Built(
                    stage, tuple(graph.inputs), tuple(graph.outputs), tuple(n.name for n in graph.nodes),
                    cast(float, stage.info["estimated_ns"]) + over / limits.link_bytes_per_ns,
                )
            found.append(self._built[key])
        return found

    def _whole(self, division: Division) -> _Whole:
        graph, copies = division.graph, division.cut.copies
        precision = self.precision_of(graph)
        precision.adopt(copies)
        infinite, known = nonfinite(graph), ranges(graph)
        return _Whole(
            precision,
            infinite | {name for name, value in copies.items() if value in infinite},
            known | {name: known[value] for name, value in copies.items() if value in known},
        )

    def _stage(
        self, k: int, graph: Graph, whole: _Whole, handed: Mapping[str, str], sharing: int, require_pinned: bool
    ) -> Stage:
        """Stage k, built for its part of the DRAM bandwidth of a chip that `sharing` stages share."""
        target = self.target.with_params({"dram.bytes_per_ns": self.target.dram_bytes_per_ns / sharing})
        options = replace(self.options, require_pinned=require_pinned)
        sizes = (size_bytes(graph, i, whole.precision) for i in graph.inputs if handed.get(i) == IN_SBUF)
        try:
            program, streamed = lower_graph(
                graph, target, whole.precision, options, list(graph.outputs), whole.nonfinite, whole.ranges, handed
            )
            stage = build(program, options, pin=True, handover_bytes=buffer_bytes(sizes, target))
        except AllocationError as error:
            layer = error.layer.removeprefix("output ")
            nodes = [s for n in graph.nodes if layer in n.outputs for s in n.sources or [n.name]]
            raise error.within(place(k, [n.name for n in graph.nodes]), nodes) from None
        stage.info["spill_bytes"] = cast(int, stage.info["spill_bytes"]) + streamed
        return stage


def place(k: int, layers: Sequence[str]) -> str:
    """A stage in words: its number and its layers."""
    if len(layers) < 2:
        return f"stage {k} (layer {layers[0]})" if layers else f"stage {k} (hands on only)"
    return f"stage {k} (layers {layers[0]} .. {layers[-1]})"


def _rank(made: Pipelined, pinned: bool) -> tuple[int, float]:
    return made.streamed_bytes if pinned else 0, made.slowest


def _corrected(made: Pipelined, limits: Rates) -> Line:
    """The line with costs that would have foretold the stages' times, and the room that their weights did not have."""
    line, low = made.line, 0
    ns, scratch = line.ns.copy(), line.scratch.copy()
    for k, (end, built) in enumerate(zip(made.ends, made.built, strict=True)):
        work = float(line.ns[low:end].sum())
        rest = stage_ns(line, low, end, k, limits) - work
        if work > 0:
            ns[low:end] *= np.clip((built.ns - rest) / work, 1 / MOST_CORRECTION, MOST_CORRECTION)
        scratch[low:end] += -(-built.streamed_bytes // limits.partitions)
        low = end
    return replace(line, ns=ns, scratch=scratch)
