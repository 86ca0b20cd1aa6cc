"""Collects what a simulation did, run by run, and makes the trace of it.

Bounded: where the rows of a run would pass `max_rows`, this run and all later ones are left out, counted and announced.
Not responsible for when anything happens, nor for the schema (`isa/trace_schema.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from isa import neff
from isa.program import Program, Stage
from isa.spec import SPEC
from isa.target import Target
from isa.trace import TABLES, Cause, HostKind, RunWait, Table, Trace, empty, names_word, renamed
from neuronsim.timeline import Timeline

MAX_ROWS = 4_000_000  # about 300 MB
_MOVING = {  # columns in which the runs of a stage differ
    "instructions": ("start", "end", "retire", "wait_start", "cause", "cause_id", "cause_op"),
    "transfers": ("enqueue", "start", "end", "dram_wait", "link_wait"),
}
_TIMES = ("start", "end", "retire", "wait_start", "enqueue")
_NONE = int(Cause.NONE)
_TRIGGER = SPEC.by_name["dma_trigger"].opcode


class RunRow(NamedTuple):
    """A row of `isa.trace.RUNS`; `request` counts over all models."""

    stage: int
    model: int
    copy: int
    core: int
    request: int
    start: int
    end: int
    switch: int
    wait: int
    wait_for: RunWait


class HostRow(NamedTuple):
    """A row of `isa.trace.HOST`."""

    model: int
    request: int
    kind: HostKind
    where: int
    node: int
    start: int
    end: int


class Recorder:
    """Rows of a simulation of these programs; at most `max_rows` of them, requests not counted."""

    def __init__(self, programs: Sequence[Program], target: Target, max_rows: int = MAX_ROWS) -> None:
        self.programs, self._target = programs, target
        self._limit = self._left = max_rows
        self._runs: list[RunRow] = []
        self._timelines: dict[int, Timeline] = {}  # of each run, for what it has in common with all of its stage
        self._words, self._moves = _Rows("instructions"), _Rows("transfers")
        self._ops: list[int] = []  # what the op ids of each run count from
        self._host: list[HostRow] = []
        self._dropped: Counter[str] = Counter()
        self._sizes: dict[int, dict[str, int]] = {}
        self._last = 0

    def expect(self, runs: Iterable[tuple[Stage, int]]) -> None:
        """How often stages will run, as far as that is known: saves making room again and again."""
        sizes = [(self._size(stage), count) for stage, count in runs]
        for rows in (self._words, self._moves):
            rows.reserve(min(sum(size[rows.table] * count for size, count in sizes), self._limit))

    def begin(self, row: RunRow, stage: Stage) -> int | None:
        """A run of a stage begins: its number for `end`, None where there is no room."""
        size = self._size(stage)
        if not self._fits(size):
            return None
        self._words.take(size["instructions"])
        self._moves.take(size["transfers"])
        self._runs.append(row)
        self._ops.append(0)
        return len(self._runs) - 1

    def end(self, run: int | None, tick: int, timeline: Timeline, late: int, first: int) -> None:
        """That run has ended.

        Args:
            timeline: its ticks are `late` behind those of the whole, its op ids begin at `first`. What may change is
                copied.
        """
        self._last = max(self._last, tick)
        if run is None:
            return
        self._runs[run] = self._runs[run]._replace(end=tick)
        self._timelines[run], self._ops[run] = timeline, first
        self._words.fill(run, timeline, late)
        self._moves.fill(run, timeline, late)

    def host(self, row: HostRow) -> None:
        """Something that the host did."""
        self._last = max(self._last, row.end)
        if self._fits({"host": 1}):
            self._host.append(row)

    def trace(self, requests: Mapping[str, Sequence[int] | np.ndarray]) -> Trace:
        """All of it, when every run has ended. `requests`: columns as `isa.trace.REQUESTS`."""
        self._host.sort(key=lambda row: (row.start, row.end, row.kind, row.where))
        return Trace(
            **_by_start(self._tables()), host=_columns("host", self._host),
            requests={c: np.array(requests[c], dtype=t) for c, t in TABLES["requests"].items()},
            tick_hz=self._target.tick_hz, target=self._target.name,
            total_ticks=max(self._last, int(np.max(requests["end"], initial=0))),
            neff_hashes=tuple(neff.identity(p) for p in self.programs), dropped=dict(self._dropped),
            notes=self._notes(),
        )

    def _tables(self) -> dict[str, Table]:
        runs = _columns("runs", self._runs)
        timelines = [self._timelines[run] for run in range(len(self._runs))]
        words, moves = (rows.whole(runs["core"], timelines) for rows in (self._words, self._moves))
        base = self._words.firsts
        op = np.repeat(base - np.array(self._ops, np.int32), np.diff(base, append=len(words["run"])))
        op += words["cause_op"]
        op[words["cause"] == _NONE] = -1
        words["cause_op"] = op
        np.copyto(words["cause_id"], op, where=names_word(words["cause"]))
        moves["op"] += base[moves["run"]]
        return {"runs": runs, "instructions": words, "transfers": moves}

    def _size(self, stage: Stage) -> dict[str, int]:
        """How many rows of each table a run of the stage takes."""
        if id(stage) not in self._sizes:
            streams = stage.streams.values()
            triggers = sum(int(np.count_nonzero(words["opcode"] == _TRIGGER)) for words in streams)
            self._sizes[id(stage)] = {"runs": 1, "instructions": sum(map(len, streams)), "transfers": triggers}
        return self._sizes[id(stage)]

    def _fits(self, rows: Mapping[str, int]) -> bool:
        """Whether the rows may be kept; the first that may not be closes the trace."""
        if self._dropped or sum(rows.values()) > self._left:
            self._dropped.update(rows)
            return False
        self._left -= sum(rows.values())
        return True

    def _notes(self) -> tuple[str, ...]:
        if not self._dropped:
            return ()
        rows = ", ".join(f"{self._dropped[t]} {t}" for t in TABLES if self._dropped[t])
        return (f"the trace ends early: it may have {self._limit} rows, and {rows} more were dropped; "
                "record fewer requests, or allow more rows",)


class _Rows:
    """A table of words or transfers that grows; the rows of each run are filled in when it has ended."""

    def __init__(self, table: str) -> None:
        self.table, self._first = table, [0]
        self._prefix = "transfer_" if table == "transfers" else ""
        self._columns = {name: np.zeros(0, TABLES[table][name]) for name in _MOVING[table]}

    @property
    def firsts(self) -> np.ndarray:
        """The first row of each run, int32."""
        return np.array(self._first[:-1], np.int32)

    def reserve(self, rows: int) -> None:
        """Make room for so many rows in all."""
        kept = self._first[-1]
        for name, old in self._columns.items():
            self._columns[name] = np.empty(rows, old.dtype)
            self._columns[name][:kept] = old[:kept]

    def take(self, rows: int) -> None:
        """So many rows are those of the next run."""
        end = self._first[-1] + rows
        if end > len(self._columns["start"]):
            self.reserve(2 * end)
        self._first.append(end)

    def fill(self, run: int, timeline: Timeline, late: int) -> None:
        """Keep what this run alone has; times are `late` later."""
        rows = slice(self._first[run], self._first[run + 1])
        for name, column in self._columns.items():
            column[rows] = getattr(timeline, self._prefix + name)
            if late and name in _TIMES:
                column[rows] += late

    def whole(self, cores: np.ndarray, timelines: Sequence[Timeline]) -> Table:
        """All rows. Args: the core and the timeline of each run."""
        counts = np.diff(self._first)
        table = {name: column[:self._first[-1]] for name, column in self._columns.items()}
        table["run"] = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        table["core"] = np.repeat(cores, counts)
        for name, dtype in TABLES[self.table].items():
            if name not in table:
                parts = [getattr(t, self._prefix + name.removeprefix("trigger_")) for t in timelines]
                table[name] = np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype, copy=False)
        return {name: table[name] for name in TABLES[self.table]}


def _by_start(tables: dict[str, Table]) -> dict[str, Table]:
    """The tables with runs, and the rows of each, in order of their start: models that switch may begin later."""
    runs = tables["runs"]
    if (np.diff(runs["start"]) >= 0).all():
        return tables
    order = np.argsort(runs["start"], kind="stable")
    run = _inverse(order)
    rows = {name: np.argsort(run[tables[name]["run"]], kind="stable") for name in ("instructions", "transfers")}
    op = _inverse(rows["instructions"])
    words, moves = ({c: a[rows[name]] for c, a in tables[name].items()} for name in rows)
    for table in (words, moves):
        table["run"] = run[table["run"]]
    moves["op"], words["cause_op"] = op[moves["op"]], renamed(words["cause_op"], op)
    words["cause_id"] = np.where(names_word(words["cause"]), words["cause_op"], words["cause_id"])
    return {"runs": {c: a[order] for c, a in runs.items()}, "instructions": words, "transfers": moves}


def _inverse(order: np.ndarray) -> np.ndarray:
    """Where each row goes: int32."""
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return place


def _columns(table: str, rows: Sequence[NamedTuple]) -> Table:
    """Rows as columns."""
    if not rows:
        return empty(table)
    names = rows[0]._fields
    return {c: np.array([row[names.index(c)] for row in rows], dtype=t) for c, t in TABLES[table].items()}
