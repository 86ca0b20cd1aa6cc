"""The Kanata writer, read back by the rules of the format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.trace import Trace
from profiler.exports import kanata
from profiler.exports.output import ExportError
from profiler.exports.text import clean
from tests.profiler import export_traces as traces


class Read:
    """A log as a viewer replays it; raises AssertionError where a viewer would."""

    def __init__(self, text: str) -> None:
        self.labels: dict[int, list[str]] = {}
        self.op: dict[int, int] = {}
        self.stages: dict[tuple[int, int, str], tuple[int, int]] = {}
        self.arrows: dict[int, int] = {}
        self.retired: dict[int, tuple[int, int]] = {}
        self._open: dict[tuple[int, int, str], int] = {}
        head, *lines = text.splitlines()
        assert head == "Kanata\t0004"
        self.now = 0
        for line in lines:
            letter, *fields = line.split("\t")
            getattr(self, {"C=": "first"}.get(letter, letter))(*fields)
        assert not self._open and set(self.retired) == set(self.op)

    def first(self, cycle: str) -> None:
        self.now = int(cycle)

    def C(self, passed: str) -> None:
        assert int(passed) > 0
        self.now += int(passed)

    def I(self, number: str, op: str, thread: str) -> None:  # noqa: E743
        assert int(number) not in self.op
        self.op[int(number)] = int(op)

    def L(self, number: str, kind: str, text: str) -> None:
        self.labels.setdefault(int(number), []).append(text)

    def S(self, number: str, lane: str, stage: str) -> None:
        assert int(number) in self.op and int(number) not in self.retired
        self._open[int(number), int(lane), stage] = self.now

    def E(self, number: str, lane: str, stage: str) -> None:
        key = int(number), int(lane), stage
        self.stages[key] = (self._open.pop(key), self.now)

    def W(self, consumer: str, producer: str, kind: str) -> None:
        assert int(consumer) in self.op and int(consumer) not in self.retired and int(producer) in self.op
        self.arrows[int(consumer)] = int(producer)

    def R(self, number: str, order: str, flushed: str) -> None:
        assert int(number) not in self.retired and flushed == "0"
        self.retired[int(number)] = (int(order), self.now)


def written(folder: Path, trace: Trace, **options: Any) -> Read:
    kanata.write(trace, traces.programs(), traces.machine(), folder / "t.kanata", **options)
    return Read((folder / "t.kanata").read_text(encoding="utf-8"))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(0, 30), st.sampled_from([10**6, 84 * 10**9, 999_999_937]))
def test_stages_are_the_times_of_the_trace(
    tmp_path_factory: pytest.TempPathFactory, seed: int, runs: int, words: int, tick_hz: int
) -> None:
    trace = traces.random_trace(seed, runs, words, tick_hz=tick_hz)
    found = written(tmp_path_factory.mktemp("kanata"), trace)
    t = {name: column.tolist() for name, column in trace.instructions.items()}
    assert sorted(found.op.values()) == list(range(len(t["start"])))
    waits = traces.waits(trace)
    for number, op in found.op.items():
        ready, start, end, retire = (traces.ns(t[c][op], tick_hz) for c in ("wait_start", "start", "end", "retire"))
        assert found.stages[number, 0, "Ex"] == (start, end)
        stalls = [times for (n, lane, _), times in found.stages.items() if (n, lane) == (number, 1)]
        assert stalls == ([(ready, start)] if t["start"][op] > t["wait_start"][op] else [])
        assert found.retired[number][1] == retire
        assert found.op.get(found.arrows.get(number, -1)) == waits.get(op)
    assert sorted(order for order, _ in found.retired.values()) == list(range(len(found.op)))


def test_the_first_instructions_of_a_window(tmp_path: Path) -> None:
    trace = traces.random_trace(1, runs=8, words=100)
    ready = sorted(trace.instructions["wait_start"].tolist())
    middle = trace.total_ticks // 2
    found = written(tmp_path, trace, window=(middle / trace.tick_hz, 1.0), most=50)
    shown = sorted(trace.instructions["wait_start"][op] for op in found.op.values())
    assert shown == [t for t in ready if t >= middle][:50]


def test_names_of_strangers_stay_in_their_label(tmp_path: Path) -> None:
    trace = traces.random_trace(9, runs=8, words=150)
    found = written(tmp_path, trace)
    layers = {clean(n) for n in traces.HOSTILE}
    assert {label.split(": ", 1)[1].split(" ", 1)[1] for label, _ in found.labels.values()} == layers


def test_no_instruction_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ExportError):
        written(tmp_path, traces.random_trace(1), most=0)
