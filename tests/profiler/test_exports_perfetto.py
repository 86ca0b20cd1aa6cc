"""The .pftrace writer, read back with Perfetto's own messages."""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as messages

from isa.program import Program
from isa.target import Target
from isa.trace import Cause, Trace
from profiler.analyses.occupancy import occupancy
from profiler.exports import perfetto
from profiler.exports.counters import Usage
from profiler.exports.output import ExportError
from profiler.exports.text import clean
from tests.profiler import export_traces as traces
from tests.profiler import recorded

EVENT = messages.TrackEvent


@dataclass
class Read:
    """A file as a strict reader sees it: tracks by uuid, slices as (uuid, start, end, name, category, arguments)."""

    packets: list[Any]
    tracks: dict[int, Any] = field(default_factory=dict)
    slices: list[tuple[int, int, int, str, str, dict[str, Any]]] = field(default_factory=list)
    counters: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    flows: dict[int, list[tuple[str, int]]] = field(default_factory=dict)

    def path(self, uuid: int) -> str:
        """Names from below the root to the track."""
        track = self.tracks[uuid]
        if not track.parent_uuid:
            return ""
        above = self.path(track.parent_uuid)
        return f"{above}/{track.name}" if above else track.name

    def shown(self) -> Counter[traces.Shown]:
        rows: Counter[traces.Shown] = Counter()
        for uuid, start, end, _, _, args in self.slices:
            path = self.path(uuid)
            rows[path.split(":")[0] if path.startswith("requests") else path, start, end - start, args["ticks"]] += 1
        return rows


def read(path: Path) -> Read:
    found = messages.Trace()
    found.ParseFromString(path.read_bytes())
    packets = []
    for packet in found.packet:
        if packet.compressed_packets:
            inner = messages.Trace()
            inner.ParseFromString(zlib.decompress(packet.compressed_packets))
            packets += inner.packet
        else:
            packets.append(packet)
    result = Read(packets)
    _interpret(result)
    return result


def _interpret(result: Read) -> None:
    names: dict[str, dict[int, Any]] = {}
    assert all(p.trusted_packet_sequence_id for p in result.packets), "readers drop packets of no sequence"
    assert result.packets[0].sequence_flags & 1 and result.packets[0].incremental_state_cleared
    for packet in result.packets:
        for kind in ("event_categories", "event_names", "debug_annotation_names", "debug_annotation_string_values"):
            for entry in getattr(packet.interned_data, kind):
                text = entry.str.decode() if kind.endswith("values") else entry.name
                assert names.setdefault(kind, {}).setdefault(entry.iid, text) == text
        if packet.HasField("track_descriptor"):
            assert packet.track_descriptor.uuid not in result.tracks
            result.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
    open_slices: dict[int, list[Any]] = {}
    for packet in sorted((p for p in result.packets if p.HasField("track_event")), key=lambda p: p.timestamp):
        event = packet.track_event
        assert event.track_uuid in result.tracks
        if event.type == EVENT.TYPE_COUNTER:
            value = event.double_counter_value if event.HasField("double_counter_value") else event.counter_value
            result.counters.setdefault(event.track_uuid, []).append((packet.timestamp, value))
        elif event.type == EVENT.TYPE_SLICE_BEGIN:
            assert packet.sequence_flags & 2
            waiting = open_slices.setdefault(event.track_uuid, [])
            assert not waiting, "a slice begins within another of its track"
            args = {names["debug_annotation_names"][a.name_iid]: (
                names["debug_annotation_string_values"][a.string_value_iid] if a.HasField("string_value_iid")
                else a.int_value) for a in event.debug_annotations}
            waiting.append((event.track_uuid, packet.timestamp, names["event_names"][event.name_iid],
                            names["event_categories"][event.category_iids[0]], args))
            for flow in event.flow_ids:
                result.flows.setdefault(flow, []).append(("out", len(result.slices)))
            for flow in event.terminating_flow_ids:
                result.flows.setdefault(flow, []).append(("in", len(result.slices)))
            waiting.append(len(result.slices))
            result.slices.append(None)  # type: ignore[arg-type]
        else:
            number, (uuid, start, *rest) = open_slices[event.track_uuid].pop(), open_slices[event.track_uuid].pop()
            result.slices[number] = (uuid, start, packet.timestamp, *rest)
    assert not any(open_slices.values()), "a slice that never ends"


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(trace: Trace, **options: Any) -> Read:
        options.setdefault("usage", ())
        perfetto.write(trace, traces.programs(), traces.machine(), tmp_path / "t.pftrace", **options)
        return read(tmp_path / "t.pftrace")
    return write


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(0, 30),
       st.sampled_from([10**6, 10**9, 84 * 10**9, 10**14, 999_999_937]))
