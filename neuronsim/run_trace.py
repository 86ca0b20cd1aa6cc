"""The trace of one run alone on the machine, from what each of its nodes took."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from isa.program import Program
from isa.target import Target
from isa.topology import Topology
from isa.trace import HostKind, RunWait, Trace
from neuronsim.serving.planning import batch_of
from neuronsim.tracing import HostRow, Recorder, RunRow

if TYPE_CHECKING:
    from neuronsim.execution import Phase, Run, StageRun


def of_run(run: Run, program: Program, target: Target) -> Trace:
    """The trace of one run alone on the machine, from its first input on the host link to its last output."""
    return _OneRun(program, target).walk(run)


class _OneRun:
    """Goes through the nodes of a run on one clock. `_idle`: when each core's run before has ended."""

    def __init__(self, program: Program, target: Target) -> None:
        self._program, self._target, self._topology = program, target, Topology(target)
        self._recorder = Recorder([program], target, max_rows=2**62)  # the timelines are in memory already
        self._tick = 0
        self._idle: Counter[int] = Counter()

    def walk(self, run: Run) -> Trace:
        """The trace of the run."""
        self._recorder.expect((done.stage, 1) for done in run.stages)
        phases, stages = iter(run.phases), iter(run.stages)
        for number, node in enumerate(self._program.nodes):
            if node.kind == "cpu":
                self._host(number, HostKind.CPU, 0, next(phases))
                continue
            done = next(stages)
            link_in, _, link_out = next(phases), next(phases), next(phases)
            chip = self._topology.chip_of(done.core)
            if not node.upstream:
                self._host(number, HostKind.LINK_IN, chip, link_in)
            self._device(done)
            if self._program.downstream(node) is None:
                self._host(number, HostKind.LINK_OUT, chip, link_out)
        requests = {"model": [0], "arrival": [0], "start": [0], "end": [self._tick], "rows": [batch_of(self._program)]}
        return self._recorder.trace(requests)

    def _host(self, node: int, kind: HostKind, where: int, phase: Phase) -> None:
        end = self._tick + self._target.ns_to_ticks(phase.seconds * 1e9)
        self._recorder.host(HostRow(0, 0, kind, where, node, self._tick, end))
        self._tick = end

    def _device(self, done: StageRun) -> None:
        waited = self._tick - self._idle[done.core]
        start = self._tick + done.wait_ticks
        self._tick = self._idle[done.core] = start + done.timeline.total_ticks
        row = RunRow(done.node.stage, 0, 0, done.core, 0, start, self._tick, 0, waited + done.wait_ticks,
                     RunWait.INPUT if waited else RunWait.NONE)
        self._recorder.end(self._recorder.begin(row, done.stage), self._tick, done.timeline, start, 0)
