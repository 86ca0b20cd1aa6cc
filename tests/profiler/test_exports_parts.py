"""The writers' parts: names, lanes, clocks, protobuf, curves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isa.program import Program, Stage
from isa.trace import TABLES, Trace, empty
from profiler.exports import chrome, kanata, perfetto, tables
from profiler.exports.clock import to_ns
from profiler.exports.counters import peaks, rate
from profiler.exports.lanes import lanes
from profiler.exports.output import ExportError, new_file
from profiler.exports.protobuf import Messages, field, interleaved, varint, varints
from profiler.exports.text import LONGEST, Names, clean
from tests.profiler import export_traces as traces

INTERVALS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.integers(0, 20)), max_size=60)


# ---- names
@given(st.text(st.characters(), max_size=400))
def test_any_name_becomes_one_printable_line(name: str) -> None:
    text = clean(name)
    assert len(text) <= LONGEST and len(text.splitlines()) <= 1
    assert text.encode("utf-8").decode("utf-8") == text
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in text)
    assert clean(text) == text


def test_names_people_give_stay_as_they_are() -> None:
    for name in ("/encoder/layer.0/MatMul", "conv1 (3x3)", "層", "x" * LONGEST):
        assert clean(name) == name


def test_long_names_differ_when_only_their_ends_do() -> None:
    assert clean("a" * 1000 + "b") != clean("a" * 1000 + "c")


def test_equal_names_have_one_number() -> None:
    names = Names()
    assert names.numbers(["", "a", "b", "a", "a\n", "a\n"]) == [0, 1, 2, 1, 3, 3]
    assert names.texts == ["", "a", "b", "a\\n"]


# ---- lanes
@given(INTERVALS)
def test_a_lane_has_no_overlaps_and_there_are_no_more_than_needed(rows: list[tuple[int, int, int]]) -> None:
    rows = sorted((a, a + n, t) for t, a, n in rows)
    start, end, track = (np.array(c, np.int64) for c in (list(zip(*rows, strict=True)) or [[], [], []]))
    lane = lanes(track, start, end)
    for t in np.unique(track):
        mine = track == t
        for k in np.unique(lane[mine]):
            row = mine & (lane == k)
            assert (start[row][1:] >= end[row][:-1]).all()
        # one for each that lasts, one for all that take no time within them
        needed = [((start[mine] <= s) & (end[mine] > s)).sum() + (end[mine] == s).any() for s in start[mine]]
        assert lane[mine].max() < max(needed)


# ---- clock
@given(st.integers(0, 2**62), st.sampled_from([1, 10**6, 10**9, 84 * 10**9, 10**14, 999_999_937, 10**14 - 27]))
def test_nanoseconds_are_exact_and_rounded_down(tick: int, tick_hz: int) -> None:
    wanted = tick * 10**9 // tick_hz
    if wanted < 2**63:
        assert int(to_ns(np.array([tick]), tick_hz)[0]) == wanted


# ---- protobuf
def test_varints_of_the_encoding_guide() -> None:
    assert varint(0) == b"\x00" and varint(1) == b"\x01" and varint(150) == b"\x96\x01"
    assert varint(2**64 - 1) == b"\xff" * 9 + b"\x01"
    assert field(1, 150) == b"\x08\x96\x01" and field(2, b"testing") == b"\x12\x07testing"


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30))
def test_varints_of_many_are_those_of_each(values: list[int]) -> None:
    data, used = varints(np.array(values, np.uint64))
    for row, count, value in zip(data, used, values, strict=True):
        assert sum((int(b) & 127) << 7 * k for k, b in enumerate(row[:count])) == value
        assert all(b & 128 for b in row[:count - 1]) and not row[count - 1] & 128


@given(st.lists(st.tuples(st.integers(0, 2**40), st.booleans(), st.integers(0, 2)), min_size=1, max_size=20))
def test_messages_are_the_fields_of_each_row(rows: list[tuple[int, bool, int]]) -> None:
    values, present, choice = (np.array(c) for c in zip(*rows, strict=True))
    inner = Messages(len(rows)).varint(1, values).varint(16, 7, present)
    table = Messages(3).varint(4, np.array([0, 300, 2**30]))
    found = Messages(len(rows)).message(2, inner, present).fixed64(3, values.astype(np.uint64)).chosen(table, choice)
    wanted = []
    for value, shown, number in rows:
        inside = field(1, value) + (field(16, 7) if shown else b"")
        wanted.append((field(2, inside) if shown else b"") + b"\x19" + value.to_bytes(8, "little")
                      + field(4, [0, 300, 2**30][number]))
    assert found.packed().tobytes() == b"".join(wanted)
    assert found.sizes.tolist() == [len(w) for w in wanted]


def test_interleaved_messages_keep_their_orders() -> None:
    first, second = Messages(2).varint(1, np.array([1, 300])), Messages(1).varint(2, 5)
    mixed = interleaved(first, second, np.array([True, False, True]))
    assert mixed == field(1, 1) + field(2, 5) + field(1, 300)


# ---- curves
@given(INTERVALS, st.integers(1, 20))
def test_rates_integrate_to_all_that_was_moved(rows: list[tuple[int, int, int]], bins: int) -> None:
    amount, start, length = (np.array(c, np.int64) for c in (list(zip(*rows, strict=True)) or [[], [], []]))
    edges = np.unique(np.linspace(0, 80, bins + 1).astype(np.int64))
    found = rate(start, start + length, amount, edges)
    assert (found * np.diff(edges)).sum() == pytest.approx(amount.sum())


@given(INTERVALS, st.integers(1, 20))
def test_peaks_are_the_most_at_any_tick_of_a_bin(rows: list[tuple[int, int, int]], bins: int) -> None:
    _, start, length = (np.array(c, np.int64) for c in (list(zip(*rows, strict=True)) or [[], [], []]))
    edges = np.unique(np.linspace(0, 80, bins + 1).astype(np.int64))
    at = [int(((start <= t) & (start + length > t)).sum()) for t in range(80)]
    wanted = [max(at[a:b]) for a, b in pairwise(edges)]
    assert peaks(start, start + length, edges).tolist() == wanted


# ---- files
def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with new_file(path) as file:
        file.write(b"first")
    with pytest.raises(TypeError), new_file(path) as file:
        file.writelines([b"sec", "ond"])  # type: ignore[list-item]
    assert path.read_bytes() == b"first" and [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_is_not_overwritten_by_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError), new_file(tmp_path):
        pass


# ---- any trace
WRITERS = pytest.mark.parametrize("write", [perfetto.write, chrome.write, tables.write, kanata.write])


@WRITERS
def test_a_trace_of_nothing_is_a_file(tmp_path: Path, write: Callable[..., None]) -> None:
    parts = {name: empty(name) for name in TABLES}
    write(Trace(**parts, tick_hz=1, target="t", total_ticks=0), [], traces.machine(), tmp_path / "out")
    assert (tmp_path / "out").exists()


@WRITERS
@pytest.mark.parametrize("cut", [
    lambda programs: programs[:1],
    lambda programs: [replace(p, stages=p.stages[:1]) for p in programs],
    lambda programs: [replace(p, nodes=p.nodes[:1]) for p in programs],
    lambda programs: [replace(p, stages=[Stage(), Stage()]) for p in programs],
])
def test_a_trace_of_other_programs_is_refused(
    tmp_path: Path, write: Callable[..., None], cut: Callable[[list[Program]], list[Program]]
) -> None:
    with pytest.raises(ExportError, match="not of these programs"):
        write(traces.random_trace(1), cut(traces.programs()), traces.machine(), tmp_path / "out")
    assert not list(tmp_path.iterdir())
