"""Python face: compile a model, load a NEFF, run it.

    neff = neuronsim.load("model.neff")
    result = neff.run({"image": array}, mode="both")

Importing this module and running a NEFF load neither the compiler nor onnx; the profiler is loaded when `Result.stats`
is first read.
"""

from __future__ import annotations

import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isa import neff as container
from isa import target as targets
from isa import validator
from isa.errors import NeuronError
from isa.program import Program, Stage, TensorInfo
from isa.target import Target
from isa.topology import Topology
from isa.trace import Trace
from neuronsim import host, host_checks, interface
from neuronsim.execution import Machine, Run, run_all
from neuronsim.tracing import MAX_ROWS

if TYPE_CHECKING:
    from compiler.ir import Graph
    from compiler.options import CompileOptions
    from neuronsim.check import Finding
    from neuronsim.runtime.status import NrtStatus
    from neuronsim.serving import Served
    from neuronsim.whatif import Answer
    from profiler.summary import Summary

MODES: tuple[str, ...] = ("both", "values", "timing")


class RunError(NeuronError):
    """A run that was asked for in a way that cannot be meant."""

    code = "RUN"


class NonFiniteWarning(RuntimeWarning):
    """NaNs or infinities among inputs or outputs, and the layer they come from."""


def compile(
    model: str | Path | bytes | Graph, output: str | Path | None = None, target: str = "inf1.xlarge", *,
    progress: Callable[[int, int], None] | None = None, **options: Any,
) -> Neff:
    """Compile a model for `target`.

    Args:
        model: path of a model as its framework saved it (file, folder or archive), the bytes of a model that is one
            file, or a `compiler.ir.Graph`.
        output: where to write the NEFF; None keeps the program in memory.
        target: instance name or path of a target description.
        progress: told how many compilations of a search for the number of cores are done, and of how many.
        options: fields of `compiler.options.CompileOptions`, and `io_config` (`compiler.face.with_io_config`).
    Raises: NeuronError (CompileError, OptionError, TargetError ...); CpuSegmentError when this host has no kernel for
        operators that the device cannot run.
    """
    from compiler.options import from_keywords
    from neuronsim.host_cpu import CpuSegment, load_all

    started = time.perf_counter()
    program = _compile(model, from_keywords({"target": str(target), **options}), progress)
    load_all(CpuSegment(name, segment) for name, segment in program.cpu_models.items())
    seconds = time.perf_counter() - started
    if output is None:
        return Neff(program, report={"compile_seconds": seconds})
    container.write(program, output)
    loaded = load(output)
    loaded.report["compile_seconds"] = seconds
    return loaded


def _compile(
    model: str | Path | bytes | Graph, options: CompileOptions, progress: Callable[[int, int], None] | None
) -> Program:
    from compiler import compile_graph, compile_model
    from compiler.frontends.package import renamed

    if isinstance(model, (str, Path)):
        return compile_model(model, options, progress=progress)
    if not isinstance(model, bytes):
        return compile_graph(model, options, progress=progress)
    with tempfile.TemporaryDirectory(prefix="neuronsim-") as folder:  # of its own: no stranger lies beside the model
        path = Path(folder, "model")
        path.write_bytes(model)
        with renamed(Path(folder), "bytes"):
            return compile_model(path, options, progress=progress)


def load(path: str | Path, verify: bool = False) -> Neff:
    """Read a NEFF; weights stay in the file and are mapped. `verify` reads and hashes all of it first.

    Raises: ContainerError for a file that cannot be trusted, ErrorList of IllegalInstruction.
    """
    return Neff(container.read(path, verify=verify), path=Path(path))


