"""What limits a program, found by experiment: its time on machines of which one thing is better, ranked.

Time only: no data is touched. A change is one of a machine's parameters (or the few that belong to one resource), twice
as good or without cost. Where no single change gains anything but two together do, the two are co-critical: each hides
the other. The machines are targets like any other, so every figure equals that of a run on such a target file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from isa.program import Program
from isa.target import Target
from isa.word import ENGINES
from neuronsim.parallel import spread
from neuronsim.serving import ModelPlan, Served, Step, closed, serve
from neuronsim.serving.model import CORE, CPU, LINK
from neuronsim.serving.planning import plan

GAIN = 0.02  # a change that gains less is not a bottleneck
LITTLE = 0.10  # where no single change gains so much, another resource is close behind: pairs are tried
IMBALANCE = 0.10  # what even stages must gain for the slowest one to be the first thing to tell
LATENCY, THROUGHPUT = "latency", "throughput"
GOALS = (LATENCY, THROUGHPUT)
STAGES = "stage balance"
MACHINE_WORDS = 20_000_000  # instruction words of all requests on one machine; beyond, an approximation takes over

Progress = Callable[[int, int], None]  # machines done, of how many


@dataclass(frozen=True)
class Change:
    """A better machine: which resource, how ("x2", "infinite", "zero", "none"), and parameters with new values."""

    resource: str
    how: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Times:
    """Seconds on one machine: `latency_s` of a request alone, `interval_s` between requests in the steady state."""

    latency_s: float
    interval_s: float

    def of(self, goal: str) -> float:
        return self.latency_s if goal == LATENCY else self.interval_s


@dataclass(frozen=True)
class StageTime:
    """A device stage under load: its node, core, seconds of a run, and that over the mean of all stages."""

    node: str
    core: int
    seconds: float
    of_mean: float


@dataclass(frozen=True)
class Outcome:
    """What changes gain together: times on that machine, and how many times faster it is by the goal."""

    changes: tuple[Change, ...]
    times: Times
    speedup: float

    @property
    def resources(self) -> tuple[str, ...]:
        return tuple(c.resource for c in self.changes)


@dataclass(frozen=True)
class Answer:
    """Everything tried.

    Attributes:
        goal: "latency" or "throughput", what is ranked.
        base: as the machine is.
        single: every single change, the best first. Of pipelines also `STAGES`: stages of equal length.
        pairs: where single changes gain little: pairs of resources without cost, the best first. Those that save
            more time together than the sum of both; where no single change gains, all that gain.
        stages: device stages in order. requests, in_flight: of the load behind `interval_s`; method: how it was served.
    """

    goal: str
    base: Times
    single: tuple[Outcome, ...]
    pairs: tuple[Outcome, ...]
    stages: tuple[StageTime, ...]
    requests: int
    in_flight: int
    method: str

    @property
    def bottleneck(self) -> tuple[str, ...]:
        """The resource that limits the program; two where they are co-critical; () where nothing tried gains."""
        gaining = [o for o in self.single if o.speedup >= 1 + GAIN]
        if not gaining:
            return self.pairs[0].resources if self.pairs else ()
        uneven = next((o for o in gaining if STAGES in o.resources and o.speedup >= 1 + IMBALANCE), None)
        return (uneven or gaining[0]).resources

    def best(self, resource: str) -> Outcome:
        """The best outcome of a change of that resource alone."""
        return next(o for o in self.single if o.resources == (resource,))


def what_if(
    program: Program, target: Target, *, goal: str | None = None, requests: int | None = None,
    in_flight: int | None = None, pairs: bool = False, threads: int | None = None, on_progress: Progress | None = None,
) -> Answer:
    """Time the program on `target` and on every machine with one thing better.

    Args:
        goal: "latency" of a request alone, or "throughput"; default: throughput of a pipeline, else latency.
        requests, in_flight: of the closed loop that gives the throughput; default: two for each core in flight, and
            four times as many requests.
        pairs: try pairs even where single changes gain enough.
        threads: of the host; default: all.
    Raises: as `neuronsim.serving.serve`, and `isa.topology` for a target with too few cores.
    """
    asked = in_flight or 2 * program.cores
    trial = _Trial(program, requests or 4 * asked, asked)
    served, model = trial.serve(target)
    base = trial.times(model, served, target)
    found = goal or (THROUGHPUT if program.cores > 1 else LATENCY)
    singles = [(c,) for c in changes(program, target, model)]
    workers = _Workers(trial, target, found, base, threads or os.cpu_count() or 1, on_progress)
    outcomes = workers.run(singles)
    if found == THROUGHPUT and program.cores > 1:
        outcomes.append(_balanced(trial, model, served, target, base))
    outcomes.sort(key=lambda o: -o.speedup)
    together: tuple[Outcome, ...] = ()
    if pairs or not any(o.speedup >= 1 + LITTLE for o in outcomes):
        removed = list({c.resource: c for (c,) in singles}.values())  # the last of a resource takes it away
        together = _hiding(workers.run(list(combinations(removed, 2))), outcomes)
    return Answer(
        found, base, tuple(outcomes), together, _stage_times(program, served), trial.requests, asked,
        served.method,
    )  # fmt: skip


def _hiding(pairs: Sequence[Outcome], singles: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """The pairs of `Answer.pairs`. `singles`: the best first."""
    alone: dict[str, float] = {}  # part of the time that the best change of a resource saves
    for single in singles:
        alone.setdefault(single.resources[0], max(_saved(single), 0.0))
    if not any(o.speedup >= 1 + GAIN for o in singles):
        found = [o for o in pairs if o.speedup >= 1 + GAIN]
    else:
        found = [o for o in pairs if _saved(o) >= GAIN + sum(alone[r] for r in o.resources)]
    return tuple(sorted(found, key=lambda o: -o.speedup))


def _saved(outcome: Outcome) -> float:
    """Part of the time that goes away."""
    return 1.0 - 1.0 / outcome.speedup


def changes(program: Program, target: Target, model: ModelPlan) -> list[Change]:
    """What can be better for this program on this machine; of each resource the last change takes it away whole."""
    out = []
    for name in (e for e in ENGINES if any(len(s.stream(e)) for s in program.stages)):
        out += [
            Change(f"{name} engine", "zero", {f"{name}.latency_cycles": 0}),
            *_rates(f"{name} engine", target, f"{name}.clock_ghz"),
        ]
    if program.stages:
        out.append(Change("instruction overhead", "zero", {"min_ii_cycles": 0, "nop_cycles": 0}))
        out.append(Change("semaphore latency", "zero", {"semaphore_latency_ns": 0}))
    if any(len(s.descriptors) for s in program.stages):
        out += [
            Change("DMA engines", "zero", {"dma.t0_ns": 0}),
            *_rates("DMA engines", target, "dma.bytes_per_ns"),
            Change("DMA engines", "infinite", {"dma.bytes_per_ns": math.inf, "dma.t0_ns": 0}),
            Change("DMA start latency", "zero", {"dma.start_latency_ns": 0}),
            *_rates("DRAM bandwidth", target, "dram.bytes_per_ns"),
        ]
    out += [
        Change(f"{memory.upper()} ports", "none", {f"{memory}.exclusive_pairs": []})
        for memory in ("sbuf", "psum") if target[f"{memory}.exclusive_pairs"]
    ]  # fmt: skip
    if any(a.link_bytes for a in model.alone):
        out += _rates("chip-to-chip link", target, "link.bytes_per_ns")
    kinds = {step.kind for step in model.replicas[0] if step.ticks}
    if LINK in kinds:
        out += _rates("host link", target, "host.bytes_per_ns")
    if CPU in kinds:
        cpu = {"host.flops_per_ns": math.inf, "host.cpu_bytes_per_ns": math.inf, "host.dispatch_ns": 0}
        out += [Change("host CPU", "zero", {"host.dispatch_ns": 0}), Change("host CPU", "infinite", cpu)]
    return out


def _rates(resource: str, target: Target, name: str) -> list[Change]:
    """Twice the rate, and no limit."""
    if math.isinf(target[name]):
        return []
    return [Change(resource, "x2", {name: 2 * target[name]}), Change(resource, "infinite", {name: math.inf})]


@dataclass(frozen=True)
class _Trial:
    """The program on the first cores of a machine, under a closed loop."""

    program: Program
    requests: int
    in_flight: int

    def serve(self, target: Target) -> tuple[Served, ModelPlan]:
        model = plan(self.program, target, [range(self.program.cores)])
        return self.load(model, target), model

    def load(self, model: ModelPlan, target: Target, method: str = "auto") -> Served:
        return serve([model], [closed(self.requests, self.in_flight)], target, method, words=MACHINE_WORDS)

    def times(self, model: ModelPlan, served: Served, target: Target) -> Times:
        rate = served.loads[0].steady_per_s
        return Times(latency_ticks(model.replicas[0], target) / target.tick_hz, 1 / rate if rate else 0.0)


def latency_ticks(steps: Sequence[Step], target: Target) -> int:
    """Ticks of one request alone: its steps one after the other, each stage of a pipeline a signal after the last."""
    signal = target.ns_to_ticks(target.semaphore_latency_ns)
    after = [*steps[1:], None]
    in_pipeline = sum(s.kind == CORE and (s.upstream or (n is not None and n.upstream)) for s, n in zip(steps, after))
    return sum(step.ticks for step in steps) + in_pipeline * signal


class _Workers:
    """Tries changes on all host threads at once."""

    def __init__(
        self, trial: _Trial, target: Target, goal: str, base: Times, threads: int, tell: Progress | None
    ) -> None:
        self._trial, self._target, self._goal, self._base = trial, target, goal, base
        self._threads, self._tell, self._done, self._total = threads, tell, 0, 0

    def run(self, tries: Sequence[tuple[Change, ...]]) -> list[Outcome]:
        self._total += len(tries)
        return spread(self._outcome, tries, self._threads)

    def _outcome(self, together: tuple[Change, ...]) -> Outcome:
        better = self._target.with_params({k: v for change in together for k, v in change.parameters.items()})
        served, model = self._trial.serve(better)
        times = self._trial.times(model, served, better)
        self._done += 1
        if self._tell is not None:
            self._tell(self._done, self._total)
        return Outcome(together, times, _ratio(self._base.of(self._goal), times.of(self._goal)))


def _ratio(before: float, after: float) -> float:
    return before / after if after else (math.inf if before else 1.0)


# ---- pipelines
def _balanced(trial: _Trial, model: ModelPlan, served: Served, target: Target, base: Times) -> Outcome:
    """All stages as long as the mean of them, as they were next to each other."""
    stages = [s for s in served.steps if s.kind == CORE]
    mean = round(sum(s.together_ns for s in stages) / len(stages) * target.tick_hz / 1e9)
    steps = tuple(replace(s, ticks=mean) if s.kind == CORE else s for s in model.replicas[0])
    even = trial.load(replace(model, replicas=(steps,)), target, "recurrence")
    interval = trial.times(model, even, target).interval_s
    times = Times(base.latency_s, interval)
    return Outcome((Change(STAGES, "even", {}),), times, _ratio(base.interval_s, interval))


def _stage_times(program: Program, served: Served) -> tuple[StageTime, ...]:
    stages = [s for s in served.steps if s.kind == CORE]
    nodes = [n.name for n in program.nodes if n.kind != "cpu"]
    mean = sum(s.together_ns for s in stages) / max(len(stages), 1)
    return tuple(
        StageTime(name, s.where, s.together_ns * 1e-9, s.together_ns / mean if mean else 1.0)
        for name, s in zip(nodes, stages, strict=True)
    )
