"""When everything happens: turns programs and a target into the flat arrays of an event loop, and its answer into a
`Timeline`.

The loop is `neuronsim._core.timing` (C), or its plain twin `neuronsim.units.machine` when that is not built or
`NEURONSIM_PURE=1`; both give the same ticks. Costs come from `isa.cost`, every machine number from the target. Not
responsible for values.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from isa import cost
from isa.program import Stage
from isa.target import Target
from isa.trace import INSTRUCTIONS, TRANSFERS, Cause, Trace
from isa.word import ENGINES
from neuronsim.errors import Blocked, DeadlockError
from neuronsim.units import machine as plain
from neuronsim.units.model import Problem, Solution
from neuronsim.units.prepare import prepare

compiled: ModuleType | None
try:
    from neuronsim._core import timing as compiled
except ImportError:
    compiled = None

POSTERS_SHOWN = 4
_NAMES_WORD = (Cause.PORT, Cause.RAW, Cause.PE_SLOT)  # causes whose `cause_id` is an op id


@dataclass(frozen=True)
class Timeline:
    """Times of one core's program in ticks of `1 / tick_hz` seconds. Row i of the word columns is op id i.

    Attributes:
        engine, index: [n] word i is `stage.stream(ENGINES[engine[i]])[index[i]]`.
        wait_start: [n] when the engine was ready to issue the word.
        start, end, retire: [n] issue; result written; in-order completion (a post is seen one semaphore latency later).
        cause, cause_id, cause_op: [n] why start > wait_start, as `isa.trace.Cause`.
        transfer_op: [x] op id of each transfer's dma_trigger, ascending; transfer_queue: [x].
        transfer_enqueue, transfer_start, transfer_end: [x] enters its queue; first share served; last share done.
        transfer_bytes: [x] delivered bytes.
        engine_busy: [5] ticks in which the engine was issuing; dma_busy: [16] ticks serving, DRAM waits included.
        dram_read_bytes, dram_written_bytes: over all transfers.
        total_ticks: last retirement or end of a transfer.
    """

    engine: np.ndarray
    index: np.ndarray
    wait_start: np.ndarray
    start: np.ndarray
    end: np.ndarray
    retire: np.ndarray
    cause: np.ndarray
    cause_id: np.ndarray
    cause_op: np.ndarray
    transfer_op: np.ndarray
    transfer_queue: np.ndarray
    transfer_enqueue: np.ndarray
    transfer_start: np.ndarray
    transfer_end: np.ndarray
    transfer_bytes: np.ndarray
    engine_busy: np.ndarray
    dma_busy: np.ndarray
    dram_read_bytes: int
    dram_written_bytes: int
    total_ticks: int
    tick_hz: int

    @property
    def seconds(self) -> float:
        return self.total_ticks / self.tick_hz

    def trace(self, stage: Stage, target: Target, core: int = 0) -> Trace:
        """The timeline as a trace of core number `core`, with opcodes and debug rows of the stage it was made from."""
        streams = [stage.stream(e) for e in ENGINES]
        trigger = _rows(streams, self.transfer_op)
        instructions = {
            "core": np.full(len(self.start), core), "engine": self.engine, "index": self.index,
            "debug": np.concatenate([s["debug"] for s in streams]),
            "opcode": np.concatenate([s["opcode"] for s in streams]),
            "start": self.start, "end": self.end, "retire": self.retire, "wait_start": self.wait_start,
            "cause": self.cause, "cause_id": self.cause_id, "cause_op": self.cause_op,
        }
        transfers = {
            "core": np.full(len(trigger), core), "trigger_engine": self.engine[self.transfer_op],
            "trigger_index": self.index[self.transfer_op], "op": self.transfer_op, "queue": self.transfer_queue,
            "enqueue": self.transfer_enqueue, "start": self.transfer_start, "end": self.transfer_end,
            "bytes": self.transfer_bytes, "debug": _first_debug(trigger, stage),
        }
        return Trace(
            {c: np.ascontiguousarray(instructions[c], dtype=t) for c, t in INSTRUCTIONS.items()},
            {c: np.ascontiguousarray(transfers[c], dtype=t) for c, t in TRANSFERS.items()},
            self.tick_hz, target.name, self.total_ticks,
        )


def simulate(stage: Stage, target: Target) -> Timeline:
    """Time one stage alone on one core.

    Raises:
        DeadlockError: engines wait for posts that never come.
        ConfigError: the program needs an engine, semaphore or queue the target does not have.
        MemoryFault: a dma_trigger names descriptors that do not exist.
    """
    return simulate_cores([stage], target)[0]


def simulate_cores(stages: Sequence[Stage], target: Target) -> list[Timeline]:
    """Time one stage on each of the first cores of the target, all started at tick 0; cores of a chip share its DRAM.

    Raises: as `simulate`.
    """
    return Loaded(stages, target).run()


class Loaded:
    """One stage per core, ready to be timed any number of times: what does not change between runs is worked out here.

    That is the price of every word and descriptor and the constant columns of the timelines. Raises: as `prepare`.
    """

    def __init__(self, stages: Sequence[Stage], target: Target) -> None:
        self._problem = prepare(stages, target)
        self._tick_hz = target.tick_hz
        self._constants = [_constants(stage, self._problem, core) for core, stage in enumerate(stages)]

    def run(self) -> list[Timeline]:
        """Run all cores from a reset machine. Raises: DeadlockError."""
        solution = event_loop()(self._problem)
        if solution.deadlock:
            raise DeadlockError(_blocked(self._problem, solution))
        return [_timeline(c, solution, core, self._tick_hz) for core, c in enumerate(self._constants)]


def event_loop() -> Callable[[Problem], Solution]:
    """The compiled loop, or the plain one when it is not built or `NEURONSIM_PURE=1`."""
    if compiled is None or os.environ.get("NEURONSIM_PURE") == "1":
        return plain.run
    return compiled.run


# ---- from arrays to answers
@dataclass(frozen=True)
class _Constants:
    """What the timelines of one core have in common: its rows of the solution, and columns of `Timeline`."""

    words: slice
    rows: slice
    columns: dict[str, Any]


def _constants(stage: Stage, problem: Problem, core: int) -> _Constants:
    begin = problem.begin[core * len(ENGINES):(core + 1) * len(ENGINES) + 1]
    rows = slice(*np.searchsorted(problem.trigger, begin[[0, -1]]))
    counts = np.diff(begin)
    engine = np.repeat(np.arange(len(ENGINES), dtype=np.uint8), counts)
    index = (np.arange(len(engine)) - np.repeat(begin[:-1] - begin[0], counts)).astype(np.int32)
    op = problem.trigger[rows] - np.int32(begin[0])
    trigger = _rows(problem.words[core * len(ENGINES):(core + 1) * len(ENGINES)], op)
    read, written, delivered = _sums(trigger, stage)
    shared = {
        "engine": engine, "index": index, "transfer_op": op, "transfer_queue": trigger["op0"].copy(),
        "transfer_bytes": delivered,
    }
    for column in shared.values():
        column.setflags(write=False)
    sums = {"dram_read_bytes": int(read.sum()), "dram_written_bytes": int(written.sum())}
    return _Constants(slice(int(begin[0]), int(begin[-1])), rows, {**shared, **sums})


def _timeline(constants: _Constants, solution: Solution, core: int, tick_hz: int) -> Timeline:
    words, rows, base = constants.words, constants.rows, np.int32(constants.words.start)
    cause, cause_id, cause_op = solution.cause[words], solution.cause_id[words], solution.cause_op[words]
    if base:
        cause_id = np.where(np.isin(cause, _NAMES_WORD), cause_id - base, cause_id)
        cause_op = np.where(cause != Cause.NONE, cause_op - base, cause_op)
    return Timeline(
        wait_start=solution.wait_start[words], start=solution.start[words], end=solution.end[words],
        retire=solution.retire[words], cause=cause, cause_id=cause_id, cause_op=cause_op,
        transfer_enqueue=solution.enqueued[rows], transfer_start=solution.first[rows],
        transfer_end=solution.last[rows], engine_busy=solution.engine_busy[core], dma_busy=solution.dma_busy[core],
        total_ticks=int(max(solution.retire[words].max(initial=0), solution.last[rows].max(initial=0))),
        tick_hz=tick_hz, **constants.columns,
    )


def _rows(streams: Sequence[np.ndarray], ops: np.ndarray) -> np.ndarray:
    """Words of one core by ascending op id, without joining the streams: [len(ops)] WORD."""
    begin = np.concatenate([[0], np.cumsum([len(s) for s in streams])])
    parts = np.searchsorted(ops, begin)
    return np.concatenate([s[ops[a:b] - first] for s, first, a, b in zip(streams, begin, parts[:-1], parts[1:])])


def _sums(trigger: np.ndarray, stage: Stage) -> list[np.ndarray]:
    """DRAM bytes read, written, and bytes delivered by each transfer, [x] int64 each."""
    first = trigger["arg"].astype(np.int64)
    columns = cost.dma_bytes(stage.descriptors)
    before = [np.concatenate([[0], np.cumsum(column)]).astype(np.int64) for column in columns]
    return [b[first + trigger["count"]] - b[first] for b in before]


def _first_debug(trigger: np.ndarray, stage: Stage) -> np.ndarray:
    """Debug row of each transfer's first descriptor; of the trigger where it has none, [x] uint32."""
    debug = trigger["debug"].copy()
    some = np.flatnonzero(trigger["count"])
    debug[some] = stage.descriptors["debug"][trigger["arg"][some]]
    return debug


