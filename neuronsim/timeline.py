"""When the words and transfers of one run happened: columns over op ids, and the same as a trace."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isa import cost
from isa.program import Stage
from isa.trace import Cause, names_word
from isa.word import ENGINES
from neuronsim.units.model import Problem, Solution

_TIMES = ("wait_start", "start", "end", "retire", "transfer_enqueue", "transfer_start", "transfer_end")
_OTHERS = ("cause", "cause_id", "cause_op", "transfer_dram_wait", "transfer_link_wait", "engine_busy", "dma_busy")


@dataclass(frozen=True)
class Timeline:
    """Times of one run of a stage in ticks of `1 / tick_hz` seconds from its start. Row i of a word column is op id i.

    Attributes:
        engine, index: [n] word i is `stage.stream(ENGINES[engine[i]])[index[i]]`; debug, opcode: [n] what it says.
        wait_start: [n] when the engine was ready to issue the word.
        start, end, retire: [n] issue; result written; in-order completion (a post is seen one semaphore latency later).
        cause, cause_id, cause_op: [n] why start > wait_start, as `isa.trace.Cause`.
        transfer_op: [x] op id of each transfer's dma_trigger, ascending; transfer_engine, transfer_index: [x] of that.
        transfer_queue: [x]; transfer_debug: [x] debug row of the first descriptor, of the trigger where it has none.
        transfer_enqueue, transfer_start, transfer_end: [x] enters its queue; first share served; last share done.
        transfer_dram_wait, transfer_link_wait: [x] ticks that shares took beyond their service, as `Solution.waited`.
        transfer_bytes: [x] delivered bytes.
        transfer_read, transfer_written, transfer_link_bytes: [x] bytes of DRAM, and those that went to another chip.
        engine_busy: [5] ticks in which the engine was issuing; dma_busy: [16] ticks serving, DRAM waits included.
        dram_read_bytes, dram_written_bytes: over all transfers.
        total_ticks: last retirement or end of a transfer.
    """

    engine: np.ndarray
    index: np.ndarray
    debug: np.ndarray
    opcode: np.ndarray
    wait_start: np.ndarray
    start: np.ndarray
    end: np.ndarray
    retire: np.ndarray
    cause: np.ndarray
    cause_id: np.ndarray
    cause_op: np.ndarray
    transfer_op: np.ndarray
    transfer_engine: np.ndarray
    transfer_index: np.ndarray
    transfer_queue: np.ndarray
    transfer_debug: np.ndarray
    transfer_enqueue: np.ndarray
    transfer_start: np.ndarray
    transfer_end: np.ndarray
    transfer_dram_wait: np.ndarray
    transfer_link_wait: np.ndarray
    transfer_bytes: np.ndarray
    transfer_read: np.ndarray
    transfer_written: np.ndarray
    transfer_link_bytes: np.ndarray
    engine_busy: np.ndarray
    dma_busy: np.ndarray
    dram_read_bytes: int
    dram_written_bytes: int
    total_ticks: int
    tick_hz: int

    @property
    def seconds(self) -> float:
        return self.total_ticks / self.tick_hz


class Frame:
    """What the timelines of all runs of a slot have in common: rows of the solution, constant columns of `Timeline`.

    `trigger` are its dma_trigger words by transfer, [x] WORD; `first` is the op id of its first word over all slots.
    """

    def __init__(self, stage: Stage, problem: Problem, slot: int, tick_hz: int) -> None:
        self._slot, self._tick_hz = slot, tick_hz
        self._words, self._transfers = problem.words_of(slot), problem.transfers_of(slot)
        begin = problem.begin[slot * len(ENGINES):(slot + 1) * len(ENGINES) + 1]
        streams = problem.words[slot * len(ENGINES):(slot + 1) * len(ENGINES)]
        counts = np.diff(begin)
        engine = np.repeat(np.arange(len(ENGINES), dtype=np.uint8), counts)
        index = (np.arange(len(engine)) - np.repeat(begin[:-1] - begin[0], counts)).astype(np.int32)
        op = problem.trigger[self._transfers] - begin[0]
        trigger = _rows(streams, op)
        read, written, delivered = (
            per_transfer(trigger, column) for column in cost.dma_bytes(stage.descriptors, cost.sbuf_variables(stage)))
        links = [use.moved for use in problem.uses[slot] if use.resources[0] >= problem.chips]
        over_links = per_transfer(trigger, sum(links, start=np.zeros(len(stage.descriptors), np.int64)))
        shared = {"engine": engine, "index": index, "transfer_op": op, "transfer_queue": trigger["op0"].copy(),
                  **{column: np.concatenate([words[column] for words in streams]) for column in ("debug", "opcode")},
                  "transfer_engine": engine[op], "transfer_index": index[op],
                  "transfer_debug": _first_debug(trigger, stage), "transfer_bytes": delivered, "transfer_read": read,
                  "transfer_written": written, "transfer_link_bytes": over_links}
        for column in shared.values():
            column.setflags(write=False)
        self.trigger, self.first = trigger, self._words.start
        self._columns: dict[str, Any] = {**shared, "dram_read_bytes": int(read.sum()),
                                         "dram_written_bytes": int(written.sum())}

    def timeline(self, solution: Solution, started: int, ended: int) -> Timeline:
        """The run of those ticks, of which the solution still has the times."""
        live, base = self.live(solution), np.int32(self._words.start)
        times = {name: getattr(live, name) - started for name in _TIMES}
        others = {name: getattr(live, name).copy() for name in _OTHERS}
        if base:
            others["cause_id"] = np.where(names_word(live.cause), live.cause_id - base, live.cause_id)
            others["cause_op"] = np.where(live.cause != Cause.NONE, live.cause_op - base, live.cause_op)
        return replace(live, **times, **others, total_ticks=ended - started)

    def live(self, solution: Solution) -> Timeline:
        """Views of the last run, which the next one overwrites: ticks of the machine, op ids over all slots."""
        words, rows, s = self._words, self._transfers, solution
        return Timeline(
            wait_start=s.wait_start[words], start=s.start[words], end=s.end[words], retire=s.retire[words],
            cause=s.cause[words], cause_id=s.cause_id[words], cause_op=s.cause_op[words],
            transfer_enqueue=s.enqueued[rows], transfer_start=s.first[rows], transfer_end=s.last[rows],
            transfer_dram_wait=s.waited[rows, 0], transfer_link_wait=s.waited[rows, 1],
            engine_busy=s.engine_busy[self._slot], dma_busy=s.dma_busy[self._slot], total_ticks=0,
            tick_hz=self._tick_hz, **self._columns,
        )


def per_transfer(trigger: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Sum of a column of the descriptors over those of each dma_trigger word: int64 [x]."""
    before = np.concatenate([[0], np.cumsum(column)]).astype(np.int64)
    first = trigger["arg"].astype(np.int64)
    return before[first + trigger["count"]] - before[first]


def _rows(streams: Sequence[np.ndarray], ops: np.ndarray) -> np.ndarray:
    """Words of one core by ascending op id, without joining the streams: [len(ops)] WORD."""
    begin = np.concatenate([[0], np.cumsum([len(s) for s in streams])])
    parts = np.searchsorted(ops, begin)
    return np.concatenate([s[ops[a:b] - first] for s, first, a, b in zip(streams, begin, parts[:-1], parts[1:])])


def _first_debug(trigger: np.ndarray, stage: Stage) -> np.ndarray:
    """Debug row of each transfer's first descriptor; of the trigger where it has none, [x] uint32."""
    debug = trigger["debug"].copy()
    some = np.flatnonzero(trigger["count"])
    debug[some] = stage.descriptors["debug"][trigger["arg"][some]]
    return debug
