"""The trace: what happened when, as versioned columns. Written by the machine, read by the profiler.

Times are integer ticks of `1 / tick_hz` seconds. Row i of `instructions` is op id i: words of all streams in engine
order. The schema below is the file format: one npz member per column, loaded without pickle.
"""
from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np

from isa.errors import IsaError

SCHEMA_VERSION = 1


class Cause(IntEnum):
    """Why a word started later than its engine was ready: the constraint met last (`cause` column).

    `cause_id` is the semaphore for SEMAPHORE and DMA, else the op id of the word waited for; -1 for NONE. `cause_op` is
    the op id of the word, or of the transfer's dma_trigger, that ended the wait.
    """

    NONE = 0
    SEMAPHORE = 1  # posted by another word
    PORT = 2  # exclusive SBUF or PSUM port held by another engine's word
    RAW = 3  # result of an earlier word of the same engine
    PE_SLOT = 4  # matmul: its stationary matrix was still being loaded
    DMA = 5  # semaphore posted by a DMA transfer


INSTRUCTIONS: Mapping[str, str] = {
    "core": "<i4",
    "engine": "|u1",  # index in isa.word.ENGINES
    "index": "<i4",  # position in the engine's stream
    "debug": "<u4",  # row of the stage's debug table
    "opcode": "|u1",
    "start": "<i8",
    "end": "<i8",  # result written
    "retire": "<i8",  # in order; the post is seen one semaphore latency later
    "wait_start": "<i8",  # when the engine was ready to issue it
    "cause": "|u1",  # Cause
    "cause_id": "<i4",
    "cause_op": "<i4",
}
TRANSFERS: Mapping[str, str] = {
    "core": "<i4",
    "trigger_engine": "|u1",
    "trigger_index": "<i4",
    "op": "<i4",  # op id of the dma_trigger
    "queue": "|u1",
    "enqueue": "<i8",
    "start": "<i8",  # first share served
    "end": "<i8",  # last share done
    "bytes": "<i8",
    "debug": "<u4",  # of the first descriptor
}
_TABLES: Mapping[str, Mapping[str, str]] = {"instructions": INSTRUCTIONS, "transfers": TRANSFERS}
_SCALARS: Mapping[str, str] = {"schema_version": "iu", "tick_hz": "iu", "total_ticks": "iu", "target": "U"}
# what zipfile, zlib and numpy raise for damaged bytes (RuntimeError includes NotImplementedError: compression methods)
_DAMAGE = (OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, RuntimeError, SyntaxError, MemoryError,
           OverflowError, IndexError, struct.error, zlib.error, zipfile.BadZipFile)


class TraceError(IsaError):
    """A trace file that cannot be used; `code` is TRACE_VERSION, TRACE_CORRUPT or TRACE_MISSING."""

    code = "TRACE"


@dataclass(frozen=True)
class Trace:
    """Columns of one run.

    Attributes:
        instructions: column name -> [n] array, as `INSTRUCTIONS`.
        transfers: column name -> [x] array, as `TRANSFERS`.
        tick_hz: ticks per second.
        target: target name.
        total_ticks: end of the last word or transfer.
    """

    instructions: dict[str, np.ndarray]
    transfers: dict[str, np.ndarray]
    tick_hz: int
    target: str
    total_ticks: int

    def __post_init__(self) -> None:
        for name, schema in _TABLES.items():
            _check_table(name, getattr(self, name), schema)

    @classmethod
    def join(
        cls, traces: Sequence[Trace], cores: Sequence[int] | None = None, waits: Sequence[int] | None = None
    ) -> Trace:
        """Put traces one after the other on one clock, op ids counted on.

        Args:
            traces: in order of time.
            cores: what their `core` columns get; default: their numbers.
            waits: ticks that pass before each; default: none.
        Raises: TraceError when there is none, or when clocks differ.
        """
        if not traces:
            raise TraceError("no trace to join")
        if len({t.tick_hz for t in traces}) > 1:
            raise TraceError("traces of different clocks", actual=sorted({t.tick_hz for t in traces}))
        tick = op = 0
        parts: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in _TABLES}
        numbers = range(len(traces)) if cores is None else cores
        for trace, core, wait in zip(traces, numbers, waits or [0] * len(traces), strict=True):
            tick += wait
            for name in _TABLES:
                parts[name].append(_moved(getattr(trace, name), tick, op, core))
            tick += trace.total_ticks
            op += len(trace.instructions["start"])
        tables = {
            name: {c: np.concatenate([p[c] for p in parts[name]]) for c in schema} for name, schema in _TABLES.items()
        }
        return cls(tables["instructions"], tables["transfers"], traces[0].tick_hz, traces[0].target, tick)

    def save(self, path: str | Path) -> None:
        """Write an uncompressed npz file at exactly that path."""
        members = {f"{t}.{c}": a for t in _TABLES for c, a in getattr(self, t).items()}
        scalars = {"schema_version": SCHEMA_VERSION, "tick_hz": self.tick_hz, "target": self.target,
                   "total_ticks": self.total_ticks}
        with open(path, "wb") as file:
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
    return _from_members(members, str(path))


