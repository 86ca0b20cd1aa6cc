"""Advice: programs made to be bound by a resource are told so; each rule fires where it should, and only there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from isa.dtypes import BY_NAME
from isa.program import WEIGHT, DebugEntry, Program, Stage, Variable
from isa.spec import SPEC
from isa.target import Target
from isa.trace import Trace
from neuronsim.execution import Machine
from profiler.analyses.advice import advice
from profiler.analyses.advice_facts import Finding
from profiler.analyses.resources import resources
from tests.neuronsim.bound_programs import BOUND, fetches
from tests.neuronsim.test_timing_twin import MACHINES
from tests.neuronsim.timing_programs import copy, dram_to_sbuf, matmul, stage, trigger
from tests.profiler.recorded import record, recordings


def of(program: Program, target: Target) -> dict[str, Finding]:
    trace = Machine(program, target).run([{}], False, 1)[0].trace(program, target)
    return {f.rule: f for f in advice(trace, [program], target).findings}


@pytest.mark.parametrize("names", list(BOUND), ids=" and ".join)
def test_each_resource_is_named_as_what_limits_the_rate(names: tuple[str, ...]) -> None:
    program, target = BOUND[names]()
    trace = Machine(program, target).run([{}], False, 1)[0].trace(program, target)
    (copy_,) = resources(trace, [program], target).copies
    assert copy_.limited_by == list(names)
    found = of(program, target)
    if names == ("stage balance",):
        assert "limited_by" not in found
        assert found["stage_balance"].value == pytest.approx(100 * (60 / 35 - 1), rel=0.02)
        return
    told = found["limited_by"]
    assert told.where == names and told.share_percent > 60
    assert all(name in told.finding for name in names) and told.change


def alone(made: Stage, name: str = "trn1.2xlarge") -> dict[str, Finding]:
    trace, programs, target = record([made], MACHINES[name], [0])
    return {f.rule: f for f in advice(trace, programs, target).findings}


def test_small_and_tiny_dma() -> None:
    assert alone(fetches(4, 256))["small_dma"].threshold == 512
    found = alone(fetches(4, 1024))["small_dma"]
    assert (found.threshold, found.value, found.source) == (2048, 1024, "Neuron")
    assert "small_dma" not in alone(fetches(4, 4096))


def test_transposes_above_a_tenth() -> None:
    made = stage(tensor=[matmul()] * 2)
    made.streams["tensor"]["flags"][1] |= SPEC.by_name["matmul"].flags["transpose"]
    assert alone(made)["transposes"].value == pytest.approx(50)
    assert "transposes" not in alone(stage(tensor=[matmul()] * 10))


def test_useful_work_of_the_pe_below_half() -> None:
    made = stage(tensor=[matmul()] * 8)
    flops = 8 * 2 * 128 * 128 * 512
    for macs, fires in ((flops // 2 // 4, True), (flops // 2, False)):
        made.debug = [DebugEntry("a", "MatMul", macs=macs)]
        assert ("pe_useful_work" in alone(made)) is fires


_DATA = np.zeros(512 * 1024, np.uint8)


def weights(loads: int) -> Stage:
    """A weight of 512 kB read `loads` times."""
    made = stage([dram_to_sbuf(128, 4096)], sync=[trigger(0, semaphore=16 + k) for k in range(loads)])
    return replace(made, variables=[Variable(1, "w", WEIGHT, BY_NAME["fp32"], (128, 1024), _DATA)])


def test_reloaded_and_streamed_weights() -> None:
    assert "tensor_reloads" not in alone(weights(2))
    found = alone(weights(5))
    assert found["tensor_reloads"].value == pytest.approx(5) and found["tensor_reloads"].where == ("w",)
    assert "--neuroncore-pipeline-cores 2" in found["streamed_weights"].change
    assert "streamed_weights" not in alone(stage(vector=[copy(0, 4096, 512)]))


def test_reloads_of_spills_above_a_quarter() -> None:
    made = weights(4)
    made.streams["sync"]["arg"] = np.arange(4)
    made.descriptors = np.concatenate([made.descriptors] * 4)
    made.debug = [DebugEntry(), DebugEntry("a", "A", purpose="reload")]
    for reloads, fires in ((1, False), (2, True)):
        made.streams["sync"]["debug"] = made.descriptors["debug"] = np.arange(4) < reloads
        assert ("spill_reloads" in alone(made)) is fires


@settings(max_examples=25, deadline=None, derandomize=True)
@given(recordings())
def test_advice_is_ranked_and_complete_for_any_trace(recorded: tuple[Trace, list[Program], Target]) -> None:
    trace, programs, target = recorded
    found = advice(trace, programs, target)
    shares = [f.share_percent for f in found.findings]
    assert shares == sorted(shares, reverse=True)
    assert all(0 <= s <= 100.001 for s in shares)
    assert all(f.finding and f.change and f.unit and f.rule for f in found.findings)
    assert all("nan" not in f.finding for f in found.findings)
    assert found.tables()[0].plain()
