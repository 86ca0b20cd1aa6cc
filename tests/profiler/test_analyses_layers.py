"""Layers, operators and instruction kinds: sums that hold for any trace, and bounds of programs made for them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from isa.program import DebugEntry, Program
from isa.target import Target
from isa.trace import Trace
from isa.word import ENGINES
from neuronsim.execution import Machine
from profiler import work
from profiler.analyses.engine_time import Stall
from profiler.analyses.layers import Layers, layers
from profiler.analyses.roofline import roofline
from profiler.analyses.stalls import stalls
from profiler.intervals import covered
from tests.neuronsim.bound_programs import BOUND
from tests.profiler.recorded import recordings


@settings(max_examples=40, deadline=None, derandomize=True)
@given(recordings())
def test_sums_are_those_of_the_trace(recorded: tuple[Trace, list[Program], Target]) -> None:
    trace, programs, target = recorded
    for stage in programs[0].stages:
        named(stage)
    found, table = layers(trace, programs, target), trace.transfers
    both = [np.concatenate([trace.instructions[c], table[c]]) for c in ("start", "end")]
    busy = covered(*both) / trace.tick_hz
    for rows in (found.layers, found.operators):
        assert sum(row.time for row in rows) == pytest.approx(busy)
        assert sum(row.bytes for row in rows) == table["bytes"].sum()
        assert sum(row.dram_bytes for row in rows) == (table["read"] + table["written"]).sum()
        assert sum(row.path_percent for row in rows) == pytest.approx(100 if trace.total_ticks else 0)
    repeats = len(trace.runs["start"]) // len(programs[0].stages)
    flops = repeats * sum(sum(work.matmul_flops(s).values()) for s in programs[0].stages)
    assert sum(row.flops for row in found.layers) == flops == sum(k.flops for k in found.kinds)
    assert sum(k.count for k in found.kinds) == len(trace.instructions["start"])
    assert sum(k.bytes for k in found.kinds) == table["bytes"].sum()
    issue = sum(k.issue_time for k in found.kinds if k.engine != "tensor")
    active = stalls(trace, programs, target).direct[:, 1:, Stall.ACTIVE].sum() / trace.tick_hz
    assert issue == pytest.approx(active)


def named(stage: object) -> None:
    """Give the stage's words and descriptors two layers."""
    stage.debug = [DebugEntry("a", "A"), DebugEntry("b", "B", macs=7)]  # type: ignore[attr-defined]
    for engine in ENGINES:
        words = stage.streams.get(engine)  # type: ignore[attr-defined]
        if words is not None:
            words["debug"] = np.arange(len(words)) % 2


def of_bound(*names: str) -> Layers:
    program, target = BOUND[names]()
    for stage in program.stages:
        stage.debug = [DebugEntry("all", "All")]
    return layers(Machine(program, target).run([{}], False, 1)[0].trace(program, target), [program], target)


@pytest.mark.parametrize(
    "name, bound",
    [
        ("tensor engine", "compute"),
        ("vector engine", "compute"),
        ("DMA engines", "memory"),
        ("DRAM bandwidth", "memory"),
        ("DMA start latency", "overhead"),
        ("semaphore latency", "overhead"),
    ],
)
def test_what_binds_a_layer(name: str, bound: str) -> None:
    (layer,) = of_bound(name).layers
    assert layer.bound == bound
    assert layer.time_percent <= 100


def test_roofline_of_one_product() -> None:
    program, target = BOUND["tensor engine",]()
    (stage,) = program.stages
    stage.debug = [DebugEntry("all", "MatMul", macs=10**6)]
    trace = Machine(program, target).run([{}], False, 1)[0].trace(program, target)
    found = roofline(trace, [program], target)
    (dtype,) = found.used
    assert found.mean_peak == pytest.approx(target.peak_flops(dtype))
    assert found.ridge == pytest.approx(found.mean_peak / (target.dram_bytes_per_ns * 1e9))
    (layer,) = found.layers
    assert layer.intensity is None and layer.limited_by == "compute" and layer.flops == 2 * 10**6
    assert layer.attained == pytest.approx(2e6 / (trace.total_ticks / trace.tick_hz), rel=1e-3)
    assert found.whole.attained_percent == pytest.approx(100 * found.whole.attained / found.mean_peak)
