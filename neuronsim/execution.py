"""Runs the nodes of a program in order: device stages by timing and values, each on its core; CPU segments by the host.

The stages of a pipeline hand their tensors on from core to core; all others are fed and emptied by the host. Several
threads may run one `Machine`: a stage computes the values of one run at a time, other stages those of others meanwhile.
Not responsible for what the user typed (`neuronsim/api.py`, `neuronsim/host.py`), nor for requests that overlap in
simulated time (`neuronsim/serving`).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from isa.program import INPUT, OUTPUT, Node, Program, Stage, TensorInfo, Variable
from isa.target import Target
from isa.trace import Trace
from neuronsim import host, nonfinite
from neuronsim.errors import SimulationError
from neuronsim.host_checks import numpy_dtype
from neuronsim.host_cpu import CpuSegment, load_all
from neuronsim.parallel import spread
from neuronsim.serving.model import CORE, CPU, LINK
from neuronsim.serving.steady import serve_steps
from neuronsim.stage_unit import Unit, load_ends
from neuronsim.timing import Placed, Timeline, simulate

if TYPE_CHECKING:
    from neuronsim.check import Finding


class Phase(NamedTuple):
    """A part of a run: what it occupies ("cpu", "link" or "core" number `where` of the program), and for how long."""

    kind: str
    seconds: float
    where: int = 0


@dataclass(frozen=True)
class StageRun:
    """One device stage of one run: its program and timeline.

    Attributes:
        core: of the instance, where it ran.
        wait_ticks: before it, in a pipeline: for the signal that its inputs have come.
    """

    node: Node
    stage: Stage
    timeline: Timeline
    core: int = 0
    wait_ticks: int = 0


@dataclass(frozen=True)
class Run:
    """One run of a program, alone on the machine.

    Attributes:
        outputs: model outputs; empty without values. Arrays, lists for sequences, None for what is absent.
        stages: device stages in execution order.
        phases: what the run occupies, in order, and for how long.
        host_in_seconds, host_out_seconds: host link; cpu_seconds: charged to CPU segments; device_seconds: on the
            cores, with the signals between them.
        switch_seconds: before the run, to bring the model onto its cores in place of another.
        wall_seconds: host time of the simulation alone.
        warnings: for the user.
        has_nan: whether a device stage made a NaN.
    """

    outputs: dict[str, Any] = field(default_factory=dict)
    stages: list[StageRun] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    host_in_seconds: float = 0.0
    host_out_seconds: float = 0.0
    switch_seconds: float = 0.0
    wall_seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    has_nan: bool = False

    @property
    def cpu_seconds(self) -> float:
        return sum(p.seconds for p in self.phases if p.kind == CPU)

    @property
    def device_seconds(self) -> float:
        return sum((r.wait_ticks + r.timeline.total_ticks) / r.timeline.tick_hz for r in self.stages)

    @property
    def latency_seconds(self) -> float:
        return self.switch_seconds + sum(p.seconds for p in self.phases)

    @property
    def instructions(self) -> int:
        return sum(len(s) for r in self.stages for s in r.stage.streams.values())

    def on(self, cores: Sequence[int]) -> Run:
        """The run on these cores of the instance, one for each core of the program."""
        return replace(self, stages=[replace(r, core=cores[r.node.core]) for r in self.stages])

    def trace(self, program: Program, target: Target) -> Trace:
        """What happened when, from the first input on the host link to the last output."""
        from neuronsim.run_trace import of_run

        return of_run(self, program, target)

    def statistics(self, iterations: int, callers: int, target: Target) -> dict[str, Any]:
        """What a run adds to the profiler's metrics.

        Every run starts from a reset machine: with one caller all latencies are equal.
        """
        steady = serve_steps(self.phases, target.host_vcpus, callers)
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
    """Cores of `target` with a program loaded.

    Attributes:
        cores: of the instance, one for each core of the program.
    """

    def __init__(self, program: Program, target: Target, cores: Sequence[int] | None = None) -> None:
        self.program = program
        self.target = target
        self.cores = tuple(range(program.cores) if cores is None else cores)
        self.nodes = [node for node in program.nodes if node.kind != "cpu"]
        self._segments = {name: CpuSegment(name, model) for name, model in program.cpu_models.items()}
        at_once = math.ceil((os.cpu_count() or 1) / max(len(self.nodes), 1))
        self._units = {n.name: Unit(self._placed(n), target, at_once) for n in self.nodes}

    def run(
        self,
        batches: Sequence[Mapping[str, Any]],
        values: bool,
        threads: int,
        places: Sequence[Sequence[int]] | None = None,
    ) -> list[Run]:
        """Run every node once for each batch. Each has the time it takes alone.

        Args:
            batches: model inputs, complete where `values`.
            values: compute values, else time only; of several batches at once as far as there are threads.
            threads: host threads.
            places: of each batch, if not on the machine's cores: others, between which signals go as far.
        Raises: SimulationError, CpuSegmentError.
        """
        spread(lambda unit: unit.load(values), self._units.values(), threads)
        timed = self._timed(threads)
        runs = [timed.on(place) for place in places or [self.cores] * len(batches)]
        if not values:
            return runs
        load_all(self._segments.values())
        together = min(threads, len(batches))
        each = max(threads // together, 1)
        return spread(lambda k: self._computed(runs[k], batches[k], each), range(len(batches)), together)

    def check(self) -> list[Finding]:
        """Findings of the static checks, over all stages."""
        from neuronsim.check import check

        return [finding for stage in self.program.stages for finding in check(stage, self.target)]

    def device_seconds(self, target: Target) -> float:
        """Time of all device stages on another machine of the same generation; nothing else is simulated."""
        def ticks(node: Node) -> int:
            p = self._placed(node)
            return self._wait_ticks(node, target) + simulate(p.stage, target, p.core, p.downstream).total_ticks

        return sum(spread(ticks, self.nodes, os.cpu_count() or 1)) / target.tick_hz

    @cached_property
    def load_seconds(self) -> tuple[float, ...]:
        """By core of the program: when its pinned weights are in SBUF, where all cores start to load them at once."""
        ends = load_ends([self._placed(n) for n in self.nodes], self.target)
        return tuple(ends[core] / self.target.tick_hz for core in self.cores)

    def _placed(self, node: Node) -> Placed:
        """A stage on its core, and the core that its outputs go to (-1: the host takes them)."""
        after = self.program.downstream(node)
        to = -1 if after is None else self.cores[after.core]
        return Placed(self.program.stages[node.stage], self.cores[node.core], to)

    def _wait_ticks(self, node: Node, target: Target) -> int:
        """A stage of a pipeline starts one semaphore latency after its inputs have come."""
        in_pipeline = bool(node.upstream) or self.program.downstream(node) is not None
        return target.ns_to_ticks(target.semaphore_latency_ns) if in_pipeline else 0

    def _timed(self, threads: int) -> Run:
        """A run without values."""
        started = time.perf_counter()
        timelines = dict(zip(
            (n.name for n in self.nodes),
            spread(lambda node: self._units[node.name].time(), self.nodes, threads),
        ))  # fmt: skip
        stages, phases, links = [], [], {INPUT: 0.0, OUTPUT: 0.0}
        for node in self.program.nodes:
            if node.kind == "cpu":
                phases.append(Phase(CPU, self._segments[node.model].seconds(self.target)))
                continue
            done = StageRun(node, self.program.stages[node.stage], timelines[node.name], self.cores[node.core],
                            self._wait_ticks(node, self.target))  # fmt: skip
            stages.append(done)
            host_in = 0.0 if node.upstream else self._link_seconds(done.stage, INPUT)
            host_out = self._link_seconds(done.stage, OUTPUT) if self.program.downstream(node) is None else 0.0
            links[INPUT] += host_in
            links[OUTPUT] += host_out
            device = (done.wait_ticks + done.timeline.total_ticks) / self.target.tick_hz
            phases += [Phase(LINK, host_in), Phase(CORE, device, node.core), Phase(LINK, host_out)]
        return Run(stages=stages, phases=phases, host_in_seconds=links[INPUT], host_out_seconds=links[OUTPUT],
                   wall_seconds=time.perf_counter() - started)

    def _link_seconds(self, stage: Stage, kind: str) -> float:
        return host.link_seconds((v.size_bytes for v in stage.variables if v.kind == kind), self.target)

    def _computed(self, timed: Run, inputs: Mapping[str, Any], threads: int) -> Run:
        """The run with the values of one batch."""
        started = time.perf_counter()
        timelines = {r.node.name: r.timeline for r in timed.stages}
        tensors, handed, warnings, found_nan = dict(inputs), dict[str, dict[str, np.ndarray]](), list[str](), False
        for node in self.program.nodes:
            if node.kind == "cpu":
                segment = self._segments[node.model]
                tensors.update(segment.run({name: tensors[name] for name in node.inputs}))
                continue
            stage = self.program.stages[node.stage]
            source = handed.pop(node.upstream) if node.upstream else tensors
            given = {v.name: _as_variable(v, source[v.name]) for v in stage.variables if v.kind == INPUT}
            with self._units[node.name].core() as core:
                made = core.run(timelines[node.name], given, threads=threads)
                if not (node.upstream and nonfinite.has_nan(given)):  # else the stage before has explained it
                    warnings += nonfinite.explain(core, timelines[node.name], given, made)
            found_nan |= nonfinite.has_nan(made)
            if self.program.downstream(node) is None:
                tensors.update(made)
            else:
                handed[node.name] = made
        outputs = {o.name: _as_output(o, tensors[o.name]) for o in self.program.outputs}
        return replace(timed, outputs=outputs, warnings=warnings, has_nan=found_nan,
                       wall_seconds=timed.wall_seconds + time.perf_counter() - started)


def run_all(
    machines: Sequence[Machine],
    inputs: Sequence[Mapping[str, Any]],
    places: Sequence[Sequence[int]] | None,
    values: bool,
    threads: int | None,
) -> list[Run]:
    """One run on each machine, by as many host threads (None: all there are); those of the same machine together."""
    found: dict[int, Run] = {}
    for machine in dict.fromkeys(machines):
        mine = [k for k, m in enumerate(machines) if m is machine]
        where = None if places is None else [places[k] for k in mine]
        runs = machine.run([inputs[k] for k in mine], values, threads or os.cpu_count() or 1, where)
        found.update(zip(mine, runs, strict=True))
    return [found[k] for k in range(len(machines))]


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
