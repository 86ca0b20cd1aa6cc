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
_TIMES = ("start", "end", "retire", "wait_start", "enqueue")  # of words and transfers
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
        self._first: list[tuple[int, int]] = []  # rows of words and transfers at which each run begins
        self._words, self._moves = _Rows("instructions"), _Rows("transfers")
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
        self._runs.append(row)
        self._first.append((self._words.take(size["instructions"]), self._moves.take(size["transfers"])))
        return len(self._runs) - 1

    def end(self, run: int | None, tick: int, timeline: Timeline, late: int, first: int) -> None:
        """That run has ended.

        Args:
            timeline: its ticks are `late` behind those of the whole, its op ids begin at `first`. It is copied.
        """
        self._last = max(self._last, tick)
        if run is None:
            return
        row = self._runs[run] = self._runs[run]._replace(end=tick)
        word, move = self._first[run]
        base = np.int32(word - first)
        words = self._words.fill(word, len(timeline.start), timeline, late, run, row.core)
        words["cause_op"] += base
        words["cause_op"][words["cause"] == _NONE] = -1
        np.copyto(words["cause_id"], words["cause_op"], where=names_word(words["cause"]))
        moves = self._moves.fill(move, len(timeline.transfer_op), timeline, late, run, row.core)
        moves["op"] += np.int32(word)

    def host(self, row: HostRow) -> None:
        """Something that the host did."""
        self._last = max(self._last, row.end)
        if self._fits({"host": 1}):
            self._host.append(row)

    def trace(self, requests: Mapping[str, Sequence[int] | np.ndarray]) -> Trace:
        """All of it, when every run has ended. `requests`: columns as `isa.trace.REQUESTS`."""
        self._host.sort(key=lambda row: (row.start, row.end, row.kind, row.where))
        tables = {"runs": _columns("runs", self._runs), "instructions": self._words.whole(),
                  "transfers": self._moves.whole()}
        return Trace(
            **_by_start(tables), host=_columns("host", self._host),
            requests={c: np.array(requests[c], dtype=t) for c, t in TABLES["requests"].items()},
            tick_hz=self._target.tick_hz, target=self._target.name,
            total_ticks=max(self._last, int(np.max(requests["end"], initial=0))),
            neff_hashes=tuple(neff.identity(p) for p in self.programs), dropped=dict(self._dropped),
            notes=self._notes(),
        )

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
        self.table, self._count, self._columns = table, 0, empty(table)
        prefix = "transfer_" if table == "transfers" else ""
        self._copied = [(c, prefix + c.removeprefix("trigger_")) for c in self._columns if c not in ("run", "core")]
        self._times = [c for c in _TIMES if c in self._columns]

    def reserve(self, rows: int) -> None:
        """Make room for so many rows in all."""
        for column, old in self._columns.items():
            self._columns[column] = np.empty(rows, old.dtype)
            self._columns[column][:self._count] = old[:self._count]

    def take(self, rows: int) -> int:
        """The first of so many new rows."""
        first = self._count
        if first + rows > len(self._columns["run"]):
            self.reserve(2 * (first + rows))
        self._count += rows
        return first

    def fill(self, first: int, count: int, timeline: Timeline, late: int, run: int, core: int) -> Table:
        """The rows of a run, with the timeline's columns, times `late` later."""
        rows = {name: column[first:first + count] for name, column in self._columns.items()}
        rows["run"][:], rows["core"][:] = run, core
        for name, attribute in self._copied:
            rows[name][:] = getattr(timeline, attribute)
        if late:
            for name in self._times:
                rows[name] += late
        return rows

    def whole(self) -> Table:
        """All rows."""
        return {name: column[:self._count] for name, column in self._columns.items()}


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
