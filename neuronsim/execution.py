"""Runs the nodes of a program in order on one core: device stages by timing and values, CPU segments by the host.

Not responsible for what the user typed (`neuronsim/api.py`, `neuronsim/host.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from isa.program import INPUT, OUTPUT, Node, Program, Stage, Variable
from isa.spec import SPEC
from isa.target import Target
from isa.trace import Trace
from isa.word import ENGINES
from neuronsim import host
from neuronsim.host_cpu import CpuSegment
from neuronsim.timing import Loaded, Timeline, simulate

if TYPE_CHECKING:
    from neuronsim.check import Finding
    from neuronsim.values import Core


@dataclass
class StageRun:
    """One device stage of one run: its program and timeline."""

    node: Node
    stage: Stage
    timeline: Timeline


@dataclass
class Run:
    """One iteration of a program.

    Attributes:
        outputs: model outputs; empty without values.
        stages: device stages in execution order.
        host_in_seconds, host_out_seconds: host link; cpu_seconds: charged to CPU segments; device_seconds: on the core.
        wall_seconds: host time of the simulation alone.
        warnings: for the user.
    """

    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    stages: list[StageRun] = field(default_factory=list)
    host_in_seconds: float = 0.0
    host_out_seconds: float = 0.0
    cpu_seconds: float = 0.0
    device_seconds: float = 0.0
    wall_seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)

    @property
    def latency_seconds(self) -> float:
        return self.host_in_seconds + self.device_seconds + self.cpu_seconds + self.host_out_seconds

    @property
    def instructions(self) -> int:
        return sum(len(s) for r in self.stages for s in r.stage.streams.values())

    def trace(self, target: Target) -> Trace:
        """The traces of all stages on one clock, stage number in the `core` column."""
        return Trace.join([r.timeline.trace(r.stage, target) for r in self.stages])

    def statistics(self, iterations: int) -> dict[str, Any]:
        """What a run adds to the profiler's metrics.

        Every iteration starts from a reset machine: all latencies are equal.
        """
        ms = self.latency_seconds * 1e3
        return {
            "latency_ms": {"p50": ms, "p99": ms, "max": ms},
            "throughput_per_s": 1.0 / self.latency_seconds if self.latency_seconds else None,
            "iterations": iterations,
            "host_in_time": self.host_in_seconds,
            "host_out_time": self.host_out_seconds,
            "cpu_node_time": self.cpu_seconds,
            "simulated_instructions": self.instructions,
            "host_wall_seconds": self.wall_seconds,
        }


class Machine:
    """One core of `target` with a program loaded."""

    def __init__(self, program: Program, target: Target) -> None:
        self.program = program
        self.target = target
        self._timing: dict[int, Loaded] = {}
        self._cores: dict[int, Core] = {}
        self._segments = {name: CpuSegment(name, model) for name, model in program.cpu_models.items()}

    def run(self, inputs: Mapping[str, np.ndarray], values: bool, threads: int) -> Run:
        """Run every node once.

        Args:
            inputs: model inputs, complete where `values`.
            values: compute values, else time only.
            threads: host threads for values.
        Raises: SimulationError, CpuSegmentError.
        """
        run = Run()
        self._load(values)
        tensors = dict(inputs)
        for node in self.program.nodes:
            if node.kind == "cpu":
                self._cpu(node, tensors, run, values)
            else:
                self._device(node, tensors, run, values, threads)
        if values:
            run.outputs = {
                o.name: tensors[o.name].reshape(o.shape).astype(host.numpy_dtype(o.dtype), copy=False)
                for o in self.program.outputs
            }
        return run

    def check(self) -> list[Finding]:
        """Findings of the static checks, over all stages."""
        from neuronsim.check import check

        return [finding for stage in self.program.stages for finding in check(stage, self.target)]

    def device_seconds(self, target: Target) -> float:
        """Time of all device stages on another machine of the same generation; nothing else is simulated."""
        stages = (self.program.stages[n.stage] for n in self.program.nodes if n.kind != "cpu")
        return sum(simulate(stage, target).total_ticks for stage in stages) / target.tick_hz

    def _load(self, values: bool) -> None:
        """Price every stage, once; and give it its memory where `values`: a time-only run touches no data."""
        for node in self.program.nodes:
            if node.kind == "cpu":
                continue
            stage = self.program.stages[node.stage]
            if node.stage not in self._timing:
                self._timing[node.stage] = Loaded([stage], self.target)
            if values and node.stage not in self._cores:
                from neuronsim.values import Core

                self._cores[node.stage] = Core(stage, self.target)

    def _device(self, node: Node, tensors: dict[str, np.ndarray], run: Run, values: bool, threads: int) -> None:
        stage = self.program.stages[node.stage]
        started = time.perf_counter()
        variables_in = [v for v in stage.variables if v.kind == INPUT]
        variables_out = [v for v in stage.variables if v.kind == OUTPUT]
        timeline = self._timing[node.stage].run()[0]
        run.stages.append(StageRun(node, stage, timeline))
        if not values:
            run.wall_seconds += time.perf_counter() - started
        run.device_seconds += timeline.total_ticks / self.target.tick_hz
        run.host_in_seconds += host.link_seconds((v.size_bytes for v in variables_in), self.target)
        run.host_out_seconds += host.link_seconds((v.size_bytes for v in variables_out), self.target)
        if values:
            core = self._cores[node.stage]
            given = {v.name: _as_variable(v, tensors[v.name]) for v in variables_in}
            made = core.run(timeline, given, threads=threads)
            run.wall_seconds += time.perf_counter() - started
            run.warnings += list(_nan_warnings(core, timeline, given, made))
            tensors.update(made)

    def _cpu(self, node: Node, tensors: dict[str, np.ndarray], run: Run, values: bool) -> None:
        segment = self._segments[node.model]
        run.cpu_seconds += segment.seconds
        if values:
            started = time.perf_counter()
            tensors.update(segment.run({name: tensors[name] for name in node.inputs}))
            run.wall_seconds += time.perf_counter() - started


def _as_variable(variable: Variable, array: np.ndarray) -> np.ndarray:
    """The array in the element type and shape of a DRAM variable, contiguous."""
    return np.ascontiguousarray(array.astype(variable.dtype.numpy, copy=False)).reshape(variable.shape)


def _nan_warnings(
    core: Core, timeline: Timeline, given: Mapping[str, np.ndarray], made: Mapping[str, np.ndarray]
) -> Iterator[str]:
    """Where NaNs come from: the first layer that reads a NaN input, or the first word that makes a non-finite number.

    The second is looked for only when an output holds NaN, by running the stage once more on one thread.
    """
    stage = core.stage
    bad = [name for name, array in made.items() if _holds(np.isnan, array)]
    suspect = _not_finite if bad else np.isnan  # an infinity alone is a fair input, for instance in a mask
    poisoned = [v for v in stage.variables if v.kind == INPUT and _holds(suspect, given[v.name])]
    for variable in poisoned:
        what = "NaN" if _holds(np.isnan, given[variable.name]) else "infinities"
        yield f"input {variable.name!r} holds {what}; first read by layer {_first_reader(stage, variable.id)!r}"
    if not bad or poisoned:
        return
    core.run(timeline, given, find_nonfinite=True)
    op = core.first_nonfinite
    if op is not None:
        engine = ENGINES[int(timeline.engine[op])]
        index = int(timeline.index[op])
        layer = stage.debug[int(stage.stream(engine)[index]["debug"])].layer
        yield f"output {bad[0]!r} holds NaN; first NaN or infinity made in layer {layer!r} by {engine}[{index}]"


def _holds(test: Callable[[np.ndarray], np.ndarray], array: np.ndarray) -> bool:
    """Whether any element of a float array (bf16 and fp8 included) meets the test."""
    return array.dtype.kind not in "iub" and bool(test(array).any())


def _not_finite(array: np.ndarray) -> np.ndarray:
    return ~np.isfinite(array)


def _first_reader(stage: Stage, variable: int) -> str:
    """Layer whose transfer comes first, in engine order, among those that read a DRAM variable."""
    trigger = SPEC.by_name["dma_trigger"].opcode
    for engine in ENGINES:
        stream = stage.stream(engine)
        for word in stream[stream["opcode"] == trigger]:
            first, count = int(word["arg"]), int(word["count"])
            if (stage.descriptors["src_var"][first : first + count] == variable).any():
                return stage.debug[int(stage.descriptors["debug"][first]) or int(word["debug"])].layer
    return ""