def test_counts_and_durations_are_those_of_the_trace(
    tmp_path_factory: pytest.TempPathFactory, seed: int, runs: int, words: int, tick_hz: int
) -> None:
    trace = traces.random_trace(seed, runs, words, tick_hz=tick_hz)
    path = tmp_path_factory.mktemp("pftrace") / "t.pftrace"
    perfetto.write(trace, traces.programs(), traces.machine(), path, usage=())
    assert read(path).shown() == traces.shown(trace)


@pytest.mark.parametrize("compress", [True, False])
def test_a_trace_without_rows_is_a_file_without_slices(written: Any, compress: bool) -> None:
    trace = traces.random_trace(0, runs=1, words=0)
    assert written(trace, compress=compress).shown() == traces.shown(trace)


def test_compressed_packets_are_the_same_packets(written: Any) -> None:
    trace = traces.random_trace(3)
    assert written(trace).packets == written(trace, compress=False).packets


def test_equal_traces_give_equal_bytes(tmp_path: Path) -> None:
    for name in "ab":
        perfetto.write(traces.random_trace(3), traces.programs(), traces.machine(), tmp_path / name, usage=())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_tracks_form_the_tree_of_the_machine_in_order(written: Any) -> None:
    found = written(traces.random_trace(1, runs=8))
    root = next(t for t in found.tracks.values() if not t.parent_uuid)
    assert root.name == "inf1.6xlarge" and "84000000000" in root.description
    paths = {found.path(u) for u in found.tracks}
    for path in ("CPU", "device 0/host link", "device 0/NeuronCore 0/stages", "device 0/NeuronCore 0/TensorMatrixE",
                 "device 1/NeuronCore 5/qSync0", "device 2/NeuronCore 9/pending DMA", "device 0/DRAM", "link 0 to 1"):
        assert path in paths
    assert all(t.child_ordering == messages.TrackDescriptor.EXPLICIT for t in found.tracks.values())
    core = next(u for u in found.tracks if found.path(u) == "device 0/NeuronCore 0")
    below = sorted((t.sibling_order_rank, t.name) for t in found.tracks.values() if t.parent_uuid == core)
    assert list(dict.fromkeys(name for _, name in below)) == [
        "stages", "TensorE", "TensorMatrixE", "VectorE", "ScalarE", "GpSimdE", "SyncE", "qSync0", "qSync1", "qSync2",
        "pending DMA"]


def test_arrows_lead_from_what_ended_a_wait_to_what_waited(written: Any) -> None:
    trace = traces.random_trace(5, runs=8, words=120)
    found = written(trace)
    wanted: Counter[Any] = Counter()
    moved = {op: k for k, op in enumerate(trace.transfers["op"].tolist())}
    for target, source in traces.waits(trace).items():
        by_dma = trace.instructions["cause"][target] == Cause.DMA
        kind, row = ("transfers", moved[source]) if by_dma else ("instructions", source)
        starts = [traces.ns(int(getattr(trace, k)["start"][r]), trace.tick_hz)
                  for k, r in ((kind, row), ("instructions", target))]
        wanted[traces.row_of(trace, kind, row), starts[0], traces.row_of(trace, "instructions", target), starts[1]] += 1
    assert len(wanted) > 100
    joined: Counter[Any] = Counter()
    for ends in found.flows.values():
        assert [way for way, _ in ends] == ["out", "in"]
        (a, b) = (found.slices[k] for _, k in ends)
        joined[found.path(a[0]), a[1], found.path(b[0]), b[1]] += 1
    assert joined == wanted


def test_arguments_lead_back_to_the_model(written: Any) -> None:
    trace, programs = traces.random_trace(2), traces.programs()
    found = written(trace)
    slices = {s[5]["index"]: s for s in found.slices if "opcode" in s[5] and "NeuronCore 0" in found.path(s[0])
              and s[5]["request"] == 0}
    rows = [k for k in range(len(trace.instructions["run"])) if trace.instructions["run"][k] == 0]
    assert len(slices) == len(rows) > 30
    for k in rows:
        row = {name: int(column[k]) for name, column in trace.instructions.items()}
        _, _, _, name, category, args = slices[row["index"]]
        debug = programs[0].stages[0].debug[row["debug"]]
        assert args["layer"] == clean(debug.layer) and args["operator"] == clean(debug.op_type)
        assert args.get("source", "") == clean(debug.source) and args["stage"] == 0
        assert args["model"] == clean(programs[0].name) and args["opcode"] == category
        assert name == (clean(debug.layer) or args["opcode"])
        waited = row["start"] - row["wait_start"]
        assert args.get("wait_ns", 0) == traces.ns(waited, trace.tick_hz)
        assert args.get("wait_cause") == (Cause(row["cause"]).name.lower() if waited else None)
        assert ("bytes" in args) == (args["opcode"] == "dma_trigger")


@pytest.mark.parametrize("level, kinds", [("instr", ("runs", "instructions", "host", "requests")),
                                          ("dma", tuple(traces.TABLES))])
