"""When everything happens: stages placed on the cores of one instance, run event by event.

The loop is `neuronsim._core.timing` (C), or its plain twin `neuronsim.units.machine` when that is not built or
`NEURONSIM_PURE=1`; both give the same ticks. Costs come from `isa.cost`, every machine number from the target. Not
responsible for values, nor for who starts a stage when.
"""
from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from isa.program import Stage
from isa.target import Target
from isa.topology import Link
from isa.word import ENGINES
from neuronsim.errors import Blocked, ConfigError, DeadlockError
from neuronsim.timeline import Frame, Timeline, per_transfer
from neuronsim.units import machine as plain
from neuronsim.units.model import BLOCKED, NOTHING, Placed, Problem, Solution
from neuronsim.units.prepare import link_resources, prepare

compiled: ModuleType | None
try:
    from neuronsim._core import timing as compiled
except ImportError:
    compiled = None

__all__ = ["LAST_TICK", "Cores", "Loaded", "Placed", "Timeline", "load_ticks", "simulate", "simulate_cores"]

LAST_TICK = 1 << 61  # a machine may run up to here; times beyond stay within 63 bits
POSTERS_SHOWN = 4


class Cores:
    """Placed stages on one machine, event by event. A slot is an index into `placed`.

    Slots have engines, semaphores and DMA queues of their own and share the DRAM of a chip and the links. Several may
    be on one core; the caller never runs two of those at once. One thread uses it at a time; others may advance other
    machines meanwhile.

    Raises: ConfigError for a stage the target cannot run or a place it does not have; MemoryFault for a dma_trigger
        that names descriptors that do not exist.
    """

    def __init__(self, placed: Sequence[Placed], target: Target) -> None:
        problem = prepare(placed, target)
        self._placed = list(placed)
        self._machine = event_loop()(problem)
        self._frames = [Frame(p.stage, problem, slot, target.tick_hz) for slot, p in enumerate(placed)]
        self._live = [frame.live(self._machine.solution) for frame in self._frames]
        self._traffic = [_traffic(frame, problem, slot) for slot, frame in enumerate(self._frames)]
        self._chips, self._links = target.chips, link_resources(target)
        self.reset()

    def start(self, slot: int, tick: int) -> None:
        """Begin one run of the stage at `tick`. Raises: ConfigError before `now`, or when the slot is not idle."""
        if not 0 <= slot < len(self._frames) or self._running[slot]:
            raise ConfigError("only an idle slot can start", where=f"slot {slot}")
        if not self.now <= tick <= LAST_TICK:
            raise ConfigError("a run cannot start in the past or beyond the last tick", where=f"slot {slot}",
                              limit=f"{self.now}..{LAST_TICK}", actual=tick)
        self._running[slot], self._started[slot] = True, tick
        self._machine.start(slot, tick)

    def advance(self, until: int) -> tuple[int, int] | None:
        """Go on to the next end of a run at a tick <= `until`.

        Returns: (slot, tick of the end), which is then `now`; of ends at one tick the lower slot first. None when none
            ended up to `until`, which is then `now`.
        Raises: ConfigError before `now`; DeadlockError when nothing can happen any more but a slot has not ended.
        """
        if not self.now <= until <= LAST_TICK:
            raise ConfigError("time goes forward, up to the last tick", limit=f"{self.now}..{LAST_TICK}", actual=until)
        slot = self._machine.advance(until)
        if slot == BLOCKED:
            raise DeadlockError(list(_blocked(self._machine.problem, self._machine.solution, self._placed)))
        if slot == NOTHING:
            return None
        self._running[slot], self._ended[slot] = False, self.now
        self._moved += self._traffic[slot]
        return slot, self.now

    @property
    def now(self) -> int:
        """Tick up to which everything has happened."""
        return self._machine.now

    def timeline(self, slot: int) -> Timeline:
        """The slot's last run, ticks relative to its start. Raises: ConfigError when it runs, or never did."""
        if self._running[slot] or self._ended[slot] < 0:
            raise ConfigError("only a run that has ended has a timeline", where=f"slot {slot}",
                              help="ask before the slot starts again")
        return self._frames[slot].timeline(self._machine.solution, self._started[slot], self._ended[slot])

    def live(self, slot: int) -> tuple[Timeline, int]:
        """Views of what the slot did and does: ticks of the machine, op ids counted from the number given."""
        return self._live[slot], self._frames[slot].first

    def state(self) -> bytes:
        """All that decides what happens from now on, relative to `now`, and nothing else.

        Two machines with the same stages and equal states end the same runs after the same ticks, for ever, given the
        same starts. Traffic and timelines are not part of it.
        """
        return self._machine.state()

    def reset(self) -> None:
        """Tick 0, all idle, nothing moved."""
        self._machine.reset()
        self._running = [False] * len(self._frames)
        self._started, self._ended = [0] * len(self._frames), [-1] * len(self._frames)
        self._moved = np.zeros(self._chips + len(self._links), dtype=np.int64)

    @property
    def dram_bytes(self) -> np.ndarray:
        """Bytes read and written in the DRAM of each chip by the runs that have ended: int64 [chips]."""
        return self._moved[:self._chips].copy()

    @property
    def link_bytes(self) -> dict[Link, int]:
        """Bytes over each link by the runs that have ended."""
        return {link: int(self._moved[number]) for link, number in self._links.items()}