def _from_members(members: Mapping[str, np.ndarray], where: str) -> Trace:
    scalars = {name: _scalar(members, name, kinds, where) for name, kinds in _SCALARS.items()}
    tables: dict[str, dict[str, np.ndarray]] = {}
    for table, schema in _TABLES.items():
        absent = [c for c in schema if f"{table}.{c}" not in members]
        if absent:
            raise TraceError(f"{table}: missing columns {', '.join(absent)}", code="TRACE_CORRUPT", where=where)
        tables[table] = {c: members[f"{table}.{c}"] for c in schema}
    return Trace(tables["instructions"], tables["transfers"], int(scalars["tick_hz"]), str(scalars["target"]),
                 int(scalars["total_ticks"]))


def _scalar(members: Mapping[str, np.ndarray], name: str, kinds: str, where: str) -> np.ndarray:
    value = members.get(name)
    if value is None or value.ndim != 0 or value.dtype.kind not in kinds:
        raise TraceError(f"not a trace file: {name} missing", code="TRACE_CORRUPT", where=where)
    if name == "schema_version" and int(value) != SCHEMA_VERSION:
        raise TraceError("trace of another schema version", code="TRACE_VERSION", where=where, limit=SCHEMA_VERSION,
                         actual=int(value), help="record it again with this version")
    return value


def _check_table(name: str, table: Mapping[str, np.ndarray], schema: Mapping[str, str]) -> None:
    if set(table) != set(schema):
        raise TraceError(f"{name}: columns differ from the schema", code="TRACE_CORRUPT", limit=sorted(schema),
                         actual=sorted(table))
    rows = {a.shape for a in table.values()}
    if len(rows) != 1 or len(next(iter(rows))) != 1:
        raise TraceError(f"{name}: columns of different lengths", code="TRACE_CORRUPT", actual=sorted(rows))
    for column, dtype in schema.items():
        if table[column].dtype != np.dtype(dtype):
            raise TraceError(f"{name}.{column}: wrong type", code="TRACE_CORRUPT", limit=dtype,
                             actual=table[column].dtype.str)


def _moved(table: Mapping[str, np.ndarray], tick: int, op: int, core: int) -> dict[str, np.ndarray]:
    """The table `tick` later, with op ids counted on by `op`, as core number `core`."""
    moved = dict(table)
    for column in ("enqueue", "start", "end", "retire", "wait_start"):
        if column in table:
            moved[column] = table[column] + tick
    for column in ("cause_op", "op"):
        if column in table:
            moved[column] = np.where(table[column] >= 0, table[column] + np.int32(op), table[column])
    if "cause" in table:
        of_word = ~np.isin(table["cause"], (Cause.NONE, Cause.SEMAPHORE, Cause.DMA))
        moved["cause_id"] = np.where(of_word, table["cause_id"] + np.int32(op), table["cause_id"])
    moved["core"] = np.full_like(table["core"], core)
    return moved
