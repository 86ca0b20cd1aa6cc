"""The Chrome JSON writer, read back with `json` under the rules of its readers."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.trace import Trace
from profiler.exports import chrome
from profiler.exports.text import clean
from tests.profiler import export_traces as traces


class Read:
    """Events by their letter; rows by process and thread."""

    def __init__(self, path: Path) -> None:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        self.file = json.loads(data.decode("ascii"), parse_float=Decimal, parse_constant=self._refuse)
        self.events: dict[str, list[dict[str, Any]]] = {}
        for event in self.file["traceEvents"]:
            self.events.setdefault(event["ph"], []).append(event)
        names = {(e["name"], e["pid"], e.get("tid")): e["args"].get("name") for e in self.events["M"]}
        self.processes = {pid: name for (what, pid, _), name in names.items() if what == "process_name"}
        self.threads = {(pid, tid): name for (what, pid, tid), name in names.items() if what == "thread_name"}

    @staticmethod
    def _refuse(text: str) -> None:
        raise AssertionError(f"readers refuse a file with {text}")

    def row(self, event: dict[str, Any]) -> str:
        """Name of the slice's row as `export_traces.shown` has it."""
        process = re.sub(r"(device \d+) (NeuronCore)", r"\1/\2", self.processes[event["pid"]])
        thread = re.sub(r" \(\d+\)$", "", self.threads[event["pid"], event["tid"]]).split(":")[0]
        return thread if process == "inf1.6xlarge" else f"{process}/{thread}"

    def shown(self) -> Counter[traces.Shown]:
        return Counter((self.row(e), nanoseconds(e["ts"]), nanoseconds(e["dur"]), e["args"]["ticks"])
                       for e in self.events.get("X", []))


def nanoseconds(microseconds: Decimal) -> int:
    """Exactly; digits below a nanosecond would be rounded by readers."""
    value = microseconds * 1000
    assert value == int(value) and value >= 0
    return int(value)


def written(folder: Path, trace: Trace, name: str = "t.json", **options: Any) -> Read:
    chrome.write(trace, traces.programs(), traces.machine(), folder / name, usage=(), **options)
    return Read(folder / name)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(0, 30), st.sampled_from([10**6, 84 * 10**9, 999_999_937]))
def test_counts_and_durations_are_those_of_the_trace(
    tmp_path_factory: pytest.TempPathFactory, seed: int, runs: int, words: int, tick_hz: int
) -> None:
    trace = traces.random_trace(seed, runs, words, tick_hz=tick_hz)
    assert written(tmp_path_factory.mktemp("chrome"), trace).shown() == traces.shown(trace)


def test_compressed_by_its_name_and_always_the_same(tmp_path: Path) -> None:
    trace = traces.random_trace(1)
    plain, packed = written(tmp_path, trace), written(tmp_path, trace, "t.json.gz")
    assert plain.file == packed.file
    first = (tmp_path / "t.json.gz").read_bytes()
    written(tmp_path, trace, "t.json.gz")
    assert (tmp_path / "t.json.gz").read_bytes() == first


def test_slices_of_a_thread_never_overlap_in_part(tmp_path: Path) -> None:
    ends: dict[tuple[int, int], Decimal] = {}
    for event in sorted(written(tmp_path, traces.random_trace(2, 8, 150)).events["X"], key=lambda e: e["ts"]):
        row = event["pid"], event["tid"]
        assert event["ts"] >= ends.get(row, 0)
        ends[row] = event["ts"] + event["dur"]
    assert len(ends) > 30


def test_every_row_is_named_ordered_and_not_the_main_thread(tmp_path: Path) -> None:
    found = written(tmp_path, traces.random_trace(2, 8))
    for event in found.events["X"]:
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int) and event["pid"] != event["tid"]
        assert (event["pid"], event["tid"]) in found.threads
    order = {e["pid"]: e["args"]["sort_index"] for e in found.events["M"] if e["name"] == "process_sort_index"}
    assert [found.processes[p] for p in sorted(order, key=order.__getitem__)][:4] == [
        "inf1.6xlarge", "device 0", "device 0 NeuronCore 0", "device 1"]


def test_arrows_bind_two_slices(tmp_path: Path) -> None:
    trace = traces.random_trace(5, runs=8, words=120)
    found = written(tmp_path, trace)
    starts, ends = ({e["id"]: e for e in found.events[letter]} for letter in "sf")
    assert len(starts) == len(found.events["s"]) == len(ends) == len(found.events["f"]) == len(traces.waits(trace))
    begin = {(e["pid"], e["tid"], e["ts"]) for e in found.events["X"]}
    for number, start in starts.items():
        end = ends[number]
        assert end["bp"] == "e" and (end["cat"], end["name"]) == (start["cat"], start["name"])
        assert start["ts"] < end["ts"]
        assert all((e["pid"], e["tid"], e["ts"]) in begin for e in (start, end))


def test_names_of_strangers_stay_names(tmp_path: Path) -> None:
    found = written(tmp_path, traces.random_trace(9, runs=8, words=150))
    layers = {e["args"]["layer"] for e in found.events["X"] if "layer" in e["args"]}
    assert layers == {clean(n) for n in traces.HOSTILE}
    assert all(line.count('"ph"') <= 1 for line in (tmp_path / "t.json").read_text().splitlines())


def test_curves_carry_their_unit(tmp_path: Path) -> None:
    found = written(tmp_path, traces.random_trace(3))
    assert {(e["name"], *e["args"]) for e in found.events["C"]} == {
        ("pending DMA", "transfers"), ("DRAM", "GB/s"), ("link 0 to 1", "GB/s"), ("link 1 to 2", "GB/s")}
