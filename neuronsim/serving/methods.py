"""Serving: which way of knowing how long a run takes, and the simulation by it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isa.target import Target
from neuronsim._core import serving_state
from neuronsim._core.serving import Loop
from neuronsim.serving.contention import shared_of
from neuronsim.serving.layout import Layout, lay_out
from neuronsim.serving.model import CORE, Load, ModelPlan, ServingError
from neuronsim.serving.recording import Witness
from neuronsim.serving.repeat import Repetition
from neuronsim.serving.served import Served
from neuronsim.serving.summary import summarise

if TYPE_CHECKING:
    from neuronsim.timing import Cores, Placed
    from neuronsim.tracing import Recorder

METHODS = ("auto", "machine", "extended", "recurrence", "approximate")
MACHINE_WORDS = 100_000_000  # instruction words that "auto" simulates: about ten seconds of a host core
_RUN_WORDS = 500  # what starting and ending a run on the machine costs the host, in instruction words
STATES = 2_000  # states remembered while a loop of constant times looks for a pattern; most take fewer than 100
_REPORT_SECONDS = 0.2

Progress = Callable[[int, int, np.ndarray], None]  # requests done, of how many, [cores] utilisation so far


def serve(
    models: Sequence[ModelPlan], loads: Sequence[Load], target: Target, method: str = "auto",
    on_progress: Progress | None = None, words: int = MACHINE_WORDS, recorder: Recorder | None = None,
) -> Served:
    """Put each load on its model, all at once on one machine, until every request has ended.

    Args:
        method: "machine": every instruction; "extended": so, and what repeats is not simulated again (closed loops
            and even arrivals); "recurrence": every run takes its time alone; "approximate": runs contend for the DRAM
            of their chip, but have no instructions; "auto": the exact one that is fast enough, else approximate.
        on_progress: called a few times a second.
        words: instruction words that "auto" may simulate, and "extended" until its pattern repeats.
        recorder: is given every run, which only the machine has: "auto" and "machine".
    Raises: ServingError; DeadlockError.
    """
    if method not in METHODS:
        raise ServingError(f"unknown method {method!r}", help="known: " + ", ".join(METHODS))
    layout = lay_out(models, loads, target)
    work = Work.of(layout, models, loads)
    chosen, reason = choose(work, words) if method == "auto" else (method, "asked for")
    if recorder is not None:
        if method not in ("auto", "machine"):
            raise ServingError(f"{method!r} has no instructions to record", help="method machine")
        chosen, reason = "machine", "every instruction is recorded"
    run = _Run(models, layout, work, target, _Reporter(on_progress, int(layout.requests[-1])), recorder)
    if chosen == "extended":
        if not work.regular:
            raise ServingError("arrivals at random never repeat", help="--method approximate")
        if run.extended(words):
            return run.served("extended", True, reason)
        chosen, reason = "approximate", f"no pattern repeated within {words} instruction words"
    {"machine": run.machine, "recurrence": run.recurrence, "approximate": run.approximate}[chosen]()
    return run.served(chosen, chosen == "machine" or (chosen == "recurrence" and not work.shared), reason)


@dataclass(frozen=True)
class Work:
    """What decides the method.

    Attributes:
        words: instruction words of all runs, and `_RUN_WORDS` for each run. regular: no load arrives at random.
        shared: what runs under way at once on several cores may contend for: "DRAM of chip 0", "link 0-1"; "" nothing.
    """

    words: int
    regular: bool
    shared: str

    @classmethod
    def of(cls, layout: Layout, models: Sequence[ModelPlan], loads: Sequence[Load]) -> Work:
        alone = [a for m in models for a in m.alone]
        pieces = np.add.reduceat(np.append(layout.pieces, 0), layout.requests[:-1]) * (np.diff(layout.requests) > 0)
        copies = [len(m.replicas) for m in models]
        words = sum((alone[s.slot].words + _RUN_WORDS) * int(pieces[s.model]) / copies[s.model]
                    for s in layout.stations if s.slot >= 0)
        return cls(int(words), all(load.regular for load in loads), _shared(layout, models, loads))


def _shared(layout: Layout, models: Sequence[ModelPlan], loads: Sequence[Load]) -> str:
    """The first resource that runs on two cores may use at once."""
    if len(loads) == 1 and loads[0].in_flight == 1 and layout.pieces.max(initial=0) <= 1:
        return ""  # never two runs at once
    alone = [a for m in models for a in m.alone]
    users: dict[str, set[int]] = {}
    for station in layout.stations:
        if station.step.kind != CORE or station.slot < 0 or not loads[station.model].requests:
            continue
        use = alone[station.slot]
        for name in [f"DRAM of chip {c}" for c in use.dram_bytes] + [f"link {a}-{b}" for a, b in use.link_bytes]:
            users.setdefault(name, set()).add(station.step.where)
    return min((name for name, cores in users.items() if len(cores) > 1), default="")


def choose(work: Work, words: int) -> tuple[str, str]:
    """The method that "auto" takes, and why."""
    if not work.shared:
        return "recurrence", "no two runs under way at once use the same memory or link"
    if work.words <= words:
        return "machine", f"{work.words} instruction words are few enough to simulate"
    if work.regular:
        return "extended", f"runs contend for {work.shared}, and the arrivals may repeat"
    return "approximate", f"runs contend for {work.shared}, in {work.words} instruction words"


class _Run:
    """One layout by any method; the last one run is what `served` tells of."""

    def __init__(self, models: Sequence[ModelPlan], layout: Layout, work: Work, target: Target,
                 report: _Reporter, recorder: Recorder | None = None) -> None:
        self._models, self._layout, self._work, self._target, self._report = models, layout, work, target, report
        self._total, self._recorder = int(layout.requests[-1]), recorder

    def machine(self) -> None:
        self._begin(True)
        self._finish(1)

    def extended(self, words: int) -> bool:
        cores = self._begin(True)
        alone = [a for m in self._models for a in m.alone]
        each = np.array([alone[s.slot].words + _RUN_WORDS if s.slot >= 0 else 0 for s in self._layout.stations])
        repetition = Repetition(self._layout.requests, cores)
        return repetition.run(self._loop, lambda runs: int(runs @ each) <= words, self._report)

    def recurrence(self) -> None:
        self._begin(False)
        left = iter(range(STATES))
        if self._work.regular:
            repetition = Repetition(self._layout.requests)
            repetition.run(self._loop, lambda runs: next(left, None) is not None, self._report)
        self._finish()

    def approximate(self) -> None:
        shared, programs = shared_of(self._layout, self._models, self._target)
        self._loop = self._layout.loop(self._target, shared=shared, programs=programs)
        self._finish()

    def _begin(self, on_machine: bool) -> Any:
        placed = [p for m in self._models for p in m.placed]
        cores = machine_of(placed, self._target) if on_machine and placed else None
        if self._recorder is None:
            self._loop = self._layout.loop(self._target, cores)
        else:
            witness = Witness(self._recorder, self._layout, self._models, cores, self._target)
            self._loop = self._layout.loop(self._target, witness if cores else None, witness=witness)
        return cores

    def _finish(self, chunk: int = 1_000) -> None:
        """Go on until the end, in pieces that take a fraction of a second of the host's time."""
        while (done := self._loop.done) < self._total:
            began = time.monotonic()
            self._loop.advance(done + chunk)
            assert self._loop.done > done, "requests wait for each other"
            chunk = chunk * 2 if time.monotonic() - began < _REPORT_SECONDS / 2 else chunk
            self._report(self._loop)

    def served(self, method: str, exact: bool, reason: str) -> Served:
        return summarise(self._loop, self._layout, self._models, self._target, method, exact, reason)


def machine_of(placed: Sequence[Placed], target: Target) -> Cores:
    """The instruction-level machine of these stages."""
    from neuronsim.timing import Cores

    return Cores(placed, target)


class _Reporter:
    """Tells how far the loop is, at most a few times a second of the host's time."""

    def __init__(self, tell: Progress | None, total: int) -> None:
        self._tell, self._total, self._next = tell, total, time.monotonic() + _REPORT_SECONDS

    def __call__(self, loop: Loop) -> None:
        if self._tell is None or (time.monotonic() < self._next and loop.done < self._total):
            return
        self._next = time.monotonic() + _REPORT_SECONDS
        self._tell(loop.done, self._total, serving_state.core_counters(loop)[:, 0] / max(loop.now, 1))