def test_levels_show_their_kinds(written: Any, level: str, kinds: tuple[str, ...]) -> None:
    trace = traces.random_trace(4)
    assert written(trace, level=level).shown() == traces.shown(trace, kinds)


def test_layers_sum_up_their_instructions(written: Any) -> None:
    trace = traces.random_trace(4, runs=8, words=200)
    found = [s for s in written(trace, level="op").slices if "busy_ticks" in s[5]]
    table = trace.instructions
    assert sum(s[5]["busy_ticks"] for s in found) == (table["end"] - table["start"]).sum()
    assert sum(s[5]["instructions"] for s in found) == len(table["start"]) > len(found)


def test_a_window_keeps_what_touches_it_whole(written: Any) -> None:
    trace = traces.random_trace(6, runs=8)
    low, high = trace.total_ticks // 4, trace.total_ticks // 2
    found = written(trace, window=(low / trace.tick_hz, high / trace.tick_hz))
    table = trace.instructions
    inside = [k for k in range(len(table["start"])) if table["end"][k] >= low and table["start"][k] <= high]
    ticks = sorted(s[5]["ticks"] for s in found.slices if "opcode" in s[5])
    assert 0 < len(inside) < len(table["start"])
    assert ticks == sorted((table["end"] - table["start"])[inside].tolist())
    for ends in found.flows.values():
        assert [way for way, _ in ends] == ["out", "in"]


@pytest.mark.parametrize("options", [{"level": "all"}, {"window": (2.0, 1.0)}, {"window": (5.0, 6.0)},
                                     {"window": (float("nan"), 1.0)}])
def test_what_cannot_be_shown_is_refused_and_nothing_written(tmp_path: Path, options: Any) -> None:
    with pytest.raises(ExportError):
        perfetto.write(traces.random_trace(0), traces.programs(), traces.machine(), tmp_path / "t", **options)
    assert not list(tmp_path.iterdir())


def test_curves_integrate_to_the_bytes_and_show_the_peaks(written: Any) -> None:
    trace = traces.random_trace(7, runs=8, words=100, tick_hz=10**9)
    found = written(trace)
    by_path = {found.path(u): points for u, points in found.counters.items()}
    moved = trace.transfers
    mine = moved["core"] // 4 == 1
    dram = by_path["device 1/DRAM"]
    area = sum(value * (later - at) for (at, value), (later, _) in pairwise(dram))
    assert area == pytest.approx(int((moved["read"] + moved["written"])[mine].sum()), rel=1e-9)
    assert dram[-1][1] == 0
    core = moved["core"] == 4
    open_at = [int(((moved["enqueue"][core] <= t) & (moved["end"][core] > t)).sum()) for t in moved["enqueue"][core]]
    assert max(v for _, v in by_path["device 1/NeuronCore 4/pending DMA"]) == max(open_at) > 2
    assert {p for p in by_path if p.startswith("link")} == {"link 0 to 1", "link 1 to 2"}


def test_given_curves_are_shown_on_their_core(written: Any) -> None:
    usage = Usage(5, "SBUF used", "bytes", np.array([0, 8_400]), np.array([7, 0]))
    found = written(traces.random_trace(0), usage=[usage])
    number = next(u for u in found.tracks if found.path(u) == "device 1/NeuronCore 5/SBUF used")
    assert found.tracks[number].counter.unit_name == "bytes"
    assert found.counters[number] == [(0, 7), (100, 0)]


@settings(max_examples=15, deadline=None)
@given(recorded.recordings())
def test_real_runs_are_shown_whole_with_the_memory_they_use(
    tmp_path_factory: pytest.TempPathFactory, recording: tuple[Trace, list[Program], Target]
) -> None:
    trace, programs, target = recording
    path = tmp_path_factory.mktemp("pftrace") / "t.pftrace"
    perfetto.write(trace, programs, target, path)
    found = read(path)
    assert found.shown() == traces.shown(trace, cores_per_chip=target.cores_per_chip)
    curves = {found.path(u).split("/", 1)[-1]: max(v for _, v in points) for u, points in found.counters.items()}
    memories = occupancy(trace, programs, target).memories
    assert memories
    for memory in memories:
        assert curves[f"NeuronCore {memory.core}/{memory.memory.upper()} used"] == memory.peak


def test_what_was_dropped_is_said_at_the_root(written: Any) -> None:
    trace = replace(traces.random_trace(1), dropped={"instructions": 7}, notes=("late\nruns",))
    root = next(t for t in written(trace).tracks.values() if not t.parent_uuid)
    assert "7 rows of instructions were dropped" in root.description and "late\\nruns" in root.description


def test_names_of_strangers_arrive_on_one_line_each_its_own(written: Any) -> None:
    found = written(traces.random_trace(9, runs=8, words=150))
    layers = {s[5]["layer"] for s in found.slices if "layer" in s[5]}
    assert layers == {clean(n) for n in traces.HOSTILE}
    assert len(layers) == len(set(traces.HOSTILE))
    assert all(text.isprintable() for text in layers)
