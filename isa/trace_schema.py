"""The schema of traces: tables, columns, what their numbers stand for, and what every trace obeys (docs/trace.md)."""
from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from itertools import pairwise

import numpy as np

from isa.errors import IsaError

SCHEMA_VERSION = 2
Table = dict[str, np.ndarray]


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


class RunWait(IntEnum):
    """What a core waited for before a run: the constraint met last (`wait_for` column).

    Every run also waits one semaphore latency for its signal; where `wait` is no more than that, it is NONE.
    """

    NONE = 0  # the core went on at once
    INPUT = 1  # its input: the stage before, the host link or a CPU segment had not finished
    ROOM = 2  # a free buffer behind it: the stage after, or the host link, had not emptied one
    WORK = 3  # a request: that of this run arrived when the core had already been idle
    SWITCH = 4  # another model was on the core; bringing this one took longer than anything else


class HostKind(IntEnum):
    """What of the host was occupied (`kind` column)."""

    LINK_IN = 0
    LINK_OUT = 1
    CPU = 2


RUNS: Mapping[str, str] = {
    "stage": "<i4",  # index in the model's program
    "model": "<i4",  # index of the loaded model
    "copy": "<i4",  # of the model
    "core": "<i4",  # of the instance
    "request": "<i4",  # row of `requests`
    "start": "<i8",
    "end": "<i8",  # last retirement or end of a transfer
    "switch": "<i8",  # of `wait`: to bring the model onto the core in place of another
    "wait": "<i8",  # from the end of the core's run before, or from 0, to the start
    "wait_for": "|u1",  # RunWait
}
INSTRUCTIONS: Mapping[str, str] = {
    "run": "<i4",
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
    "run": "<i4",
    "core": "<i4",
    "trigger_engine": "|u1",
    "trigger_index": "<i4",
    "op": "<i4",  # op id of the dma_trigger
    "queue": "|u1",
    "enqueue": "<i8",
    "start": "<i8",  # first share served
    "end": "<i8",  # last share done
    "bytes": "<i8",
    "read": "<i8",  # of DRAM, in bytes
    "written": "<i8",
    "link_bytes": "<i8",  # that went to another chip, each once however many links they crossed
    "dram_wait": "<i8",  # ticks that shares took beyond their service because DRAM was taken; most of any DMA engine
    "link_wait": "<i8",  # the same where a link was through last
    "debug": "<u4",  # of the first descriptor
}
HOST: Mapping[str, str] = {
    "model": "<i4",
    "request": "<i4",
    "kind": "|u1",  # HostKind
    "where": "<i4",  # chip of a link; 0
    "node": "<i4",  # index of the program's node
    "start": "<i8",
    "end": "<i8",
}
REQUESTS: Mapping[str, str] = {
    "model": "<i4",
    "arrival": "<i8",
    "start": "<i8",  # first thing done for it
    "end": "<i8",
    "rows": "<i4",  # along dimension 0
}
TABLES: Mapping[str, Mapping[str, str]] = {
    "runs": RUNS, "instructions": INSTRUCTIONS, "transfers": TRANSFERS, "host": HOST, "requests": REQUESTS}
# columns that name a row of a table; -1 where there is none
ROW_NAMES: Mapping[str, Mapping[str, str]] = {
    "runs": {"request": "requests"}, "instructions": {"run": "runs", "cause_op": "instructions"},
    "transfers": {"run": "runs", "op": "instructions"}, "host": {"request": "requests"}, "requests": {}}
_PORT, _PE_SLOT = int(Cause.PORT), int(Cause.PE_SLOT)
_KINDS: tuple[tuple[str, type[IntEnum]], ...] = (("cause", Cause), ("wait_for", RunWait), ("kind", HostKind))


class TraceError(IsaError):
    """A trace that cannot be used; `code` is TRACE_VERSION, TRACE_CORRUPT, TRACE_MISSING or TRACE_NEFF."""

    code = "TRACE"


def check(tables: Mapping[str, Table], total_ticks: int) -> None:
    """Raises: TraceError (TRACE_CORRUPT) for columns that break the schema or rows that name no row."""
    for name, schema in TABLES.items():
        _check_columns(name, tables[name], schema)
    for name, table in tables.items():
        for column, other in ROW_NAMES[name].items():
            _within(name, column, table[column], -1 if column == "cause_op" else 0, len(tables[other]["start"]) - 1)
        for column, kinds in _KINDS:
            if column in table:
                _within(name, column, table[column], 0, len(kinds) - 1)
        _check_times(name, table)
        if name != "requests" and int(table["end"].max(initial=0)) > total_ticks:
            raise corrupt(f"{name}: a row ends after the last tick", total_ticks, int(table["end"].max()))


def _check_times(name: str, table: Table) -> None:
    times = [c for c in ("arrival", "start", "end") if c in table]
    for before, after in pairwise(times):
        if (table[before] > table[after]).any():
            raise corrupt(f"{name}: a row ends before it begins")
    if "run" in table and (np.diff(table["run"]) < 0).any():
        raise corrupt(f"{name}: the rows of a run do not stand together")


def empty(table: str) -> Table:
    """The columns of a table without rows."""
    return {c: np.zeros(0, t) for c, t in TABLES[table].items()}


def names_word(cause: np.ndarray) -> np.ndarray:
    """Whether `cause_id` is an op id, by row."""
    return (cause >= _PORT) & (cause <= _PE_SLOT)


def renamed(rows: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The new numbers of rows, -1 where there is none."""
    if not len(new):
        return rows
    return np.where(rows >= 0, new[rows], rows).astype(rows.dtype, copy=False)


def _check_columns(name: str, table: Mapping[str, np.ndarray], schema: Mapping[str, str]) -> None:
    if set(table) != set(schema):
        raise corrupt(f"{name}: columns differ from the schema", sorted(schema), sorted(table))
    rows = {a.shape for a in table.values()}
    if len(rows) != 1 or len(next(iter(rows))) != 1:
        raise corrupt(f"{name}: columns of different lengths", actual=sorted(rows))
    for column, dtype in schema.items():
        if table[column].dtype != np.dtype(dtype):
            raise corrupt(f"{name}.{column}: wrong type", dtype, table[column].dtype.str)


def _within(table: str, column: str, values: np.ndarray, least: int, most: int) -> None:
    if len(values) and not (least <= int(values.min()) and int(values.max()) <= most):
        raise corrupt(f"{table}.{column}: out of range", f"{least}..{most}",
                       f"{int(values.min())}..{int(values.max())}")


def corrupt(what: str, limit: object = None, actual: object = None) -> TraceError:
    """The error for a trace that breaks the schema."""
    return TraceError(what, code="TRACE_CORRUPT", limit=limit, actual=actual,
                      help="record it again with `neuronsim profile`")
