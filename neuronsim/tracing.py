"""Collects what a simulation did, run by run, and makes the trace of it.

Bounded: where the rows of a run would pass `max_rows`, this run and all later ones are left out, counted and announced.
Not responsible for when anything happens, nor for the schema (`isa/trace_schema.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from isa import neff
from isa.program import Program, Stage
from isa.spec import SPEC
from isa.target import Target
from isa.trace import TABLES, Cause, HostKind, RunWait, Table, Trace, empty, names_word
from neuronsim.timeline import Timeline

MAX_ROWS = 4_000_000  # about 300 MB
_TIMES = ("start", "end", "retire", "wait_start", "enqueue")  # of words and transfers
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
    """Rows of a simulation of these programs, in any order; at most `max_rows` of them, requests not counted."""

    def __init__(self, programs: Sequence[Program], target: Target, max_rows: int = MAX_ROWS) -> None:
        self.programs, self._target = programs, target
        self._limit = self._left = max_rows
        self._runs: list[tuple[RunRow, Timeline]] = []
        self._host: list[HostRow] = []
        self._dropped: Counter[str] = Counter()
        self._sizes: dict[int, dict[str, int]] = {}
        self._last = 0

    def run(self, row: RunRow, stage: Stage, timeline: Callable[[], Timeline]) -> None:
        """A run of a stage that has ended; its timeline is asked for only if there is room."""
        self._last = max(self._last, row.end)
        if id(stage) not in self._sizes:
            self._sizes[id(stage)] = _rows(stage)
        if self._fits(self._sizes[id(stage)]):
            self._runs.append((row, timeline()))

    def host(self, row: HostRow) -> None:
        """Something that the host did."""
        self._last = max(self._last, row.end)
        if self._fits({"host": 1}):
            self._host.append(row)

    def trace(self, requests: Mapping[str, Sequence[int] | np.ndarray]) -> Trace:
        """All of it. `requests`: columns as `isa.trace.REQUESTS`."""
        self._runs.sort(key=lambda run: (run[0].start, run[0].core, run[0].end))
        self._host.sort(key=lambda row: (row.start, row.end, row.kind, row.where))
        return Trace(
            runs=_columns("runs", [row for row, _ in self._runs]), host=_columns("host", self._host),
            requests={c: np.array(requests[c], dtype=t) for c, t in TABLES["requests"].items()},
            **_timed(self._runs), tick_hz=self._target.tick_hz,
            target=self._target.name, total_ticks=max(self._last, int(np.max(requests["end"], initial=0))),
            neff_hashes=tuple(neff.identity(p) for p in self.programs), dropped=dict(self._dropped),
            notes=self._notes(),
        )

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


def _rows(stage: Stage) -> dict[str, int]:
    """How many rows of each table a run of the stage takes."""
    streams = stage.streams.values()
    triggers = sum(int(np.count_nonzero(words["opcode"] == _TRIGGER)) for words in streams)
    return {"runs": 1, "instructions": sum(map(len, streams)), "transfers": triggers}


def _timed(runs: Sequence[tuple[RunRow, Timeline]]) -> dict[str, Table]:
    """The tables of words and transfers of these runs, one after the other."""
    words = np.array([len(t.start) for _, t in runs], dtype=np.int64)
    moves = np.array([len(t.transfer_op) for _, t in runs], dtype=np.int64)
    base = (np.cumsum(words) - words).astype(np.int32)
    return {"instructions": _instructions(runs, words, np.repeat(base, words)),
            "transfers": _transfers(runs, moves, np.repeat(base, moves))}


def _instructions(runs: Sequence[tuple[RunRow, Timeline]], counts: np.ndarray, base: np.ndarray) -> Table:
    """Args: counts: words of each run; base: op id of its run's first word, by row."""
    columns = _of_runs("instructions", "", runs, counts)
    base = np.where(columns["cause"] == Cause.NONE, np.int32(0), base)
    columns["cause_op"] += base
    columns["cause_id"] += np.where(names_word(columns["cause"]), base, np.int32(0))
    return columns


def _transfers(runs: Sequence[tuple[RunRow, Timeline]], counts: np.ndarray, base: np.ndarray) -> Table:
    """Args: as `_instructions`, of transfers."""
    columns = _of_runs("transfers", "transfer_", runs, counts)
    columns["op"] += base
    return columns


def _of_runs(table: str, prefix: str, runs: Sequence[tuple[RunRow, Timeline]], counts: np.ndarray) -> Table:
    """A table with the timelines' columns, which have this prefix; times are those of the whole, op ids of each run."""
    columns = {"run": np.repeat(np.arange(len(runs), dtype=np.int32), counts),
               "core": np.repeat(np.array([row.core for row, _ in runs], dtype=np.int32), counts)}
    began = np.repeat(np.array([row.start for row, _ in runs], dtype=np.int64), counts)
    for column, dtype in TABLES[table].items():
        if column not in columns:
            parts = [getattr(t, prefix + column.removeprefix("trigger_")) for _, t in runs]
            columns[column] = np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype, copy=False)
        if column in _TIMES:
            columns[column] += began
    return {column: columns[column] for column in TABLES[table]}


def _columns(table: str, rows: Sequence[NamedTuple]) -> Table:
    """Rows as columns."""
    if not rows:
        return empty(table)
    names = rows[0]._fields
    return {c: np.array([row[names.index(c)] for row in rows], dtype=t) for c, t in TABLES[table].items()}
