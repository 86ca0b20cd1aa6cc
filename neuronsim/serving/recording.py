"""Serving, recorded: which run of which stage was for which request, and what its core had waited for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from isa.program import Program, Stage
from isa.target import Target
from isa.trace import HostKind, RunWait
from neuronsim.serving.layout import Layout, Station
from neuronsim.serving.model import CORE, CPU, Load, ModelPlan
from neuronsim.serving.planning import batch_of
from neuronsim.serving.served import Served
from neuronsim.tracing import HostRow, Recorder, RunRow

if TYPE_CHECKING:
    from neuronsim.timing import Cores


class Witness:
    """Stands between the request loop and the machine: hears what starts, and keeps what ends.

    `start` and `advance` are those of `Cores`.
    """

    def __init__(self, recorder: Recorder, layout: Layout, models: Sequence[ModelPlan], cores: Cores | None,
                 target: Target) -> None:
        self._recorder, self._cores = recorder, cores
        self._stations = layout.stations
        self._kinds = [_host_kind(station, layout.stations[i - 1]) for i, station in enumerate(layout.stations)]
        self._placed = [p for m in models for p in m.placed]
        self._signal = target.ns_to_ticks(target.semaphore_latency_ns)
        self._running: dict[int, int | None] = {}
        recorder.expect(self._expected(layout))

    def starts(self, station: int, request: int, arrival: int, ready: int, idle: int, settled: int,
               start: int) -> None:
        """A step has been given to what serves it (`Loop` says what the arguments are)."""
        at = self._stations[station]
        if at.step.kind != CORE:
            where = 0 if at.step.kind == CPU else at.step.where
            end = start + at.step.ticks
            self._recorder.host(HostRow(at.model, request, self._kinds[station], where, at.step.node, start, end))
            return
        switching = start - settled - self._signal
        cause = _cause(settled - idle, switching, ready == settled, arrival > idle)
        stage = self._recorder.programs[at.model].nodes[at.step.node].stage
        row = RunRow(stage, at.model, at.copy, at.step.where, request, start, start, switching, start - idle, cause)
        self._running[at.slot] = self._recorder.begin(row, self._placed[at.slot].stage)

    def start(self, slot: int, tick: int) -> None:
        """Begin a run."""
        assert self._cores is not None
        self._cores.start(slot, tick)

    def advance(self, until: int) -> tuple[int, int] | None:
        """Go on to the next end of a run, and keep that run."""
        cores = self._cores
        assert cores is not None
        ended = cores.advance(until)
        if ended is not None:
            slot, tick = ended
            timeline, first = cores.live(slot)
            self._recorder.end(self._running.pop(slot), tick, timeline, 0, first)
        return ended

    def _expected(self, layout: Layout) -> Iterator[tuple[Stage, int]]:
        """Each stage of each model, and the pieces that pass it, whichever copy they take."""
        for at in self._stations:
            if at.slot >= 0 and at.copy == 0:
                requests = slice(int(layout.requests[at.model]), int(layout.requests[at.model + 1]))
                yield self._placed[at.slot].stage, int(layout.pieces[requests].sum())


def _host_kind(station: Station, before: Station) -> HostKind:
    """A transfer that follows a step of its own node, the stage, takes outputs."""
    if station.step.kind == CPU:
        return HostKind.CPU
    follows = station.position > 0 and before.step.node == station.step.node
    return HostKind.LINK_OUT if follows else HostKind.LINK_IN


def _cause(idle: int, switching: int, just_arrived: bool, late: bool) -> RunWait:
    """What a core waited for that had been idle for so long when all was there; `late`: the request was not."""
    if switching > idle:
        return RunWait.SWITCH
    if idle == 0:
        return RunWait.NONE
    if not just_arrived:
        return RunWait.ROOM
    return RunWait.WORK if late else RunWait.INPUT


def requests_of(served: Served, programs: Sequence[Program], loads: Sequence[Load]) -> dict[str, np.ndarray]:
    """Columns of all requests, those of each load together, as `isa.trace.REQUESTS`."""
    columns = {name: np.concatenate([getattr(r, name) for r in served.loads]) for name in ("arrival", "start", "end")}
    counts = [len(r.end) for r in served.loads]
    rows = [load.row_counts(batch_of(program)) for program, load in zip(programs, loads, strict=True)]
    return {**columns, "model": np.repeat(np.arange(len(counts)), counts), "rows": np.concatenate(rows)}
