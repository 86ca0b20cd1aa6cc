"""Neuron's metrics: all of the documented names but those left out with a reason, and sums that hold for any trace."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from isa import cost
from isa.program import Program
from isa.target import Target
from isa.trace import Trace
from isa.word import ENGINES
from profiler import work
from profiler.metrics import metrics
from tests.profiler.recorded import record, recordings
from tests.profiler.test_summary import PROGRAM, TARGET, TRACE

PAGE = (Path(__file__).parents[2] / "docs/profile.md").read_text(encoding="utf-8")


def test_the_page_lists_every_metric_and_no_other() -> None:
    table = PAGE.split("## Metrics")[1].split("## ")[0]
    listed = set()
    for names in re.findall(r"^\| (`[^|]*) \|", table, re.M):
        for name in re.findall(r"`([^`]+)`", names):
            listed |= {name.replace("<engine>", e) for e in ENGINES}
    assert listed == set(metrics(TRACE, [PROGRAM], TARGET))


def test_values_worked_out_by_hand() -> None:
    m = metrics(TRACE, [PROGRAM], TARGET)
    assert m["adjusted_hardware_flops"] == m["hardware_flops"] == 8192
    assert m["psum_read_sbuf_write_count"] == 1
    assert m["psum_read_sbuf_write_bytes"] == 8 * 32 * 4
    assert m["input_queue_bytes"] == 2048
    assert m["weight_queue_bytes"] == m["output_queue_bytes"] == 0
    assert m["static_dma_packet_count"] == 16  # a row of 128 bytes for each partition
    assert m["mbu_min_read_util_percent"] == m["mbu_estimated_percent"]
    assert m["useful_read_percent"] == 100
    assert m["total_exec_time"] == pytest.approx(100e-6)
    assert m["activate_instruction_time"] == 0  # the hand-made rows have no opcodes
    assert m["trace_count"] == 3 + 1 + 1 + 1
    assert m["mfu_max_achievable_estimated_percent"] == pytest.approx(
        100 * (8192 / 2048) / m["peak_flops_bandwidth_ratio"])  # fmt: skip


@settings(max_examples=40, deadline=None, derandomize=True)
@given(recordings())
def test_bytes_and_counts_are_those_of_descriptors_and_words(recorded: tuple[Trace, list[Program], Target]) -> None:
    trace, programs, target = recorded
    m, stages = metrics(trace, programs, target), programs[0].stages
    repeats = len(trace.runs["start"]) // len(stages)
    moved = [cost.dma_bytes(s.descriptors[work.started(s)[1]]) for s in stages]
    read, written, delivered = (repeats * sum(int(c.sum()) for c in column) for column in zip(*moved, strict=True))
    assert (m["hbm_read_bytes"], m["hbm_write_bytes"], m["dma_transfer_total_bytes"]) == (read, written, delivered)
    for engine in ENGINES:
        count = repeats * sum(len(s.stream(engine)) for s in stages)
        assert m[f"{engine}_engine_instruction_count"] == count
        assert m[f"{engine}_engine_active_time"] <= m["total_time"] * (1 + 1e-9)
    shares = [v for k, v in m.items() if k.endswith("_percent") and not k.startswith(("mfu_", "mbu_"))]
    assert all(-1e-9 <= v <= 100 + 1e-9 for v in shares)


def test_times_and_shares_of_two_cores_are_those_of_one_when_they_do_the_same() -> None:
    stage = PROGRAM.stages[0]
    one, two = (metrics(*record([stage] * n, TARGET, [0])) for n in (1, 2))
    for name, value in one.items():
        if name.endswith(("_active_time", "_percent")) and not name.startswith("mbu_"):
            assert two[name] == pytest.approx(value, rel=0.01), name
        elif name.endswith(("_flops", "_transfer_count", "_instruction_count", "_instruction_time")):
            assert two[name] == pytest.approx(2 * value), name
    assert np.isfinite([v for v in two.values() if isinstance(v, float)]).all()
