"""The event loop over all slots, in plain Python: twin of the compiled loop, and the text of the timing model."""
from __future__ import annotations

from isa.word import ENGINES
from neuronsim.units import state
from neuronsim.units.dma import Bandwidth
from neuronsim.units.events import EventQueue, Phase
from neuronsim.units.model import BLOCKED, NOTHING, Problem, Solution
from neuronsim.units.run import Run


class Machine:
    """The placed stages of a `Problem` on one machine. `runs` has the run of every slot that is not idle."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.solution = Solution.empty(problem)
        self.reset()

    def reset(self) -> None:
        """All idle at tick 0."""
        self.now = 0
        self.events = EventQueue()
        self.resources = [Bandwidth() for _ in range(self.problem.resources)]
        self.runs: dict[int, Run] = {}

    def start(self, slot: int, tick: int) -> None:
        """Begin a run of an idle slot at `tick` >= now."""
        self.runs[slot] = Run(self.problem, self.solution, slot, tick, self.resources, self.events)

    def advance(self, until: int) -> int:
        """Go on to the next end of a run up to tick `until` and return its slot.

        NOTHING: `until` is reached without one. BLOCKED: nothing can happen any more but a slot has not ended; then
        `solution.pc` and `blocked_wait` say where it stopped.
        """
        while self.events and self.events.first <= until:
            self.now, phase, slot, engine, op = self.events.pop()
            if phase == Phase.DONE:
                del self.runs[slot]
                return slot
            self.runs[slot].handle(self.now, phase, engine, op)
        if self.runs and not self.events:
            self._note_blocked()
            return BLOCKED
        self.now = until
        return NOTHING

    def state(self) -> bytes:
        """What decides the future, as int64 numbers; see `neuronsim.units.state`."""
        return state.of(self.problem, self.now, self.resources, self.runs)

    def _note_blocked(self) -> None:
        self.solution.pc[:], self.solution.blocked_wait[:] = self.problem.begin[:-1], -1
        for slot, run in self.runs.items():
            for stream, engine in enumerate(run.engines, slot * len(ENGINES)):
                self.solution.pc[stream] = engine.pc
                if engine.pc < engine.end:
                    self.solution.blocked_wait[stream] = engine.wait
