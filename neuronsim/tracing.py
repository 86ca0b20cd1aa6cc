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
from isa.word import ENGINES
from neuronsim.timeline import Timeline, rows_of

MAX_ROWS = 4_000_000  # about 300 MB
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
        self._runs: list[tuple[RunRow, Timeline, Stage]] = []
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
            self._runs.append((row, timeline(), stage))

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
            runs=_columns("runs", [row for row, _, _ in self._runs]), host=_columns("host", self._host),
            requests={c: np.array(requests[c], dtype=t) for c, t in TABLES["requests"].items()},
            instructions=self._words(), transfers=self._moves(), tick_hz=self._target.tick_hz,
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

    def _words(self) -> Table:
        constant = {id(stage): _Words.of(stage) for _, _, stage in self._runs}
        parts: list[Table] = []
        base = 0
        for number, (row, t, stage) in enumerate(self._runs):
            parts.append({
                "run": np.full(len(t.start), number), "core": np.full(len(t.start), row.core), "engine": t.engine,
                "index": t.index, "debug": constant[id(stage)].debug, "opcode": constant[id(stage)].opcode,
                "start": t.start + row.start, "end": t.end + row.start, "retire": t.retire + row.start,
                "wait_start": t.wait_start + row.start, "cause": t.cause,
                "cause_id": np.where(names_word(t.cause), t.cause_id + np.int32(base), t.cause_id),
                "cause_op": np.where(t.cause != Cause.NONE, t.cause_op + np.int32(base), t.cause_op),
            })
            base += len(t.start)
        return _joined("instructions", parts)

    def _moves(self) -> Table:
        constant = {id(stage): _first_debug(stage, t) for _, t, stage in self._runs}
        parts: list[Table] = []
        base = 0
        for number, (row, t, stage) in enumerate(self._runs):
            count = len(t.transfer_op)
            parts.append({
                "run": np.full(count, number), "core": np.full(count, row.core),
                "trigger_engine": t.engine[t.transfer_op], "trigger_index": t.index[t.transfer_op],
                "op": t.transfer_op + base, "queue": t.transfer_queue, "enqueue": t.transfer_enqueue + row.start,
                "start": t.transfer_start + row.start, "end": t.transfer_end + row.start, "bytes": t.transfer_bytes,
                "read": t.transfer_read, "written": t.transfer_written, "link_bytes": t.transfer_link_bytes,
                "dram_wait": t.transfer_dram_wait, "link_wait": t.transfer_link_wait, "debug": constant[id(stage)],
            })
            base += len(t.start)
        return _joined("transfers", parts)


def _rows(stage: Stage) -> dict[str, int]:
    """How many rows of each table a run of the stage takes."""
    streams = stage.streams.values()
    triggers = sum(int(np.count_nonzero(words["opcode"] == _TRIGGER)) for words in streams)
    return {"runs": 1, "instructions": sum(map(len, streams)), "transfers": triggers}


class _Words(NamedTuple):
    """What all runs of a stage have in common, by op id."""

    debug: np.ndarray
    opcode: np.ndarray

    @classmethod
    def of(cls, stage: Stage) -> _Words:
        streams = [stage.stream(e) for e in ENGINES]
        return cls(np.concatenate([s["debug"] for s in streams]), np.concatenate([s["opcode"] for s in streams]))


def _first_debug(stage: Stage, timeline: Timeline) -> np.ndarray:
    """Debug row of each transfer's first descriptor; of the trigger where it has none: [x] uint32."""
    trigger = rows_of([stage.stream(e) for e in ENGINES], timeline.transfer_op)
    debug = trigger["debug"].copy()
    some = np.flatnonzero(trigger["count"])
    debug[some] = stage.descriptors["debug"][trigger["arg"][some]]
    return debug


def _columns(table: str, rows: Sequence[NamedTuple]) -> Table:
    """Rows as columns."""
    if not rows:
        return empty(table)
    names = rows[0]._fields
    return {c: np.array([row[names.index(c)] for row in rows], dtype=t) for c, t in TABLES[table].items()}


def _joined(table: str, parts: list[Table]) -> Table:
    """The parts one after the other, each column in the type of the schema."""
    if not parts:
        return empty(table)
    return {c: np.concatenate([part.pop(c) for part in parts]).astype(t, copy=False)
            for c, t in TABLES[table].items()}
