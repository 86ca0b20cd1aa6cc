"""From a compiled program and the cores of its copies to the steps a request passes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from isa.program import INPUT, OUTPUT, Node, Program, Stage
from isa.target import Target
from isa.topology import Topology
from neuronsim import host
from neuronsim.host_cpu import CpuSegment
from neuronsim.serving.alone import Alone, Bench
from neuronsim.serving.model import CORE, CPU, LINK, ModelPlan, ServingError, Step
from neuronsim.timing import Placed, load_ticks


def plan(
    program: Program, target: Target, replicas: Sequence[Sequence[int]], *, name: str = "", bench: Bench | None = None
) -> ModelPlan:
    """The program's copies on these physical cores, `program.cores` each, in the order of its pipeline.

    A CPU node is a step of the host; a chain of device stages is a transfer in, a step for each, a transfer out. Args:
    bench: shared by several plans, times a stage they have in common once. Raises: ServingError; as `Cores`.
    """
    for cores in replicas:
        if len(cores) != program.cores or len(set(cores)) != len(cores):
            raise ServingError("a copy needs as many different cores as the program has", where=program.name,
                               limit=program.cores, actual=list(cores))
    planner = _Planner(program, target, bench or Bench(target))
    steps = tuple(tuple(planner.steps(cores)) for cores in replicas)
    return ModelPlan(name or program.name, steps, batch_of(program), tuple(planner.placed), tuple(planner.alone))


def batch_of(program: Program) -> int:
    """Rows of one run: dimension 0 of the first input that has one; 1 without."""
    return next((i.shape[0] for i in program.inputs if i.is_static and i.shape and i.shape[0] > 0), 1)


class _Planner:
    """Collects the placed stages of all copies."""

    def __init__(self, program: Program, target: Target, bench: Bench) -> None:
        self.placed: list[Placed] = []
        self.alone: list[Alone] = []
        self._program, self._target, self._bench = program, target, bench
        self._topology = Topology(target)
        segments = {n.model: CpuSegment(n.model, program.cpu_models[n.model]) for n in program.nodes if n.kind == "cpu"}
        self._cpu = {name: self._ticks(segment.seconds(target)) for name, segment in segments.items()}
        self._switch = {n.stage: target.ns_to_ticks(target.switch_ns) + load_ticks(program.stages[n.stage], target)
                        for n in program.nodes if n.kind != "cpu"}

    def steps(self, cores: Sequence[int]) -> Iterable[Step]:
        for number, node in enumerate(self._program.nodes):
            if node.kind == "cpu":
                yield Step(CPU, 0, self._cpu[node.model], node=number)
            else:
                yield from (replace(step, node=number) for step in self._device(node, cores))

    def _device(self, node: Node, cores: Sequence[int]) -> Iterable[Step]:
        stage, core = self._program.stages[node.stage], cores[node.core]
        after = self._program.downstream(node)
        if not node.upstream:
            yield from self._link(stage, INPUT, core)
        placed = Placed(stage, core, cores[after.core] if after else -1)
        self.placed.append(placed)
        self.alone.append(self._bench.alone(placed))
        yield Step(CORE, core, self.alone[-1].ticks, len(self.placed) - 1, bool(node.upstream),
                   self._switch[node.stage])
        if after is None:
            yield from self._link(stage, OUTPUT, core)

    def _link(self, stage: Stage, kind: str, core: int) -> Iterable[Step]:
        seconds = host.link_seconds((v.size_bytes for v in stage.variables if v.kind == kind), self._target)
        yield Step(LINK, self._topology.chip_of(core), self._ticks(seconds))

    def _ticks(self, seconds: float) -> int:
        return self._target.ns_to_ticks(seconds * 1e9)
