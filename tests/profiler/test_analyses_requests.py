"""All analyses over requests in flight: pipelines, several models, switches, CPU segments, dropped rows, nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from isa import target as targets
from isa.program import Program
from isa.trace import Trace
from neuronsim.api import Neff
from neuronsim.runtime import Instance
from neuronsim.runtime.environment import GROUP_SIZES, NUM_CORES
from neuronsim.serving import Load, closed, poisson
from profiler.analyses.run_paths import REASONS, Reason
from profiler.summary import SCHEMA, Summary, summarise
from tests.neuronsim.host_models import sandwich
from tests.neuronsim.serving_programs import program
from tests.profiler.recorded import total_ticks_of

XLARGE = targets.load("inf1.xlarge")


def profiled(
    programs: Sequence[Program], loads: Sequence[Load], environ: dict[str, str], max_rows: int = 10**6
) -> Summary:
    with Instance("inf1.xlarge", environ, private=True) as instance:
        models = [instance.load(p) for p in programs]
        return instance.profile(list(zip(models, loads, strict=True)), max_rows).summary


def check(found: Summary) -> None:
    """What holds for every trace."""
    total = found.trace.total_ticks
    assert total_ticks_of(found.stalls.direct, total) and total_ticks_of(found.stalls.root, total)
    path = found.critical_path
    assert np.array_equal(path.start[1:], path.end[:-1]) and sum(path.by_reason().values()) == total
    for chain in found.pipeline.chains:
        assert all(s.busy + s.others + sum(s.bubbles.values()) == total for s in chain.stages)
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert document["schema"] == SCHEMA
    assert all(table.plain() for table in found.report())


def test_a_pipeline_under_load() -> None:
    found = profiled([program(4, 128, 2, pipeline=4)], [closed(12, 8)], {NUM_CORES: "4"})
    check(found)
    (chain,) = found.pipeline.chains
    assert [s.runs for s in chain.stages] == [12] * len(chain.stages)
    assert len(chain.stages) == 4
    # while it fills, later stages wait for input; at the end, earlier ones have nothing to do
    assert chain.stages[0].bubbles["fill"] < chain.stages[-1].bubbles["fill"]
    assert chain.stages[0].bubbles["drain"] > chain.stages[-1].bubbles["drain"]


def test_one_request_at_a_time_leaves_stages_starved() -> None:
    found = profiled([program(4, 128, 2, pipeline=4)], [closed(6, 1)], {NUM_CORES: "4"})
    check(found)
    rules = {f.rule: f for f in found.advice.findings}
    assert rules["too_few_in_flight"].value > 50
    assert "--in-flight 8" in rules["too_few_in_flight"].change
    # the path passes every stage of every request
    runs = found.critical_path.run
    assert len(np.unique(runs[runs >= 0])) == len(found.trace.runs["start"])


def test_models_that_share_a_core_switch() -> None:
    programs = [program(2, 128, 2), program(3, 128, 2)]
    found = profiled(programs, [closed(4, 1), closed(4, 1)], {GROUP_SIZES: "1"})
    check(found)
    assert "model_switches" in {f.rule for f in found.advice.findings}
    assert found.critical_path.by_reason()["switch"] > 0
    assert {layer.model for layer in found.layers} == {0, 1}


def test_requests_that_come_seldom_leave_no_work() -> None:
    found = profiled([program(2, 128, 2)], [poisson(5, per_second=100.0, seed=1)], {NUM_CORES: "1"})
    check(found)
    assert found.critical_path.by_reason()["no_work"] > 0.5 * found.trace.total_ticks


def test_a_host_segment_in_the_middle_is_on_the_path() -> None:
    found = Neff(sandwich()).profile(requests=2).summary
    check(found)
    assert found.critical_path.by_reason()["cpu"] > 0.5 * found.trace.total_ticks
    assert "host_cpu" in {f.rule for f in found.advice.findings}


def test_a_trace_that_ends_early_or_is_empty() -> None:
    programs = [program(4, 128, 2, pipeline=4)]
    whole = profiled(programs, [closed(8, 4)], {NUM_CORES: "4"})
    rows = sum(len(getattr(whole.trace, t)["start"]) for t in ("runs", "instructions", "transfers", "host"))
    part = profiled(programs, [closed(8, 4)], {NUM_CORES: "4"}, rows // 2)
    check(part)
    assert part.as_json()["dropped"] and part.as_json()["notes"]
    assert part.critical_path.by_reason()[REASONS[Reason.NOT_RECORDED]] > 0
    nothing = profiled(programs, [closed(8, 4)], {NUM_CORES: "4"}, 1)
    check(nothing)
    assert not nothing.advice.findings


def test_layers_keep_whatever_names_they_have() -> None:
    found = profiled([program(1, 128, 2)], [closed(1, 1)], {NUM_CORES: "1"})
    names = ['<b>"&\n', "x" * 5000, "\x1b[31m"]
    made = found.programs[0]
    stage = made.stages[0]
    stage.debug = [type(d)(names[k % 3], d.op_type, d.source, d.purpose, d.macs) for k, d in enumerate(stage.debug)]
    trace: Trace = found.trace
    again = summarise(trace, [made], XLARGE)
    assert {layer.name for layer in again.layers} <= set(names)
    json.loads(json.dumps(again.as_json()))
