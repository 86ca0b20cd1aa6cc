"""The trace: what happened when, as versioned columns. Written by the simulator, read by the profiler.

All times are integer ticks of `1 / tick_hz` seconds on one clock that starts at 0: runs of several cores and requests
overlap as they did. A row of a table is named by its number: `run` is a row of `runs`, `request` a row of `requests`,
an op id a row of `instructions`. The rows of one run stand together, words in engine order, runs by their start. The
schema below is the file format: one npz member per column, loaded without pickle (docs/trace.md).
"""
from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from isa.program import Program
from isa.trace_schema import (
    HOST,
    INSTRUCTIONS,
    REQUESTS,
    ROW_NAMES,
    RUNS,
    SCHEMA_VERSION,
    TABLES,
    TRANSFERS,
    Cause,
    HostKind,
    RunWait,
    Table,
    TraceError,
    check,
    corrupt,
    empty,
    names_word,
    renamed,
)

__all__ = ["HOST", "INSTRUCTIONS", "REQUESTS", "RUNS", "SCHEMA_VERSION", "TABLES", "TRANSFERS", "Cause", "HostKind",
           "RunWait", "Table", "Trace", "TraceError", "empty", "load", "names_word", "renamed"]

_SCALARS: Mapping[str, tuple[str, int]] = {  # kinds of dtype, dimensions
    "schema_version": ("iu", 0), "tick_hz": ("iu", 0), "total_ticks": ("iu", 0), "target": ("U", 0),
    "neff_hashes": ("U", 1), "dropped": ("iu", 1), "notes": ("U", 1)}
# what zipfile, zlib and numpy raise for damaged bytes (RuntimeError includes NotImplementedError: compression methods)
_DAMAGE = (OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, RuntimeError, SyntaxError, MemoryError,
           OverflowError, IndexError, struct.error, zlib.error, zipfile.BadZipFile)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What happened on an instance from tick 0 on.

    Attributes:
        runs, instructions, transfers, host, requests: column name -> [n] array, as `RUNS` and so on.
        tick_hz: ticks per second.
        target: target name.
        total_ticks: end of the last row, of dropped ones too.
        neff_hashes: of each model, as `isa.neff.identity` tells.
        dropped: rows of each table that were not kept; {} when all were.
        notes: for the reader, among them what was dropped.
    """

    instructions: Table
    transfers: Table
    runs: Table
    tick_hz: int
    target: str
    total_ticks: int
    host: Table = field(default_factory=lambda: empty("host"))
    requests: Table = field(default_factory=lambda: empty("requests"))
    neff_hashes: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises: TraceError (TRACE_CORRUPT) for columns that break the schema or rows that name no row."""
        check({name: getattr(self, name) for name in TABLES}, self.total_ticks)

    # ---- rows
    def words(self, run: int) -> slice:
        """Rows of `instructions` that belong to a run."""
        return _part(self.instructions["run"], run)

    def moves(self, run: int) -> slice:
        """Rows of `transfers` that belong to a run."""
        return _part(self.transfers["run"], run)

    @property
    def models(self) -> int:
        """How many models took part."""
        most = max((int(t["model"].max(initial=-1)) for t in (self.runs, self.host, self.requests)), default=-1)
        return max(len(self.neff_hashes), most + 1)

    def of(self, model: int) -> Trace:
        """The rows of one model, on the same clock, as the trace of model 0."""
        kept = {name: getattr(self, name)["model"] == model for name in ("runs", "host", "requests")}
        kept |= {name: kept["runs"][getattr(self, name)["run"]] for name in ("instructions", "transfers")}
        new = {name: np.cumsum(rows, dtype=np.int32) - np.int32(1) for name, rows in kept.items()}
        tables = {name: {c: a[kept[name]] for c, a in getattr(self, name).items()} for name in TABLES}
        for name, references in ROW_NAMES.items():
            for column, table in references.items():
                tables[name][column] = renamed(tables[name][column], new[table])
        words = tables["instructions"]
        words["cause_id"] = np.where(names_word(words["cause"]), words["cause_op"], words["cause_id"])
        for name in ("runs", "host", "requests"):
            tables[name]["model"] = np.zeros_like(tables[name]["model"])
        hashes = self.neff_hashes[model:model + 1]
        return Trace(**tables, tick_hz=self.tick_hz, target=self.target, total_ticks=self.total_ticks,
                     neff_hashes=hashes, dropped=self.dropped, notes=self.notes)

    def check(self, programs: Sequence[Program]) -> None:
        """Raises: TraceError (TRACE_NEFF) unless the trace is of these programs, in this order."""
        from isa.neff import identity

        found = tuple(identity(p) for p in programs)
        if found == self.neff_hashes:
            return
        if len(found) != len(self.neff_hashes):
            raise TraceError("the trace is of another number of models", code="TRACE_NEFF",
                             limit=len(self.neff_hashes), actual=len(found), help="give the NEFFs it was recorded with")
        model = next(k for k, (a, b) in enumerate(zip(found, self.neff_hashes, strict=True)) if a != b)
        raise TraceError("the trace is of another NEFF", code="TRACE_NEFF",
                         where=f"model {model}, {programs[model].name}", limit=self.neff_hashes[model],
                         actual=found[model],
                         help="give the NEFF it was recorded with, or record it again with `neuronsim profile`")

    # ---- files
    def save(self, path: str | Path) -> None:
        """Write an uncompressed npz file at exactly that path; the same trace always gives the same bytes."""
        with open(path, "wb") as file:
            self.write(file)

    def write(self, file: IO[bytes]) -> None:
        """The bytes of `save`, to a binary stream."""
        members = {f"{t}.{c}": a for t in TABLES for c, a in getattr(self, t).items()}
        scalars = {"schema_version": SCHEMA_VERSION, "tick_hz": self.tick_hz, "target": self.target,
                   "total_ticks": self.total_ticks, "neff_hashes": _texts(self.neff_hashes),
                   "dropped": np.array([self.dropped.get(t, 0) for t in TABLES], np.int64), "notes": _texts(self.notes)}
        np.savez(file, **scalars, **members)  # type: ignore[arg-type]