def simulate(stage: Stage, target: Target, core: int = 0, downstream: int = -1) -> Timeline:
    """Time one stage alone on one core; `downstream` as in `Placed`.

    Raises:
        DeadlockError: engines wait for posts that never come.
        ConfigError: the program needs an engine, semaphore, queue, core or link the target does not have.
        MemoryFault: a dma_trigger names descriptors that do not exist.
    """
    return _all_once(Cores([Placed(stage, core, downstream)], target))[0]


def simulate_cores(stages: Sequence[Stage], target: Target) -> list[Timeline]:
    """Time one stage on each of the first cores of the target, all started at tick 0; cores of a chip share its DRAM.

    Raises: as `simulate`.
    """
    return Loaded(stages, target).run()


def load_ticks(stage: Stage, target: Target) -> int:
    """Ticks from the start of loading a stage to its pinned weights being in SBUF; 0 without any.

    Raises: as `simulate`.
    """
    return simulate(stage.loading, target).total_ticks if stage.init else 0


class Loaded:
    """One stage per core, ready to be timed any number of times: what does not change between runs is worked out here.

    That is the price of every word and descriptor and the constant columns of the timelines. One thread uses it at a
    time. Raises: as `simulate`.
    """

    def __init__(self, stages: Sequence[Stage], target: Target) -> None:
        self._cores = Cores([Placed(stage, core) for core, stage in enumerate(stages)], target)

    def run(self) -> list[Timeline]:
        """Run all cores from a reset machine. Raises: DeadlockError."""
        return _all_once(self._cores)


def event_loop() -> Any:
    """The class of the compiled machine, or of the plain one when that is not built or `NEURONSIM_PURE=1`."""
    if compiled is None or os.environ.get("NEURONSIM_PURE") == "1":
        return plain.Machine
    return compiled.Machine


def _all_once(cores: Cores) -> list[Timeline]:
    """Run every slot from tick 0 of a reset machine."""
    cores.reset()
    slots = range(len(cores._frames))
    for slot in slots:
        cores.start(slot, 0)
    for _ in slots:
        cores.advance(LAST_TICK)
    return [cores.timeline(slot) for slot in slots]


def _traffic(frame: Frame, problem: Problem, slot: int) -> np.ndarray:
    """Bytes that one run of a slot moves over every resource: int64 [resources]."""
    out = np.zeros(problem.resources, dtype=np.int64)
    for use in problem.uses[slot]:
        out[list(use.resources)] += per_transfer(frame.trigger, use.moved).sum()
    return out


# ---- deadlocks
def _blocked(problem: Problem, solution: Solution, placed: Sequence[Placed]) -> Iterator[Blocked]:
    """The wait graph: every stream that stopped before its end."""
    for s, words in enumerate(problem.words):
        if solution.blocked_wait[s] < 0:
            continue
        slot, engine = divmod(s, len(ENGINES))
        index, k = int(solution.pc[s] - problem.begin[s]), int(solution.blocked_wait[s])
        semaphore, op = int(words["wait_sem"][index, k]), int(solution.pc[s] - problem.begin[slot * len(ENGINES)])
        yield Blocked(
            placed[slot].core, ENGINES[engine], index, op, semaphore,
            int(words["wait_val"][index, k]), int(solution.values[slot, semaphore]),
            _posters(problem, solution, slot, semaphore),
        )


def _posters(problem: Problem, solution: Solution, slot: int, semaphore: int) -> tuple[str, ...]:
    """First words not yet started that would post to the semaphore."""
    found = []
    for engine, name in enumerate(ENGINES):
        s = slot * len(ENGINES) + engine
        pending = int(solution.pc[s] - problem.begin[s])
        rows = np.flatnonzero(problem.words[s]["post_sem"][pending:] == semaphore) + pending
        found += [f"{name}[{row}]" for row in rows[:POSTERS_SHOWN]]
    return tuple(found[:POSTERS_SHOWN])