class Neff:
    """A compiled model, ready to run.

    Attributes:
        program: what the file holds.
        path: the file, or None for a program in memory.
        report: the compiler's report (`report.json` of the design page).
    """

    def __init__(self, program: Program, path: Path | None = None, report: Mapping[str, Any] | None = None) -> None:
        self.program = program
        self.path = path
        self.report: dict[str, Any] = {**program.report, **(report or {})}
        self._machines: dict[tuple[str, tuple[int, ...]], Machine] = {}
        self._lock = threading.Lock()
        compiled_for = targets.load(program.generation)
        for stage in program.stages:
            validator.validate(stage, compiled_for)
        interface.check_tensors(program)

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return tuple(self.program.inputs)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return tuple(self.program.outputs)

    def __repr__(self) -> str:
        return f"<Neff {self.program.name!r} for {self.program.target}: {len(self.program.stages)} stage(s)>"

    def run(
        self,
        inputs: Mapping[str, Any] | None = None,
        instance: str | Target | None = None,
        iterations: int = 1,
        mode: str = "both",
        check: bool = False,
        threads: int | None = None,
        seed: int = 0,
        callers: int = 1,
    ) -> Result:
        """Run the program from a reset machine, `iterations` times over, each after the other.

        May be called from several threads at once: a stage computes for one of them at a time.

        Args:
            inputs: model input name -> array of the model's shape and type; missing ones are seeded random. Strings are
                arrays of objects, sequences lists of arrays, absent optionals None.
            instance: machine to run on (same generation); default: what it was compiled for.
            mode: "both"; "values" (outputs only, no statistics); "timing" (no data touched, no weights read).
            check: look for races, uninitialised reads, deadlock ... first; `Result.findings`.
            threads: host threads for values; default all. Results do not depend on it.
            seed: of missing inputs.
            callers: threads that run the model one time after the other, for throughput and latency in `stats`
                (`neuronsim/serving/steady.py`); values are computed once.
        Raises: RunError, ErrorList of InputError, SimulationError.
        """
        return self.run_batches([inputs or {}], instance, None, iterations, mode, check, threads, seed, callers)[0]

    def run_batches(
        self,
        batches: Sequence[Mapping[str, Any]],
        instance: str | Target | None = None,
        places: Sequence[Sequence[int]] | None = None,
        iterations: int = 1,
        mode: str = "both",
        check: bool = False,
        threads: int | None = None,
        seed: int = 0,
        callers: int = 1,
    ) -> list[Result]:
        """Run the program once for each of several inputs, each with the time it takes alone on the machine.

        Their values are computed at once as far as there are host threads.

        Args:
            batches: inputs of one run each, as of `run`.
            places: for each run cores of the instance, one for each core of the program; default: the first ones.
            instance, iterations, mode, check, threads, seed, callers: as of `run`.
        Raises: as `run`.
        """
        if mode not in MODES:
            raise RunError(f"mode {mode!r} is not one of {', '.join(MODES)}", limit=MODES, actual=mode)
        if iterations < 1:
            raise RunError("at least one iteration has to run", limit=">= 1", actual=iterations)
        if callers < 1:
            raise RunError("at least one caller has to run", limit=">= 1", actual=callers)
        target = self._target(instance)
        somewhere: Sequence[Sequence[int] | None] = places or [None] * len(batches)
        machines = [self.machine(target, place) for place in somewhere]
        complete = [self._complete(inputs, mode, seed) for inputs in batches]
        findings = machines[0].check() if check else []
        runs: list[Run] = []
        for _ in range(iterations):
            runs = run_all(machines, [given for given, _ in complete], places, mode != "timing", threads)
        for text in dict.fromkeys(text for run in runs for text in run.warnings):
            warnings.warn(text, NonFiniteWarning, stacklevel=3)
        return [
            Result(run.outputs, given, machine, run, iterations, mode, missing, findings, callers)
            for run, machine, (given, missing) in zip(runs, machines, complete, strict=True)
        ]

    def _complete(self, inputs: Mapping[str, Any], mode: str, seed: int) -> tuple[dict[str, Any], list[str]]:
        """All inputs, and the names of those that were invented; nothing in a run without values."""
        if mode == "timing":
            if inputs:
                host_checks.check_inputs(self.program.inputs, host_checks.as_values(self.program.inputs, inputs))
            return {}, []
        interface.check_host_memory(self.program)
        return host.complete_inputs(self.program.inputs, inputs, seed)

    def check(self, instance: str | Target | None = None) -> list[Finding]:
        """Findings of the static checks (docs/checks.md): races, uninitialised reads, range, PSUM groups, deadlock."""
        return self.machine(self._target(instance)).check()

    def profile(
        self,
        inputs: Mapping[str, Any] | None = None,
        requests: int = 1,
        in_flight: int = 1,
        instance: str | Target | None = None,
        copies: int = 1,
        values: bool = False,
        seed: int = 0,
        max_rows: int = MAX_ROWS,
    ) -> Profile:
        """Record every instruction, transfer and request while clients use the program (docs/trace.md).

        Args:
            inputs, seed: of one run that computes values beside the profile, where given or `values`.
            requests, in_flight: how many in all, and at once.
            instance: as of `run`.
            copies: of the program, each on cores of its own, which take the requests in turn.
            max_rows: of the trace; runs beyond are left out, counted and announced.
        Raises: as `run`; NrtError, ServingError.
        """
        from neuronsim.runtime import Instance
        from neuronsim.serving import closed

        target = self._target(instance)
        result = self.run(inputs, target, mode="values", seed=seed) if values or inputs else None
        with Instance(target, {}, private=True) as machine:
            profile = machine.profile([(machine.data_parallel(self, copies), closed(requests, in_flight))], max_rows)
        profile.result = result
        return profile

    def what_if(self, instance: str | Target | None = None, **options: Any) -> Answer:
        """What limits the program: its time on machines of which one thing is better, ranked (docs/whatif.md).

        Args:
            instance: as of `run`.
            options: of `neuronsim.whatif.what_if`.
        Raises: RunError, SimulationError.
        """
        from neuronsim.whatif import what_if

        target = self._target(instance)
        self.machine(target)
        return what_if(self.program, target, **options)

    def _target(self, instance: str | Target | None) -> Target:
        target = targets.load(self.program.target if instance is None else instance)
        if target.generation != self.program.generation:
            raise RunError(
                f"{target.name} has another instruction set than this NEFF",
                code="RUN_GENERATION",
                limit=self.program.generation,
                actual=target.generation,
                help=f"compile for it: neuronsim compile MODEL --target {target.name}",
            )
        return target

    def machine(self, target: Target, cores: Sequence[int] | None = None) -> Machine:
        """The program on these cores of a machine (default: the first ones), ready to run.

        One serves all places between whose cores signals go equally far: they take the same times. Raises: ConfigError.
        """
        placed = tuple(range(self.program.cores) if cores is None else cores)
        interface.check_cores(self.program, target, placed)
        topology = Topology(target)
        distances = tuple(len(topology.route(a, b)) for a, b in pairwise(placed))
        with self._lock:
            found = self._machines.get((target.name, distances))
            if found is None or found.target is not target:
                interface.check_device_memory(self.program, target, placed)
                found = self._machines[target.name, distances] = Machine(self.program, target, placed)
            return found


