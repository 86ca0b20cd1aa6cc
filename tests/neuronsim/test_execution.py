"""Pipelined programs: values, time and traces of one run, whatever the cores and the host threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import neuronsim
from isa import target as targets
from isa.errors import ContainerError, ErrorList
from isa.program import Program
from neuronsim import host
from neuronsim.api import Neff, NonFiniteWarning
from neuronsim.errors import ConfigError
from neuronsim.parallel import spread
from neuronsim.runtime import Instance
from neuronsim.runtime.environment import GROUP_SIZES
from neuronsim.timing import simulate
from tests.neuronsim.runtime_programs import COLUMNS, ROWS, on_one_core, pinned, pipeline, run_alone

TARGET = targets.load("inf1.6xlarge")
DATA = np.random.default_rng(0).standard_normal((ROWS, COLUMNS)).astype(np.float32)
SIZE = ROWS * COLUMNS * 4


@pytest.mark.parametrize("space", ["dram", "sbuf"])
def test_values_are_those_of_one_core(space: str) -> None:
    program = pipeline(6, space=space)
    alone = Neff(on_one_core(pipeline(6))).run({"t0": DATA}).outputs["t6"]
    for threads in (1, 2, 5):
        found = Neff(program).run({"t0": DATA}, threads=threads).outputs["t6"]
        assert found.tobytes() == alone.tobytes() == np.maximum(DATA, 0).tobytes()


def residual_network(layers: int = 6, size: int = 64) -> bytes:
    """y = x + w x, `layers` times: every layer's input skips its product."""
    rng = np.random.default_rng(3)
    nodes, weights = [], []
    for k in range(layers):
        weights.append(numpy_helper.from_array(rng.normal(0, 0.1, (size, size)).astype(np.float32), f"w{k}"))
        nodes.append(helper.make_node("MatMul", [f"x{k}", f"w{k}"], [f"p{k}"]))
        nodes.append(helper.make_node("Add", [f"x{k}", f"p{k}"], [f"x{k + 1}"]))
    faces = [[helper.make_tensor_value_info(f"x{k}", TensorProto.FLOAT, [4, size])] for k in (0, layers)]
    graph = helper.make_graph(nodes, "residual", *faces, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_compiled_pipelines_compute_what_one_core_does(cores: int) -> None:
    """Bit for bit, whatever the host threads; skip connections are handed on by the stages between."""
    neff = neuronsim.compile(residual_network(), target="inf1.6xlarge", neuroncore_pipeline_cores=cores)
    assert neff.program.cores == cores and neff.report["stages"][0]["pinned_bytes"]
    x = np.random.default_rng(4).normal(size=(4, 64)).astype(np.float32)
    alone = run_alone(neff.program, {"x0": x})["x6"]
    for threads in (1, 2, 5):
        assert neff.run({"x0": x}, threads=threads).outputs["x6"].tobytes() == alone.tobytes()
    with Instance("inf1.6xlarge", {GROUP_SIZES: "6,5,5"}, private=True) as instance:
        rows = np.concatenate([x, 2 * x, x, x[:3]])
        found = instance.data_parallel(neff).run({"x0": rows}).outputs["x6"]
    assert found[:4].tobytes() == found[8:12].tobytes() == alone.tobytes()
    assert found[12:].tobytes() == alone[:3].tobytes()


def test_128_cores_in_time_only() -> None:
    run = Neff(pipeline(128, "trn2.48xlarge", space="sbuf")).run(mode="timing").last
    assert [r.core for r in run.stages] == list(range(128))
    assert run.device_seconds > 127 * min(r.timeline.seconds for r in run.stages)


def test_latency_is_the_stages_with_their_signals_and_the_host_link_once() -> None:
    program = pipeline(6)  # over the border between the first two chips
    result = Neff(program).run(mode="timing")
    run = result.last
    assert [r.core for r in run.stages] == list(range(6))
    stages = sum(r.timeline.seconds for r in run.stages)
    signals = 6 * TARGET.semaphore_latency_ns * 1e-9
    link = host.link_seconds([SIZE], TARGET)
    assert run.device_seconds == pytest.approx(stages + signals)
    assert (run.host_in_seconds, run.host_out_seconds) == (link, link)
    assert run.latency_seconds == pytest.approx(stages + signals + 2 * link)
    assert result.time_ns == pytest.approx(run.latency_seconds * 1e9)


def test_a_program_without_pipeline_costs_what_it_did() -> None:
    """One stage after the other on core 0, every tensor by way of the host, no signals."""
    run = Neff(on_one_core(pipeline(3))).run(mode="timing").last
    ticks = [simulate(r.stage, TARGET).total_ticks for r in run.stages]
    assert [r.timeline.total_ticks for r in run.stages] == ticks
    assert [(r.core, r.wait_ticks) for r in run.stages] == [(0, 0)] * 3
    assert run.latency_seconds == pytest.approx(sum(ticks) / TARGET.tick_hz + 6 * host.link_seconds([SIZE], TARGET))


def test_the_trace_names_cores_and_has_the_signals() -> None:
    result = Neff(pipeline(3)).run(mode="timing")
    trace = result.trace
    assert trace.total_ticks == round(result.last.latency_seconds * TARGET.tick_hz)
    assert list(np.unique(trace.instructions["core"])) == [0, 1, 2]
    first, second = (trace.instructions["start"][trace.instructions["core"] == core] for core in (0, 1))
    arrived, signal = trace.host["end"][0], result.last.stages[1].wait_ticks
    assert second.min() >= arrived + signal + result.last.stages[0].timeline.total_ticks + signal > first.max()
    assert sum(layer.time for layer in result.summary.layers) <= result.stats["total_time"]
    assert result.stats["total_time"] == pytest.approx(result.last.device_seconds)


def test_throughput_is_that_of_the_slowest_stage() -> None:
    neff = Neff(pipeline(4))
    run = neff.run(mode="timing").last
    slowest = max(p.seconds for p in run.phases)
    assert neff.run(mode="timing", callers=1).stats["throughput_per_s"] == pytest.approx(1 / run.latency_seconds)
    assert neff.run(mode="timing", callers=8).stats["throughput_per_s"] == pytest.approx(1 / slowest)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_batches_at_once_have_their_own_values(threads: int) -> None:
    neff = Neff(pipeline(4))
    found = neff.run_batches([{"t0": DATA - k} for k in range(9)], threads=threads)
    for k, result in enumerate(found):
        assert result.outputs["t4"].tobytes() == np.maximum(DATA - k, 0).tobytes()
        assert result.time_ns == found[0].time_ns


def test_times_do_not_depend_on_threads() -> None:
    first, *others = (Neff(pipeline(16)).run(mode="timing", threads=n) for n in (1, 2, 5))
    for other in others:
        for column, values in first.trace.instructions.items():
            assert np.array_equal(values, other.trace.instructions[column]), column


def test_a_nan_is_explained_once() -> None:
    data = DATA.copy()
    data[1, 2] = np.nan
    with pytest.warns(NonFiniteWarning) as caught:
        result = Neff(pipeline(3)).run({"t0": data})
    assert [str(w.message) for w in caught] == ["input 't0' holds NaN; first read by layer 'relu'"]
    assert result.last.has_nan and np.isnan(result.outputs["t3"][1, 2])
    assert not Neff(pipeline(1)).run({"t0": DATA}).last.has_nan


# ---- refused
def test_more_cores_than_the_machine_has() -> None:
    with pytest.raises(ConfigError) as caught:
        Neff(pipeline(17)).run(mode="timing")
    error = caught.value
    assert (error.code, error.limit, error.actual) == ("CORES", 16, 17)
    assert error.help == "compile for fewer: --neuroncore-pipeline-cores 16, or run on inf1.24xlarge"
    assert Neff(pipeline(17)).run(mode="timing", instance="inf1.24xlarge").last.stages[-1].core == 16
    with pytest.raises(ConfigError) as none:
        Neff(pipeline(65)).run(mode="timing", instance="inf1.24xlarge")
    assert none.value.help == "compile for fewer: --neuroncore-pipeline-cores 64"


def renamed(program: Program) -> Program:
    return replace(program, nodes=[*program.nodes[:2], replace(program.nodes[2], upstream="absent")])


def skipping(program: Program) -> Program:
    return replace(program, nodes=[*program.nodes[:2], replace(program.nodes[2], upstream="n0")])


@pytest.mark.parametrize("change", [renamed, skipping])
def test_stages_that_do_not_meet(change: Callable[[Program], Program]) -> None:
    with pytest.raises(ContainerError):
        Neff(change(pipeline(3)))


def test_what_is_handed_on_is_nobody_elses() -> None:
    program = pipeline(3)
    outputs = [*program.outputs, replace(program.outputs[0], name="t1")]
    with pytest.raises(ErrorList) as caught:
        Neff(replace(program, outputs=outputs))
    assert [e.code for e in caught.value.errors] == ["INTERFACE"] and "'t1'" in str(caught.value)


def test_weights_that_stay_need_a_core_of_their_own() -> None:
    program = pinned()
    nodes = [*program.nodes, replace(program.nodes[0], name="m", stage=1)]
    with pytest.raises(ErrorList) as caught:
        Neff(replace(program, nodes=nodes, stages=[program.stages[0]] * 2))
    assert [(e.code, e.where, e.actual) for e in caught.value.errors] == [
        ("INTERFACE", "stage 0", "2 stages"), ("INTERFACE", "stage 1", "2 stages")]  # fmt: skip
    assert Neff(replace(program, nodes=[program.nodes[0], replace(nodes[1], stage=0)]))  # one stage, run twice


# ---- host threads
def test_spread_keeps_the_order_and_raises_the_first_failure() -> None:
    assert spread(lambda n: n * n, range(20), 4) == [n * n for n in range(20)]
    done = []

    def fail(n: int) -> None:
        done.append(n)
        time.sleep(0.001)
        if n in (3, 5):
            raise ValueError(n)

    with pytest.raises(ValueError, match="3"):
        spread(fail, range(1000), 2)
    assert len(done) < 1000