def _blocked(problem: Problem, solution: Solution) -> list[Blocked]:
    """The wait graph: every stream that stopped before its end."""
    out = []
    for s, words in enumerate(problem.words):
        if solution.pc[s] >= problem.begin[s + 1]:
            continue
        core, engine = divmod(s, len(ENGINES))
        index, k = int(solution.pc[s] - problem.begin[s]), int(solution.blocked_wait[s])
        semaphore = int(words["wait_sem"][index, k])
        out.append(Blocked(
            core, ENGINES[engine], index, int(solution.pc[s] - problem.begin[core * len(ENGINES)]), semaphore,
            int(words["wait_val"][index, k]), int(solution.values[core, semaphore]),
            _posters(problem, solution, core, semaphore),
        ))
    return out


def _posters(problem: Problem, solution: Solution, core: int, semaphore: int) -> tuple[str, ...]:
    """First words not yet started that would post to the semaphore."""
    found = []
    for engine, name in enumerate(ENGINES):
        s = core * len(ENGINES) + engine
        pending = int(solution.pc[s] - problem.begin[s])
        rows = np.flatnonzero(problem.words[s]["post_sem"][pending:] == semaphore) + pending
        found += [f"{name}[{row}]" for row in rows[:POSTERS_SHOWN]]
    return tuple(found[:POSTERS_SHOWN])
