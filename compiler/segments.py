"""Compiles the segments of a partition: device segments to pipeline stages or one, CPU segments to ONNX models.

A device segment that turns out not to compile sends the nodes its error names to the CPU, with the error as the reason,
and the graph is partitioned again. Each round moves at least one node, so the rounds end. Defects of the compiler
(VerifyError, anything that is no CompileError) are never hidden that way.
"""
from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from compiler.backend.build import build
from compiler.errors import AllocationError, CompileError, ShardingError, UnsupportedOp, VerifyError
from compiler.frontends.onnx.export import to_model
from compiler.ir import Graph
from compiler.lower import lower_graph
from compiler.options import CompileOptions
from compiler.partition import Partition, Partitioner, Segment
from compiler.pipeline import optimise
from compiler.precision import Precision
from compiler.sharding.demands import check_cores, pipeline
from compiler.sharding.stages import Built
from isa.errors import ErrorList
from isa.target import Target

#: Rounds, each a compilation, in which a segment loses single nodes; then it goes to the CPU whole.
PATIENCE = 16


@dataclass(frozen=True)
class Compiled:
    """One segment: its stages, or a serialised ONNX model.

    Attributes:
        segment: what it was made of.
        inputs, outputs: names of the values that cross; without inputs that only lent a shape or a type, with values
            kept for comparison.
        stages: of a device segment, in pipeline order, on the cores from `core` on. model: of a CPU segment.
        graph: as optimised, for the values that became outputs.
        notes: for the user.
    """

    segment: Segment
    inputs: list[str]
    outputs: list[str]
    graph: Graph
    stages: tuple[Built, ...] = ()
    core: int = 0
    model: bytes = b""
    notes: tuple[str, ...] = ()


@dataclass
class Compiler:
    """Compiles the segments of one graph for one target."""

    target: Target
    options: CompileOptions
    keep_tensors: bool
    _done: dict[tuple[object, ...], Compiled] = field(default_factory=dict)

    def run(self, partitioner: Partitioner) -> tuple[Partition, list[Compiled]]:
        """Partition and compile until every device segment compiles.

        Raises: CompileError when there is no fallback, or for what the CPU cannot help.
        """
        cores = self.options.neuroncore_pipeline_cores
        if cores is not None:
            assert not isinstance(cores, str), "a search gives numbers"
            check_cores(cores, 0, self.target)
        for round_ in itertools.count():
            found = partitioner.partition()
            done: list[Compiled] = []
            pipelines = sum(segment.kind == "device" for segment in found.segments)
            for segment in found.segments:
                work = segment.graph.copy()
                core = sum(len(c.stages) for c in done) if cores is not None else 0
                try:
                    done.append(self._compile(segment, work, core, pipelines))
                except (CompileError, ErrorList) as error:
                    reasons = refusals(error, work, segment) if segment.kind == "device" else {}
                    if reasons and round_ >= PATIENCE:
                        reasons = dict.fromkeys(segment.sources, next(iter(reasons.values())))
                    if not self.options.fallback or not partitioner.refuse(reasons):
                        raise
                    break
            else:
                return found, done
        raise AssertionError("each round moves a node")

    def _compile(self, segment: Segment, work: Graph, core: int, pipelines: int) -> Compiled:
        if segment.kind == "cpu":
            return Compiled(segment, work.inputs, work.outputs, work, model=to_model(work).SerializeToString())
        key = (core, *segment.sources, "", *work.outputs)
        if key not in self._done:
            self._done[key] = self._device(segment, work, core, pipelines)
        return self._done[key]

    def _device(self, segment: Segment, work: Graph, core: int, pipelines: int) -> Compiled:
        options = self.options
        cores = options.neuroncore_pipeline_cores
        assert not isinstance(cores, str), "a search gives numbers"
        if cores is not None:
            check_cores(cores, core, self.target, pipelines)
        optimise(work, level=options.opt_level, fusion=options.fusion, print_after=options.print_after)
        work.inputs = [i for i in work.inputs if work.consumers(i) or i in work.outputs]
        if self.keep_tensors:
            work.outputs = list(dict.fromkeys([*work.outputs, *(o for n in work.nodes for o in n.outputs if o)]))
        if cores is not None:
            made = pipeline(work, self.target, options, self.precision, cores, core)
            return Compiled(segment, work.inputs, work.outputs, work, made.stages, core, notes=made.notes)
        program, streamed_bytes = lower_graph(work, self.target, self.precision(work), options, list(work.outputs))
        stage = build(program, options)
        stage.info["spill_bytes"] = cast(int, stage.info["spill_bytes"]) + streamed_bytes
        return Compiled(segment, work.inputs, work.outputs, work, (Built(stage, work.inputs, work.outputs),))

    def precision(self, graph: Graph) -> Precision:
        """Storage types of a graph under the options."""
        auto_cast = self.options.auto_cast or ("matmult" if self.target.generation == "v1" else "none")
        return Precision(graph, self.target, auto_cast, self.options.auto_cast_type)


def refusals(error: CompileError | ErrorList, work: Graph, segment: Segment) -> dict[str, str]:
    """Names of the segment's nodes that an error keeps off the device, with the reason; empty for a defect.

    Args:
        work: the segment's graph as far as it had been optimised.
    """
    errors = error.errors if isinstance(error, ErrorList) else [error]
    if any(isinstance(e, VerifyError | ShardingError) or not isinstance(e, CompileError) for e in errors):
        return {}
    found: dict[str, str] = {}
    for one in cast(Sequence[CompileError], errors):
        sources = set(_blamed(one, work))
        names = [n.name for n in segment.graph.nodes if sources & {n.name, *n.sources}]
        for name in names or segment.sources:
            found.setdefault(name, _sentence(one))
    return found


def _blamed(error: CompileError, work: Graph) -> Iterator[str]:
    """Names of the model's nodes an error is about, by the nodes or the layer it names."""
    if isinstance(error, UnsupportedOp | AllocationError):
        yield from error.nodes
    names = {error.where, error.layer if isinstance(error, AllocationError) else ""} - {""}
    names |= {name.removeprefix("output ") for name in names}  # the layer that stores a result
    for node in work.nodes:
        if names & {node.name, f"node {node.name!r}", *node.outputs}:
            yield from node.sources or [node.name]


def _sentence(error: CompileError) -> str:
    sides = [f"{name} {side}" for name, side in (("limit", error.limit), ("actual", error.actual)) if side is not None]
    return f"{error.what} ({', '.join(sides)})" if sides else error.what