def load(path: str | Path) -> Trace:
    """Read a trace file. Raises: TraceError for a missing, truncated or foreign file, or another schema version."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            members = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise TraceError("no such trace file", code="TRACE_MISSING", where=str(path)) from error
    except _DAMAGE as error:
        raise TraceError(f"not a complete trace file: {error}", code="TRACE_CORRUPT", where=str(path),
                         help="record it again with `neuronsim profile`") from error
    try:
        return _from_members(members)
    except TraceError as error:
        raise TraceError(error.what, code=error.code, where=str(path), limit=error.limit, actual=error.actual,
                         help=error.help) from error


def _from_members(members: Mapping[str, np.ndarray]) -> Trace:
    scalars = {name: _scalar(members, name, *shape) for name, shape in _SCALARS.items()}
    tables: dict[str, Table] = {}
    for table, schema in TABLES.items():
        absent = [c for c in schema if f"{table}.{c}" not in members]
        if absent:
            raise corrupt(f"{table}: missing columns {', '.join(absent)}")
        tables[table] = {c: members[f"{table}.{c}"] for c in schema}
    if len(scalars["dropped"]) != len(TABLES):
        raise corrupt("dropped: one number for each table")
    dropped = {t: int(n) for t, n in zip(TABLES, scalars["dropped"], strict=True) if n}
    return Trace(**tables, tick_hz=int(scalars["tick_hz"]), target=str(scalars["target"]),
                 total_ticks=int(scalars["total_ticks"]), neff_hashes=tuple(scalars["neff_hashes"].tolist()),
                 dropped=dropped, notes=tuple(scalars["notes"].tolist()))


def _scalar(members: Mapping[str, np.ndarray], name: str, kinds: str, dimensions: int) -> np.ndarray:
    value = members.get(name)
    if value is None or value.ndim != dimensions or value.dtype.kind not in kinds:
        raise corrupt(f"not a trace file: {name} missing")
    if name == "schema_version" and int(value) != SCHEMA_VERSION:
        raise TraceError("trace of another schema version", code="TRACE_VERSION", limit=SCHEMA_VERSION,
                         actual=int(value), help="record it again with this version")
    return value


def _part(runs: np.ndarray, run: int) -> slice:
    first, last = np.searchsorted(runs, [run, run + 1])
    return slice(int(first), int(last))


def _texts(texts: Sequence[str]) -> np.ndarray:
    return np.array(list(texts), dtype=np.str_)
