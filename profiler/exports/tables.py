"""The trace as plain tables: a folder of CSV files, or of parquet files with the extra `parquet` (pyarrow).

Tables and columns have the names and units of Neuron Explorer's where it has them (source:
tools/neuron-explorer/profile-schema-reference.rst); columns in ticks are ours and exact. `docs/exports.md` lists all.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isa.program import Program
from isa.target import Target
from isa.trace import HostKind, RunWait, Trace
from isa.word import ENGINES
from profiler.exports.clock import to_ns
from profiler.exports.labels import CAUSES, QUEUE_NAMES, ROWS, Labels, engine_row, opcode_numbers
from profiler.exports.output import ExportError, new_files
from profiler.exports.text import Names

FORMATS = ("csv", "parquet")
CHUNK = 1 << 15  # rows written at a time


@dataclass(frozen=True)
class Text:
    """A column of texts: numbers [n] into `texts`."""

    numbers: np.ndarray
    texts: Sequence[str]


Column = np.ndarray | Text
Columns = dict[str, Column]


def write(
    trace: Trace, programs: Sequence[Program], target: Target, path: str | Path, *, format: str = "csv",
) -> None:
    """Write a file for each table into the folder `path`, which is made if need be.

    Args: format: one of `FORMATS`.
    Raises: ExportError for another format, or for parquet without pyarrow; OSError.
    """
    if format not in FORMATS:
        raise ExportError("no such format of tables", where="format", limit=FORMATS, actual=format)
    put = _put_parquet() if format == "parquet" else _put_csv
    with new_files(path) as folder:
        for name, columns in tables(trace, programs, target):
            put(folder / f"{name}.{format}", columns)


def tables(trace: Trace, programs: Sequence[Program], target: Target) -> Iterator[tuple[str, Columns]]:
    """Name and columns of every table, one at a time."""
    makers = _Tables(trace, Names(), programs, target)
    yield "Instruction", makers.instructions()
    yield "DmaPacketAggregated", makers.transfers()
    yield "Flow", makers.flow()
    yield "Run", makers.runs()
    yield "Host", makers.host()
    yield "Request", makers.requests()
    yield "Metadata", makers.metadata()


class _Tables:
    def __init__(self, trace: Trace, names: Names, programs: Sequence[Program], target: Target) -> None:
        self.trace, self.names, self.programs, self.target = trace, names, programs, target
        self.labels = Labels.of(trace, programs, names)

    def instructions(self) -> Columns:
        t = self.trace.instructions
        moved = {c: np.zeros(len(t["start"]), np.int64) for c in ("bytes", "read", "written")}
        for name, column in moved.items():
            column[self.trace.transfers["op"]] = self.trace.transfers[name]
        return {
            "id": np.arange(len(t["start"])), **self._times(t), "engine": self._texts(t["engine"], ENGINES),
            "timeline_track": self._texts(engine_row(t["engine"], t["opcode"]), ROWS), "pcore_idx": t["core"],
            "opcode": Text(opcode_numbers(self.names)[t["opcode"]], self.names.texts), "pc": t["index"],
            **self._origin(t), "evt_wait_time_ns": self._ns(t["start"] - t["wait_start"]),
            "wait_start_tick": t["wait_start"], "wait_cause": self._texts(t["cause"], CAUSES),
            "wait_cause_id": t["cause_id"], "wait_cause_op": t["cause_op"], "retire_tick": t["retire"],
            "hbm_read_bytes": moved["read"], "hbm_write_bytes": moved["written"], "dma_bytes": moved["bytes"],
        }

    def transfers(self) -> Columns:
        t = self.trace.transfers
        times = self._times(t)
        seconds = np.maximum(t["end"] - t["start"], 1) / self.trace.tick_hz
        queues = [f"{q}{n}" for q in QUEUE_NAMES for n in range(256)]
        label = self.labels.rows(t, slice(None))
        return {
            "id": np.arange(len(t["start"])), **times, "pcore_idx": t["core"],
            "queue_name": self._texts(t["trigger_engine"].astype(np.int64) * 256 + t["queue"], queues),
            "queue_idx": t["queue"], "purpose": Text(self.labels.purpose[label], self.names.texts), **self._origin(t),
            "read_bytes": t["read"], "write_bytes": t["written"], "transfer_bytes": t["bytes"],
            "link_bytes": t["link_bytes"], "throughput": t["bytes"] / seconds, "trigger": t["op"],
            "trigger_engine": self._texts(t["trigger_engine"], ENGINES), "trigger_pc": t["trigger_index"],
            "enqueue_tick": t["enqueue"], "dram_wait_ns": self._ns(t["dram_wait"]),
            "link_wait_ns": self._ns(t["link_wait"]), "dram_wait_ticks": t["dram_wait"],
            "link_wait_ticks": t["link_wait"],
        }

    def flow(self) -> Columns:
        """From the instruction that ended a wait to the one that waited."""
        t = self.trace.instructions
        waits = np.flatnonzero((t["start"] > t["wait_start"]) & (t["cause_op"] >= 0))
        source = t["cause_op"][waits]
        return {"out_id": source, "in_id": waits, "dependency_type": self._texts(t["cause"][waits], CAUSES),
                "gap_time": self._ns(t["start"][waits]) - self._ns(t["end"][source])}

    def runs(self) -> Columns:
        t = self.trace.runs
        return {
            "id": np.arange(len(t["start"])), **self._times(t), "pcore_idx": t["core"],
            "model": self._model(t["model"]), "stage": t["stage"], "copy": t["copy"], "request": t["request"],
            "wait_ns": self._ns(t["wait"]), "switch_ns": self._ns(t["switch"]), "wait_ticks": t["wait"],
            "switch_ticks": t["switch"], "wait_for": self._texts(t["wait_for"], [w.name.lower() for w in RunWait]),
        }

    def host(self) -> Columns:
        t = self.trace.host
        names = [self.programs[m].nodes[n].name for m, n in zip(t["model"].tolist(), t["node"].tolist(), strict=True)]
        return {**self._times(t), "kind": self._texts(t["kind"], [k.name.lower() for k in HostKind]),
                "model": self._model(t["model"]), "request": t["request"], "device": t["where"],
                "node": Text(np.array(self.names.numbers(names), np.int64), self.names.texts)}

    def requests(self) -> Columns:
        t = self.trace.requests
        return {"id": np.arange(len(t["start"])), "arrival_ts": self._ns(t["arrival"]), **self._times(t),
                "arrival_tick": t["arrival"], "model": self._model(t["model"]), "rows": t["rows"]}

    def metadata(self) -> Columns:
        trace = self.trace
        values = {"profile_schema_version": "2", "is_simulation": "true", "instance_type": trace.target,
                  "ticks_per_second": str(trace.tick_hz), "first_ts": "0",
                  "last_ts": str(self._ns(np.array(trace.total_ticks))), "total_ticks": str(trace.total_ticks),
                  "num_physical_cores": str(self.target.cores)}
        values |= {f"dropped_{table}": str(n) for table, n in trace.dropped.items()}
        values |= {f"neff_hash_{k}": text for k, text in enumerate(trace.neff_hashes)}
        values |= {f"note_{k}": text for k, text in enumerate(trace.notes)}
        columns = (np.array(self.names.numbers(c), np.int64) for c in (values.keys(), values.values()))
        return {name: Text(c, self.names.texts) for name, c in zip(("name", "value"), columns, strict=True)}

    # ---- columns
    def _times(self, table: Mapping[str, np.ndarray]) -> Columns:
        start, end = self._ns(table["start"]), self._ns(table["end"])
        return {"start_ts": start, "end_ts": end, "duration_ns": end - start, "start_tick": table["start"],
                "end_tick": table["end"], "duration_ticks": table["end"] - table["start"]}

    def _origin(self, table: Mapping[str, np.ndarray]) -> Columns:
        labels, at, runs = self.labels, self.labels.rows(table, slice(None)), self.trace.runs
        texts = {"layer": labels.layer, "operator": labels.operator, "source": labels.source}
        return {**{name: Text(column[at], self.names.texts) for name, column in texts.items()},
                "model": self._model(runs["model"][table["run"]]), "run": table["run"],
                "stage": runs["stage"][table["run"]], "request": runs["request"][table["run"]]}

    def _model(self, numbers: np.ndarray) -> Text:
        return Text(self.labels.program[numbers], self.names.texts)

    @staticmethod
    def _texts(numbers: np.ndarray, texts: Sequence[str]) -> Text:
        return Text(numbers.astype(np.int64), texts)

    def _ns(self, ticks: np.ndarray) -> np.ndarray:
        return to_ns(ticks, self.trace.tick_hz)


def _rows(column: Column) -> int:
    return len(column.numbers if isinstance(column, Text) else column)


def _put_csv(path: Path, columns: Columns) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(columns)
        cells = {name: _quoted(c.texts) for name, c in columns.items() if isinstance(c, Text)}
        for first in range(0, _rows(next(iter(columns.values()))), CHUNK):
            part = slice(first, first + CHUNK)
            rows = zip(*(_cells(c, part, cells.get(n, [])) for n, c in columns.items()), strict=True)
            file.writelines(",".join(row) + "\n" for row in rows)


def _quoted(texts: Sequence[str]) -> list[str]:
    """Each text as a cell of a CSV file."""
    cells = []
    for text in texts:
        cell = io.StringIO()
        csv.writer(cell, lineterminator="").writerow([text])
        cells.append(cell.getvalue())
    return cells


def _cells(column: Column, part: slice, quoted: Sequence[str]) -> list[str]:
    if isinstance(column, Text):
        return [quoted[n] for n in column.numbers[part].tolist()]
    return list(map(str, column[part].tolist()))


def _put_parquet() -> Any:
    """The writer of one parquet file. Raises: ExportError without pyarrow."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ExportError("parquet needs pyarrow", where="format", actual="parquet",
                          help="pip install 'neuronsim[parquet]', or write CSV") from error

    def array(column: Column) -> Any:
        if not isinstance(column, Text):
            return pyarrow.array(column)
        used, numbers = np.unique(column.numbers, return_inverse=True)
        texts = pyarrow.array([column.texts[n] for n in used.tolist()], pyarrow.string())
        return pyarrow.DictionaryArray.from_arrays(pyarrow.array(numbers.astype(np.int32)), texts)

    def put(path: Path, columns: Columns) -> None:
        parquet.write_table(pyarrow.table({name: array(c) for name, c in columns.items()}), path)

    return put
