"""Metrics, layers and inferred share of a run small enough to work out by hand."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from isa import target as targets
from isa.target import Target
from profiler.analyses.layers import layers
from profiler.metrics import metrics
from profiler.summary import bytes_text, seconds_text, summarise
from profiler.table import show
from tests.profiler.stages import program_of, trace_of, two_layer_stage

TARGET = targets.load("trn1.2xlarge")
# load 0..40; matmul 30..60; activation 50..100 (engines: 0 tensor, 2 scalar, 4 sync)
TRACE = trace_of([(0, 1, 30, 60), (2, 2, 50, 100), (4, 1, 0, 0)], [(0, 1, 0, 40)])
TRACE.transfers["bytes"][:] = TRACE.transfers["read"][:] = 16 * 32 * 4
PROGRAM = program_of(two_layer_stage())


def test_times_are_unions_and_percents_of_the_whole() -> None:
    m = metrics(TRACE, [PROGRAM], TARGET)
    assert m["total_time"] == pytest.approx(100e-6)
    assert m["neuroncore_cycle_count"] == 140_000
    assert m["tensor_engine_active_time"] == pytest.approx(30e-6)
    assert m["tensor_engine_active_time_percent"] == pytest.approx(30.0)
    assert m["scalar_engine_active_time_percent"] == pytest.approx(50.0)
    assert m["vector_engine_instruction_count"] == 0
    assert m["dma_active_time_percent"] == pytest.approx(40.0)
    assert m["total_active_time_percent"] == pytest.approx(100.0)


def test_work_is_read_from_words_and_descriptors() -> None:
    m = metrics(TRACE, [PROGRAM], TARGET)
    assert m["model_flops"] == 2 * 4096
    assert m["hardware_flops"] == 2 * 16 * 8 * 32
    assert m["transpose_flops"] == 0
    assert m["hbm_read_bytes"] == 16 * 32 * 4
    assert m["hbm_write_bytes"] == 0
    assert m["inputs_and_weights_size_bytes"] == 2048
    assert m["psum_write_bytes"] == 8 * 32 * 4
    assert m["psum_read_bytes"] == 8 * 32 * 4
    assert m["sbuf_read_bytes"] == 16 * 32 * 2
    assert m["sbuf_write_bytes"] == 8 * 32 * 4 + 2048  # the activation, and the load by DMA
    assert m["hfu_estimated_percent"] == pytest.approx(100 * 8192 / TARGET.peak_flops("bf16") / 100e-6)
    assert m["mfu_estimated_percent"] == pytest.approx(m["hfu_estimated_percent"])


def test_each_instant_counts_once() -> None:
    found = {layer.name: layer for layer in layers(TRACE, [PROGRAM], TARGET).layers}
    # DMA alone 0..30 and matmul alone 30..50 belong to fc, 50..60 is shared, 60..100 belongs to act
    assert found["fc"].time == pytest.approx(55e-6)
    assert found["act"].time == pytest.approx(45e-6)
    assert found["fc"].macs == 4096
    assert found["fc"].bytes == 2048
    assert found["act"].mfu_percent == 0.0


def test_transposes_are_hardware_work_but_not_model_work() -> None:
    stage = two_layer_stage()
    stage.streams["tensor"]["flags"] |= 4
    m = metrics(TRACE, [program_of(stage)], TARGET)
    assert m["transpose_flops"] == m["hardware_flops"] == 8192


def test_inferred_share_is_what_goes_away() -> None:
    asked: list[Target] = []

    def simulate(target: Target) -> float:
        asked.append(target)
        return 100e-6 * (0.4 + 0.6 * target.semaphore_latency_ns / TARGET.semaphore_latency_ns)

    assert "semaphore_latency_ns" in TARGET.inferred()
    summary = summarise(TRACE, [PROGRAM], TARGET, simulate)
    assert len(asked) == 3
    assert summary.metrics["inferred_share"] == pytest.approx(0.6, abs=1e-4)
    costs = summary.metrics["total_time_inferred_costs"]
    assert costs["x0.75"] == pytest.approx(85e-6)
    assert costs["x1.25"] == pytest.approx(115e-6)
    assert summary.metrics == {**metrics(TRACE, [PROGRAM], TARGET), **{k: summary.metrics[k] for k in (
        "inferred_share", "inferred_parameters", "total_time_inferred_costs")}}  # fmt: skip


def test_summary_text(golden: Callable[[str, str], None]) -> None:
    stream = io.StringIO()
    show(summarise(TRACE, [PROGRAM], TARGET, lambda t: 90e-6).tables(), stream)
    golden("summary.txt", stream.getvalue())


def test_text_names_layers_and_the_inferred_share() -> None:
    stream = io.StringIO()
    show(summarise(TRACE, [PROGRAM], TARGET, lambda t: 90e-6).tables(top=1), stream)
    text = stream.getvalue()
    assert "Longest 1 of 2 layers" in text
    assert "fc" in text
    assert "Relu" not in text
    assert "10 % of the device time rests on" in text


@pytest.mark.parametrize(
    "value, text", [(0.0, "0 ns"), (1.5e-3, "1.5 ms"), (0.9994, "999 ms"), (2.0, "2 s"), (4.2e-8, "42 ns")]
)
def test_seconds_text(value: float, text: str) -> None:
    assert seconds_text(value) == text


@pytest.mark.parametrize("value, text", [(0, "0 B"), (999, "999 B"), (1_500_000, "1.5 MB")])
def test_bytes_text(value: float, text: str) -> None:
    assert bytes_text(value) == text
