"""Requests on the machine itself: plans of compiled programs, what the methods owe to it, contention and switching."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isa import target as targets
from neuronsim.serving import ModelPlan, Served, ServingError, closed, constant, poisson, serve
from neuronsim.serving.planning import plan
from tests.neuronsim.host_models import sandwich
from tests.neuronsim.serving_programs import placed, program

XLARGE, LARGE = targets.load("inf1.xlarge"), targets.load("inf1.6xlarge")
CREDIT = XLARGE.ns_to_ticks(XLARGE.semaphore_latency_ns)
LOAD = 0.7  # of what the machine can do


def assert_same(a: Served, b: Served) -> None:
    for mine, theirs in zip(a.loads, b.loads, strict=True):
        for column in ("arrival", "start", "end"):
            np.testing.assert_array_equal(getattr(mine, column), getattr(theirs, column))
    assert [(c.index, c.busy_ns, c.switches) for c in a.cores] == [(c.index, c.busy_ns, c.switches) for c in b.cores]
    assert [(s.runs, s.switches) for s in a.steps] == [(s.runs, s.switches) for s in b.steps]
    np.testing.assert_array_equal(a.dram_bytes, b.dram_bytes)


def at_load(models: list[ModelPlan], target: targets.Target, requests: int = 1000) -> list:
    """Poisson arrivals at a share of the rate that each model reaches when all are kept busy."""
    most = serve(models, [closed(300, 4 * len(m.replicas[0])) for m in models], target, "machine").loads
    return [poisson(requests, LOAD * m.steady_per_s, seed=i) for i, m in enumerate(most)]


# ---- plans
def test_a_pipeline_is_a_transfer_in_its_stages_and_a_transfer_out() -> None:
    compiled = program(8, 512, 64, pipeline=4)
    steps = placed(compiled, (0, 1, 2, 3)).replicas[0]
    assert [s.kind for s in steps] == ["link", *["core"] * 4, "link"]
    assert [s.where for s in steps[1:-1]] == [0, 1, 2, 3]
    assert [s.upstream for s in steps[1:-1]] == [False, True, True, True]
    bytes_in = 64 * 512 * 2  # as bf16, which the host makes of float32
    assert steps[0].ticks == round(bytes_in / XLARGE.host_bytes_per_ns * XLARGE.tick_hz / 1e9)
    assert all(s.switch_ticks > XLARGE.ns_to_ticks(XLARGE.switch_ns) for s in steps[1:-1])  # weights to be pinned


def test_segments_of_the_host_are_steps_too() -> None:
    compiled = sandwich()
    model = plan(compiled, targets.load(compiled.target), [[0]])
    kinds = [s.kind for s in model.replicas[0]]
    assert kinds.count("cpu") == sum(n.kind == "cpu" for n in compiled.nodes) > 0
    assert kinds.count("link") == 2 * kinds.count("core") > 0


def test_copies_need_the_programs_cores() -> None:
    with pytest.raises(ServingError, match="as many different cores"):
        placed(program(8, 512, 64, pipeline=4), (0, 1, 2))
    with pytest.raises(ServingError, match="as many different cores"):
        placed(program(8, 512, 64, pipeline=4), (0, 1, 2, 2))


# ---- closed forms on the machine
def test_one_in_flight_takes_the_sum_of_stages_and_transfers() -> None:
    model = placed(program(8, 512, 64, pipeline=4), (0, 1, 2, 3))
    served = serve([model], [closed(6, 1)], XLARGE, "machine")
    alone = sum(s.ticks for s in model.replicas[0]) + 4 * CREDIT
    assert (served.loads[0].end - served.loads[0].arrival).tolist() == [alone] * 6


def test_many_in_flight_take_the_slowest_stage() -> None:
    """Or both transfers, where the host link is slower."""
    for batch, link_is_slower in ((16, False), (64, True)):
        model = placed(program(8, 512, batch, pipeline=4), (0, 1, 2, 3))
        (steps,) = model.replicas
        stage, link = max(s.ticks for s in steps if s.kind == "core"), steps[0].ticks + steps[-1].ticks
        assert (link > stage) == link_is_slower
        served = serve([model], [closed(400, 16)], XLARGE, "machine")
        assert served.loads[0].steady_per_s == pytest.approx(XLARGE.tick_hz / max(stage, link), rel=0.02)


# ---- methods
def test_what_shares_nothing_is_exact_without_the_machine() -> None:
    """Cores 3 and 4 are on different chips: the stage that reads inputs and the one that writes outputs never meet."""
    model = placed(program(4, 512, 64, "inf1.6xlarge", pipeline=2), (3, 4), target=LARGE)
    loads = [poisson(400, 0.9 * LARGE.tick_hz / max(s.ticks for s in model.replicas[0]), seed=1)]
    chosen = serve([model], loads, LARGE)
    assert (chosen.method, chosen.exact) == ("recurrence", True)
    assert_same(chosen, serve([model], loads, LARGE, "machine"))


@pytest.mark.parametrize("load", [closed(400, 8), constant(400, 3000.0)], ids=["closed", "constant"])
def test_a_pattern_on_the_machine_is_extended_exactly(load: object) -> None:
    model = placed(program(6, 1024, 128), (0,), (1,), (2,), (3,))
    extended = serve([model], [load], XLARGE, "extended")
    assert (extended.method, extended.exact) == ("extended", True)
    assert_same(extended, serve([model], [load], XLARGE, "machine"))


def test_auto_takes_what_is_exact_and_fast_enough() -> None:
    model = placed(program(4, 768, 64), (0,), (1,), (2,), (3,))
    assert serve([model], [poisson(100, 5e3)], XLARGE).method == "machine"
    assert serve([model], [closed(100_000, 8)], XLARGE, words=10**6).method == "extended"
    random = serve([model], [poisson(1000, 5e3)], XLARGE, words=10**4)
    assert (random.method, random.exact) == ("approximate", False)
    assert serve([model], [closed(100_000, 8)], XLARGE, "extended", words=100).method == "approximate"
    with pytest.raises(ServingError, match="random"):
        serve([model], [poisson(10, 5e3)], XLARGE, "extended")


def test_a_million_requests_that_repeat() -> None:
    model = placed(program(6, 1024, 128), (0,), (1,), (2,), (3,))
    served = serve([model], [closed(1_000_000, 8)], XLARGE)
    assert (served.method, served.exact) == ("extended", True)
    assert served.loads[0].end[-1] == served.ticks
    assert sum(s.runs for s in served.stages) == 1_000_000


# ---- the request-level model against the machine
def small_memory(path: Path) -> str:
    file = path / "small.yaml"
    file.write_text("extends: inf1.xlarge\nparameters:\n  sbuf.partition_bytes: 16384\n", encoding="utf-8")
    return str(file)


def assert_close(models: list[ModelPlan], target: targets.Target) -> None:
    loads = at_load(models, target)
    exact, close = (serve(models, loads, target, method) for method in ("machine", "approximate"))
    assert max(s.contention for s in exact.stages) > 0.1
    for a, b in zip(close.loads, exact.loads, strict=True):
        for percent in (50, 99):
            assert a.percentile_s(percent) == pytest.approx(b.percentile_s(percent), rel=0.02)


@pytest.mark.parametrize("batch", [1, 64, 512])
def test_copies_bound_by_memory(batch: int) -> None:
    assert_close([placed(program(4, 768, batch), (0,), (1,), (2,), (3,))], XLARGE)


def test_runs_that_never_meet_take_their_own_time() -> None:
    model = placed(program(4, 768, 1), (0,), (1,), (2,), (3,))
    exact, close = (serve([model], [constant(20, 2000.0)], XLARGE, m) for m in ("machine", "approximate"))
    assert_same(close, exact)


def test_a_pipeline_that_streams_part_of_its_weights(tmp_path: Path) -> None:
    target = targets.load(small_memory(tmp_path))
    compiled = program(8, 1024, 32, target=small_memory(tmp_path), pipeline=4)
    assert any(s.info["pinned_bytes"] for s in compiled.stages)
    assert sum(s.info["streamed_bytes"] > 0 for s in compiled.stages) >= 2
    assert_close([placed(compiled, (0, 1, 2, 3), target=target)], target)


def test_two_models_on_two_groups_agree() -> None:
    assert_close([placed(program(4, 768, 64), (0,), (1,)), placed(program(4, 768, 512), (2,), (3,))], XLARGE)


# ---- several models
def test_two_groups_contend_for_memory_only() -> None:
    """Each model runs as it does alone but for the DRAM, and the report says how much that was."""
    models = [placed(program(4, 768, 64), (0,)), placed(program(4, 768, 512), (1,))]
    together = serve(models, [closed(100, 2), closed(100, 2)], XLARGE, "machine")
    for i, model in enumerate(models):
        apart = serve([model], [closed(100, 2)], XLARGE, "machine")
        (alone,), mine = apart.stages, together.stages[i]
        assert alone.contention == 0
        assert mine.alone_ns == alone.together_ns
        assert mine.together_ns > mine.alone_ns
    on_two_chips = [placed(program(4, 768, 64, "inf1.6xlarge"), (0,), target=LARGE),
                    placed(program(4, 768, 512, "inf1.6xlarge"), (4,), target=LARGE)]
    for stage in serve(on_two_chips, [closed(100, 2), closed(100, 2)], LARGE, "machine").stages:
        assert stage.contention == 0


def test_four_models_on_two_groups_switch_and_it_is_counted() -> None:
    models = [placed(program(4, 512, 64, pipeline=1), (i % 2,)) for i in range(4)]
    served = serve(models, [closed(20, 1)] * 4, XLARGE, "machine")
    each = models[0].replicas[0][1].switch_ticks
    assert [c.switches for c in served.cores] == [39, 39]
    assert served.cores[0].switch_ns == pytest.approx(39 * XLARGE.ticks_to_ns(each))
    assert [s.switches for s in served.stages] == [19, 19, 20, 20]  # the first runs find their cores empty
    many = [serve(models, [closed(200, 1)] * 4, XLARGE, method) for method in ("extended", "machine")]
    assert many[0].method == "extended"
    assert_same(*many)
    alone = serve(models[:2], [closed(20, 1)] * 2, XLARGE, "machine")
    assert [c.switches for c in alone.cores] == [0, 0]
    assert served.ticks > 39 * each > alone.ticks
