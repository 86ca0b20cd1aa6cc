"""The stages of a cut segment: one graph each, lowered with what is known of the whole, built, timed."""
from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from compiler.sharding.division import Division, divide
from compiler.sharding.handover import buffer_bytes, spaces
from compiler.sharding.line import Line, Piece, size_bytes
from compiler.sharding.look import look
from compiler.sharding.rates import rates
from isa.program import IN_SBUF, Stage
from isa.target import Target


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
class Whole:
    """What is known of the segment as a whole, and so of the values of its stages."""

    precision: Precision
    nonfinite: frozenset[str]
    ranges: Mapping[str, Range]
    wishes: Mapping[str, int | None]


@dataclass(frozen=True)
class Part:
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
class Time:
    """Estimated ns of a stage on its core, and the weight bytes that found no room there."""

    ns: float
    streamed_bytes: int


class Stages:
    """Makes the stages of one segment; what was built once is not built again.

    Args:
        graph: optimised; not changed.
        precision_of: storage types of a graph under the options.
        first_core: of the first stage.
    """

    def __init__(
        self, graph: Graph, target: Target, options: CompileOptions, precision_of: Callable[[Graph], Precision],
        first_core: int,
    ) -> None:
        self.graph, self.target, self.options, self.first_core = graph, target, options, first_core
        self.precision_of = precision_of
        self._stages: dict[Hashable, Stage] = {}
        self._times: dict[Hashable, Time] = {}

    def build(self, line: Line, ends: Sequence[int], require_pinned: bool = False) -> list[Built]:
        """The stages that end after so many atoms.

        Raises: PinError with `require_pinned`; AllocationError, UnsupportedOp: a stage cannot be built.
        """
        parts, whole = self.parts(line, ends)
        found = []
        for part in parts:
            stage = self._stage(part, whole, require_pinned)
            layers = tuple(piece.node for piece in part.pieces)
            found.append(Built(stage, tuple(part.graph.inputs), tuple(part.graph.outputs), layers))
        return found

    def parts(self, line: Line, ends: Sequence[int]) -> tuple[list[Part], Whole]:
        """What the stages that end after so many atoms are to be."""
        limits = rates(self.target, len(ends), self.first_core)
        division = divide(self.graph, line, ends)
        whole = self._whole(division)
        parts: list[Part] = []
        handed: dict[str, str] = {}
        for k, graph in enumerate(division.cut.stages):
            sizes = {} if k == len(ends) - 1 else {o: size_bytes(graph, o, whole.precision) for o in graph.outputs}
            mine, handed = handed, spaces(sizes, self.target)
            over = sizes if limits.crosses(k) else {}
            relayed = sum(over.get(o, 0) for n in graph.nodes if n.op == "Identity" for o in n.outputs)
            own = sum(over.values()) - relayed
            parts.append(Part(k, graph, division.shares[k], {**mine, **handed}, own, relayed))
        return parts, whole

    def time(self, part: Part, whole: Whole) -> Time:
        """Time of a stage; that of one that looks alike where there is one. Infinite where it cannot be built."""
        key = look(part.graph, whole.precision, part.spaces)
        if key not in self._times:
            try:
                info = self._stage(part, whole).info
                self._times[key] = Time(cast(float, info["estimated_ns"]), cast(int, info["streamed_bytes"]))
            except AllocationError:
                self._times[key] = Time(math.inf, 0)
        return self._times[key]

    def _whole(self, division: Division) -> Whole:
        graph, copies = division.graph, division.cut.copies
        precision = self.precision_of(graph)
        precision.adopt(copies)
        infinite, known, wanted = nonfinite(graph), ranges(graph), wishes(graph)
        return Whole(
            precision,
            infinite | {name for name, value in copies.items() if value in infinite},
            known | {name: known[value] for name, value in copies.items() if value in known},
            wanted | {name: wanted[value] for name, value in copies.items() if value in wanted},
        )

    def _stage(self, part: Part, whole: Whole, require_pinned: bool = False) -> Stage:
        """The stage, built."""
        faces = tuple((v, part.graph.shape(v), whole.precision.storage(v), s) for v, s in part.spaces.items())
        key = part.pieces, faces, require_pinned
        if key not in self._stages:
            self._stages[key] = self._built(part, whole, require_pinned)
        return self._stages[key]

    def _built(self, part: Part, whole: Whole, require_pinned: bool) -> Stage:
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
