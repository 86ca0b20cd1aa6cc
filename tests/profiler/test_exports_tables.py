"""CSV and parquet tables of a trace."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.trace import TABLES, Cause, Trace
from profiler.exports import tables
from profiler.exports.output import ExportError
from profiler.exports.text import clean
from tests.profiler import export_traces as traces

NAMES = {"instructions": "Instruction", "transfers": "DmaPacketAggregated", "runs": "Run", "host": "Host",
         "requests": "Request"}


def written(folder: Path, trace: Trace) -> dict[str, list[dict[str, str]]]:
    tables.write(trace, traces.programs(), traces.machine(), folder / "tables")
    found = {}
    for path in (folder / "tables").iterdir():
        with open(path, encoding="utf-8", newline="") as file:
            found[path.stem] = list(csv.DictReader(file, strict=True))
    return found


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(0, 30), st.sampled_from([10**6, 84 * 10**9, 999_999_937]))
def test_counts_and_durations_are_those_of_the_trace(
    tmp_path_factory: pytest.TempPathFactory, seed: int, runs: int, words: int, tick_hz: int
) -> None:
    trace = traces.random_trace(seed, runs, words, tick_hz=tick_hz)
    found = written(tmp_path_factory.mktemp("tables"), trace)
    for kind, name in NAMES.items():
        table = getattr(trace, kind)
        pairs = list(zip(table["start"].tolist(), table["end"].tolist(), strict=True))
        columns = ("start_tick", "end_tick", "start_ts", "end_ts", "duration_ns", "duration_ticks")
        ns = [(traces.ns(a, tick_hz), traces.ns(b, tick_hz)) for a, b in pairs]
        assert [tuple(int(r[c]) for c in columns) for r in found[name]] == [
            (*p, *n, n[1] - n[0], p[1] - p[0]) for p, n in zip(pairs, ns, strict=True)]
    assert set(found) == {*NAMES.values(), "Flow", "Metadata"}


def test_rows_lead_back_to_the_model(tmp_path: Path) -> None:
    trace, programs = traces.random_trace(4), traces.programs()
    found = written(tmp_path, trace)
    t = trace.instructions
    for k, row in enumerate(found["Instruction"]):
        run = int(t["run"][k])
        stage, model = int(trace.runs["stage"][run]), int(trace.runs["model"][run])
        debug = programs[model].stages[stage].debug[t["debug"][k]]
        assert [row[c] for c in ("layer", "operator", "source", "model")] == [
            clean(x) for x in (debug.layer, debug.op_type, debug.source, programs[model].name)]
        assert row["wait_cause"] == Cause(int(t["cause"][k])).name.lower()
        assert [int(row[c]) for c in ("id", "run", "stage", "pc", "pcore_idx")] == [
            k, run, stage, t["index"][k], t["core"][k]]
        assert traces.row_of(trace, "instructions", k).endswith("/" + row["timeline_track"])
    moved = sum(int(r["transfer_bytes"]) for r in found["DmaPacketAggregated"])
    assert moved == trace.transfers["bytes"].sum() == sum(int(r["dma_bytes"]) for r in found["Instruction"])
    flow = {int(r["in_id"]): int(r["out_id"]) for r in found["Flow"]}
    assert flow == traces.waits(trace)


def test_metadata_tell_what_the_file_is_of(tmp_path: Path) -> None:
    trace = traces.random_trace(0)
    found = {r["name"]: r["value"] for r in written(tmp_path, trace)["Metadata"]}
    assert found["is_simulation"] == "true" and found["instance_type"] == "inf1.6xlarge"
    assert int(found["total_ticks"]) == trace.total_ticks and found["neff_hash_1"] == "b"


def test_parquet_has_the_same_rows(tmp_path: Path) -> None:
    from pyarrow import parquet

    trace = traces.random_trace(5)
    found = written(tmp_path, trace)
    tables.write(trace, traces.programs(), traces.machine(), tmp_path / "parquet", format="parquet")
    assert {p.stem for p in (tmp_path / "parquet").iterdir()} == set(found)
    for name, rows in found.items():
        read = parquet.read_table(tmp_path / "parquet" / f"{name}.parquet").to_pylist()
        assert [{k: str(v) for k, v in row.items()} for row in read] == rows


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=r"neuronsim\[parquet\]"):
        tables.write(traces.random_trace(0), traces.programs(), traces.machine(), tmp_path / "t", format="parquet")
    assert not list(tmp_path.iterdir())


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="csv"):
        tables.write(traces.random_trace(0), traces.programs(), traces.machine(), tmp_path / "t", format="xls")


def test_other_files_of_the_folder_stay_and_a_failure_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, traces.random_trace(1))
    (tmp_path / "tables" / "mine.txt").write_text("mine")
    before = {p.name: p.read_bytes() for p in (tmp_path / "tables").iterdir()}

    def fail(self: Any) -> Any:
        raise OSError("disk full")

    monkeypatch.setattr("profiler.exports.tables._Tables.requests", fail)
    with pytest.raises(OSError, match="disk full"):
        written(tmp_path, traces.random_trace(2))
    assert {p.name: p.read_bytes() for p in (tmp_path / "tables").iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["tables"]


def test_every_table_of_a_trace_has_a_file() -> None:
    assert set(NAMES) == set(TABLES)
