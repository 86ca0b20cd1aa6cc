"""Inside each run: the chain of words and transfers that decided when it ended, from its end back to its start.

A word starts when the constraint met last is met; that names the word, or transfer, before it on the chain. Between the
starts of two words on it lies what the first did for the second: it was issued, its result was in flight, its post was
on its way, or its transfer was.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from isa.spec import SPEC
from isa.target import Target
from isa.trace import Cause, Trace
from isa.word import ENGINES
from profiler.analyses.causes import Causes
from profiler.analyses.engine_time import Stall


class Reason(IntEnum):
    """What a tick of a critical path goes to; docs/profile.md defines them."""

    ISSUE = 0
    LATENCY = 1
    SIGNAL = 2
    DMA_START = 3
    DMA_QUEUE = 4
    DMA_SERVICE = 5
    DRAM = 6
    LINK = 7
    HOST_LINK = 8
    CPU = 9
    QUEUE = 10
    SWITCH = 11
    NO_WORK = 12
    NOT_RECORDED = 13


REASONS = tuple(r.name.lower() for r in Reason)
_OF_STALL = np.zeros(len(Stall), np.uint8)
for _name in ("DMA_QUEUE", "DMA_SERVICE", "DRAM", "LINK"):
    _OF_STALL[Stall[_name]] = Reason[_name]
_UNITS = tuple(SPEC.by_name[m].opcode for m in ("load_stationary", "matmul"))  # sub-units of the PE
_LAST_MOVE, _LAST_WORD = 254, 255  # how the end of a run follows from its last event; else a Cause


@dataclass(frozen=True, eq=False)
class Steps:
    """Parts of paths, in order of (run, time).

    Attributes:
        run: [p] row of the run.
        op: [p] row of the instruction, or of the trigger of the transfer.
        start, end: [p] ticks.
        reason: [p] a `Reason`.
    """

    run: np.ndarray
    op: np.ndarray
    start: np.ndarray
    end: np.ndarray
    reason: np.ndarray


def run_paths(trace: Trace, target: Target) -> Steps:
    """The chains of all runs. Of each run they cover every tick from its first start on them to its end."""
    causes = Causes(trace, target)
    before, how = _predecessors(trace, causes.issued)
    return _split(trace, causes, *_walk(trace, before, how))


def _predecessors(trace: Trace, done: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row that decided when each word started (-1: the start of the run), and the Cause; NONE: the engine's order."""
    table = trace.instructions
    op, cause = table["cause_op"].astype(np.int64), table["cause"]
    caused = (cause != Cause.NONE) & (op >= 0)
    in_order = _order(table, done)
    return np.where(caused, op, in_order), np.where(caused, cause, np.uint8(Cause.NONE))


def _order(table: dict[str, np.ndarray], done: np.ndarray) -> np.ndarray:
    """The word of the same engine that a word comes after: the last one, or on the PE the last of its own sub-unit."""
    rows = np.arange(len(done))
    group = table["run"].astype(np.int64) * len(ENGINES) + table["engine"]
    first = np.maximum.accumulate(np.where(np.diff(group, prepend=-1) != 0, rows, 0)) if len(rows) else rows
    before = rows - 1
    unit = np.where(table["engine"] == 0, np.isin(table["opcode"], _UNITS), False)
    ready = np.where(unit[before], table["start"][before], done[before]) if len(rows) else done
    for opcode in _UNITS:
        mine = unit & (table["opcode"] == opcode)
        last = np.maximum.accumulate(np.where(mine, rows, -1))[before] if len(rows) else rows
        later = mine & (last >= first) & (rows > first)
        later &= done[np.maximum(last, 0)] > ready
        before = np.where(later, last, before)
    return np.where(before >= first, before, -1)


def _walk(trace: Trace, before: np.ndarray, how: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Words on the chains of all runs, backwards; how what comes after follows from each, and at what tick."""
    words, moves, runs = trace.instructions, trace.transfers, trace.runs
    last = np.full(len(runs["end"]), -1, np.int64)
    way = np.zeros(len(last), np.uint8)
    for table, ended, kind in ((moves, "end", _LAST_MOVE), (words, "retire", _LAST_WORD)):
        rows = np.flatnonzero(table[ended] == runs["end"][table["run"]])
        last[table["run"][rows]] = table["op"][rows] if table is moves else rows
        way[table["run"][rows]] = kind
    steps, kinds, ticks = [], [], []
    previous, causes, starts = before.tolist(), how.tolist(), words["start"].tolist()
    for op, kind, tick in zip(last.tolist(), way.tolist(), runs["end"].tolist(), strict=True):
        while op >= 0:
            steps.append(op)
            kinds.append(kind)
            ticks.append(tick)
            op, kind, tick = previous[op], causes[op], starts[op]
    return np.array(steps, np.int64), np.array(kinds, np.uint8), np.array(ticks, np.int64)


def _split(trace: Trace, causes: Causes, op: np.ndarray, way: np.ndarray, until: np.ndarray) -> Steps:
    """From the start of each word on the chains to that of what comes after: parts by reason."""
    words, moves = trace.instructions, trace.transfers
    bounds: list[tuple[np.ndarray, Reason]] = []
    by_dma = (way == Cause.DMA) | (way == _LAST_MOVE)
    if len(moves["op"]):
        x = causes.transfer_of[op]
        enqueued, first, last = (np.where(by_dma, moves[c][x], 0) for c in ("enqueue", "start", "end"))
        whole = np.maximum(last - first, 1)
        waits = [np.where(by_dma, np.minimum(moves[c][x], whole), 0) for c in ("dram_wait", "link_wait")]
        link = np.minimum(waits[1], whole - waits[0])
        bounds = [(enqueued, Reason.DMA_START), (first, Reason.DMA_QUEUE), (last - waits[0] - link, Reason.DMA_SERVICE),
                  (last - link, Reason.DRAM), (last, Reason.LINK)]  # fmt: skip
    by_word = ~by_dma
    bounds += [(np.where(by_word, causes.issued[op], 0), Reason.ISSUE),
               (np.where(by_word, _result(words, way, op), 0), Reason.LATENCY), (until, Reason.SIGNAL)]  # fmt: skip
    reached, parts = words["start"][op], []
    for bound, reason in bounds:
        now = np.clip(bound, reached, until)
        parts.append((op, reached, now, np.full(len(op), reason, np.uint8)))
        reached = now
    op, start, end, kind = (np.concatenate(c) for c in zip(*parts, strict=True))
    queued = np.flatnonzero(kind == Reason.DMA_QUEUE)
    ahead = causes.in_queue(np.arange(len(queued)), start[queued], end[queued], causes.transfer_of[op[queued]])
    rest = np.flatnonzero((kind != Reason.DMA_QUEUE) & (end > start))
    op, start, end, kind = (
        np.concatenate([mine[rest], theirs])
        for mine, theirs in ((op, op[queued][ahead.owner]), (start, ahead.start), (end, ahead.end),
                             (kind, _OF_STALL[ahead.kind]))
    )  # fmt: skip
    run = words["run"][op].astype(np.int64)
    order = np.lexsort((start, run))
    return Steps(run[order], op[order], start[order], end[order], kind[order])


def _result(words: dict[str, np.ndarray], way: np.ndarray, op: np.ndarray) -> np.ndarray:
    """When what comes after could use the word: its result, or the retirement that posts."""
    return np.where(way == Cause.RAW, words["end"][op], words["retire"][op])