@dataclass
class Profile:
    """What a recorded simulation gave.

    Attributes:
        trace: all that happened; programs: of its models, in order; target: the machine.
        served: requests, cores and steps (docs/serving.md).
        result: of the run that computed values, where one did.
    """

    trace: Trace
    programs: Sequence[Program]
    target: Target
    served: Served
    result: Result | None = None

    @cached_property
    def summary(self) -> Summary:
        """The profiler's first page."""
        from profiler.summary import summarise

        return summarise(self.trace, self.programs, self.target)


@dataclass
class Result:
    """What a run gave.

    Attributes:
        outputs: model output name -> array (a list for a sequence, None for what is absent); empty in "timing" mode.
        inputs: what it ran on, complete; empty in "timing" mode.
        machine, last: what ran, and its last iteration; the first of several runs.
        random_inputs: names of inputs that were invented.
        findings: of `check=True`.
        callers: for whom `stats` states throughput and latency.
        runs: that the inputs were cut into; `stats` and `trace` are of one of them.
        all_runs_seconds: simulated time until the last of them ended, the switching of models included; None: one run.
    """

    outputs: dict[str, Any]
    inputs: dict[str, Any]
    machine: Machine
    last: Run
    iterations: int
    mode: str
    random_inputs: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    callers: int = 1
    runs: int = 1
    all_runs_seconds: float | None = None

    @cached_property
    def trace(self) -> Trace:
        """Every instruction and transfer with its times, of one request alone on the machine (docs/trace.md)."""
        return self.last.trace(self.machine.program, self.machine.target)

    @cached_property
    def summary(self) -> Summary:
        """The profiler's first page. Simulates three more machines, for the share of inferred parameters."""
        from profiler.summary import summarise

        machine = self.machine
        return summarise(self.trace, [machine.program], machine.target, machine.device_seconds)

    @cached_property
    def stats(self) -> dict[str, Any]:
        """The metrics of `stats.json`. Times in seconds unless the name says otherwise."""
        if self.mode == "values":
            return {"host_wall_seconds": self.last.wall_seconds}
        device = self.summary.metrics if self.last.stages else {}
        found = {**device, **self.last.statistics(self.iterations, self.callers, self.machine.target)}
        if any(self.machine.load_seconds):
            found["load_time"] = max(self.machine.load_seconds)  # cores load at once
        if self.last.switch_seconds:
            found["switch_time"] = self.last.switch_seconds
        return found

    @property
    def stages(self) -> list[Stage]:
        """Stages in the order of the trace's rows."""
        return [r.stage for r in self.last.stages]

    @property
    def time_ns(self) -> float:
        """Latency as the host sees it: inputs in, device, outputs out, of all runs where there are several."""
        return (self.last.latency_seconds if self.all_runs_seconds is None else self.all_runs_seconds) * 1e9

    @property
    def status(self) -> NrtStatus:
        """As Neuron's runtime answers: success, or completed with a numerical error where the device made a NaN."""
        from neuronsim.runtime.status import NrtStatus

        return NrtStatus.NRT_EXEC_COMPLETED_WITH_NUM_ERR if self.last.has_nan else NrtStatus.NRT_SUCCESS
