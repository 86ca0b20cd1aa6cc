"""Runs the nodes of a program in order on one core: device stages by timing and values, CPU segments by the host.

Several threads may run one `Machine`: the core is theirs one after the other, CPU segments overlap. Not responsible for
what the user typed (`neuronsim/api.py`, `neuronsim/host.py`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from isa.program import INPUT, OUTPUT, Node, Program, Stage, TensorInfo, Variable
from isa.spec import SPEC
from isa.target import Target
from isa.trace import Trace
from isa.word import ENGINES
from neuronsim import host
from neuronsim.concurrency import CORE, CPU, LINK, Phase, steady_state
from neuronsim.errors import SimulationError
from neuronsim.host_checks import numpy_dtype
from neuronsim.host_cpu import CpuSegment, load_all
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
        outputs: model outputs; empty without values. Arrays, lists for sequences, None for what is absent.
        stages: device stages in execution order.
        phases: what the run occupies, in order, and for how long.
        host_in_seconds, host_out_seconds: host link; cpu_seconds: charged to CPU segments; device_seconds: on the core.
        wall_seconds: host time of the simulation alone.
        warnings: for the user.
    """

    outputs: dict[str, Any] = field(default_factory=dict)
    stages: list[StageRun] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    host_in_seconds: float = 0.0
    host_out_seconds: float = 0.0
    wall_seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)

    @property
    def cpu_seconds(self) -> float:
        return sum(p.seconds for p in self.phases if p.resource == CPU)

    @property
    def device_seconds(self) -> float:
        return sum(p.seconds for p in self.phases if p.resource == CORE)

    @property
    def latency_seconds(self) -> float:
        return sum(p.seconds for p in self.phases)

    @property
    def instructions(self) -> int:
        return sum(len(s) for r in self.stages for s in r.stage.streams.values())

    def trace(self, target: Target) -> Trace:
        """The traces of all stages on one clock, stage number in the `core` column."""
        return Trace.join([r.timeline.trace(r.stage, target) for r in self.stages])

    def statistics(self, iterations: int, callers: int, target: Target) -> dict[str, Any]:
        """What a run adds to the profiler's metrics.

        Every run starts from a reset machine: with one caller all latencies are equal.
        """
        steady = steady_state(self.phases, target.host_vcpus, callers)
        return {
            "latency_ms": {n: steady.percentile(p) * 1e3 for n, p in (("p50", 50), ("p99", 99), ("max", 100))},
            "throughput_per_s": steady.throughput_per_s,
            "iterations": iterations,
            "callers": callers,
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
        self._device_lock = threading.Lock()

    def run(self, inputs: Mapping[str, Any], values: bool, threads: int) -> Run:
        """Run every node once.

        Args:
            inputs: model inputs, complete where `values`.
            values: compute values, else time only.
            threads: host threads for values.
        Raises: SimulationError, CpuSegmentError.
        """
        run = Run()
        with self._device_lock:
            self._load(values)
        if values:
            load_all(self._segments.values())
        tensors = dict(inputs)
        for node in self.program.nodes:
            if node.kind == "cpu":
                self._cpu(node, tensors, run, values)
            else:
                with self._device_lock:
                    self._device(node, tensors, run, values, threads)
        if values:
            run.outputs = {o.name: _as_output(o, tensors[o.name]) for o in self.program.outputs}
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

    def _device(self, node: Node, tensors: dict[str, Any], run: Run, values: bool, threads: int) -> None:
        stage = self.program.stages[node.stage]
        started = time.perf_counter()
        variables_in = [v for v in stage.variables if v.kind == INPUT]
        variables_out = [v for v in stage.variables if v.kind == OUTPUT]
        timeline = self._timing[node.stage].run()[0]
        run.stages.append(StageRun(node, stage, timeline))
        if not values:
            run.wall_seconds += time.perf_counter() - started
        time_in, time_out = (
            host.link_seconds((v.size_bytes for v in variables), self.target)
            for variables in (variables_in, variables_out)
        )
        run.host_in_seconds += time_in
        run.host_out_seconds += time_out
        device = timeline.total_ticks / self.target.tick_hz
        run.phases += [Phase(LINK, time_in), Phase(CORE, device), Phase(LINK, time_out)]
        if values:
            core = self._cores[node.stage]
            given = {v.name: _as_variable(v, tensors[v.name]) for v in variables_in}
            made = core.run(timeline, given, threads=threads)
            run.wall_seconds += time.perf_counter() - started
            run.warnings += list(_nan_warnings(core, timeline, given, made))
            tensors.update(made)

    def _cpu(self, node: Node, tensors: dict[str, Any], run: Run, values: bool) -> None:
        segment = self._segments[node.model]
        run.phases.append(Phase(CPU, segment.seconds(self.target)))
        if values:
            started = time.perf_counter()
            tensors.update(segment.run({name: tensors[name] for name in node.inputs}))
            run.wall_seconds += time.perf_counter() - started


def _as_variable(variable: Variable, array: np.ndarray) -> np.ndarray:
    """The array in the element type and shape of a DRAM variable; the same memory where those are its own.

    Raises: SimulationError (INTERFACE) for another size; (INPUT_RANGE) for integers that the device's type cannot hold.
    """
    if not isinstance(array, np.ndarray) or array.size != math.prod(variable.shape):
        raise SimulationError(
            f"tensor {variable.name!r} reaches the device in another size than it was compiled for",
            code="INTERFACE",
            where=variable.name,
            limit=list(variable.shape),
            actual=list(np.shape(array)),
        )
    dtype = variable.dtype.numpy
    if array.dtype.kind in "iu" and dtype.kind in "iu" and array.dtype != dtype and array.size:
        limits, low, high = np.iinfo(dtype), int(array.min()), int(array.max())
        if low < limits.min or high > limits.max:
            raise SimulationError(
                f"tensor {variable.name!r} holds integers that {dtype} cannot",
                code="INPUT_RANGE",
                where=variable.name,
                limit=f"{limits.min}..{limits.max}",
                actual=f"{low}..{high}",
                help="the device keeps 64-bit integers in 32 bits: --cpu-ops leaves an operator on the CPU",
            )
    return array.astype(dtype, copy=False).reshape(variable.shape)


def _as_output(info: TensorInfo, value: Any) -> Any:
    """A model output in the type and shape the model states, where it states them."""
    if not info.is_tensor or not isinstance(value, np.ndarray):
        return value
    shaped = value.reshape(info.shape) if info.is_static else value
    return shaped.astype(numpy_dtype(info.dtype), copy=False)


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
