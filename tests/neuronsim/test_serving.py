"""Requests against closed forms, and against the rules said a second time (`serving_reference.py`)."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa import target as targets
from neuronsim._core import serving_state
from neuronsim.serving import Load, ModelPlan, ServingError, Step, closed, constant, poisson, serve
from neuronsim.serving.layout import lay_out
from neuronsim.serving.repeat import Mark, Repetition
from tests.neuronsim.serving_reference import Reference

TARGET = targets.load("inf1.6xlarge").with_params({"host.vcpus": 3})
CREDIT = TARGET.ns_to_ticks(TARGET.semaphore_latency_ns)


def pipeline(*ticks: int, link: tuple[int, int] = (100, 50), first_core: int = 0) -> tuple[Step, ...]:
    cores = [Step("core", first_core + i, t, upstream=i > 0) for i, t in enumerate(ticks)]
    return (Step("link", 0, link[0]), *cores, Step("link", 0, link[1]))


# ---- closed forms
def test_one_request_takes_the_sum_of_its_steps() -> None:
    stages = (700, 1200, 900)
    served = serve([ModelPlan("m", (pipeline(*stages),))], [closed(5, 1)], TARGET)
    alone = 100 + sum(stages) + len(stages) * CREDIT + 50
    assert (served.loads[0].end - served.loads[0].arrival).tolist() == [alone] * 5
    assert served.loads[0].end.tolist() == [alone * (i + 1) for i in range(5)]
    assert (served.method, served.exact) == ("recurrence", True)


def test_many_requests_take_the_slowest_stage() -> None:
    served = serve([ModelPlan("m", (pipeline(700, 1200, 900, 400),))], [closed(400, 12)], TARGET)
    assert served.loads[0].steady_per_s == pytest.approx(TARGET.tick_hz / (1200 + CREDIT))
    bubbles = [s.bubble_share for s in served.stages]
    assert bubbles[1] == pytest.approx(CREDIT / (1200 + CREDIT), rel=1e-2)
    assert bubbles[3] == pytest.approx(1 - 400 / (1200 + CREDIT), rel=1e-2)
    assert served.cores[1].utilization == pytest.approx(1200 / (1200 + CREDIT), rel=1e-2)


def test_a_stage_waits_for_one_of_two_buffers() -> None:
    """Before the slow second stage there are two pieces besides the one it works on; the first then stands still."""
    served = serve([ModelPlan("m", (pipeline(10, 1000, link=(1, 1)),))], [closed(50, 20)], TARGET)
    first = served.stages[0]
    assert first.runs == 50
    starts = served.loads[0].start  # of the transfer in, which has to wait for buffers too
    assert np.diff(starts)[10:40].tolist() == [1000 + CREDIT] * 30


def test_a_link_is_one_for_both_directions_and_all_copies() -> None:
    plan = ModelPlan("m", tuple(pipeline(10, link=(300, 200), first_core=c) for c in range(4)))
    served = serve([plan], [closed(200, 16)], TARGET)
    assert served.loads[0].steady_per_s == pytest.approx(TARGET.tick_hz / 500, rel=2e-2)


def test_copies_add_up() -> None:
    one, four = (
        serve([ModelPlan("m", tuple(pipeline(1000, first_core=c) for c in range(n)))], [closed(400, 4 * n)], TARGET)
        for n in (1, 4)
    )
    assert four.loads[0].steady_per_s == pytest.approx(4 * one.loads[0].steady_per_s, rel=1e-2)


def test_least_loaded_copies_finish_unequal_work_sooner() -> None:
    copies = (pipeline(100, link=(0, 0)), pipeline(1000, link=(0, 0), first_core=1))
    turns, least = (
        serve([ModelPlan("m", copies)], [closed(200, 8, policy=policy)], TARGET)
        for policy in ("round_robin", "least_loaded")
    )
    assert [s.runs for s in turns.stages] == [100, 100]
    assert least.stages[0].runs > 3 * least.stages[1].runs
    assert least.loads[0].throughput_per_s > 3 * turns.loads[0].throughput_per_s


def test_models_on_one_core_switch_and_it_is_counted() -> None:
    plans = [ModelPlan(n, ((Step("core", 2, 1000, switch_ticks=5000),),)) for n in "ab"]
    served = serve(plans, [closed(10, 1), closed(10, 1)], TARGET)
    assert [c.index for c in served.cores] == [2]
    assert served.cores[0].switches == 19
    assert served.cores[0].switch_ns == pytest.approx(19 * 5000)
    assert served.ticks == 20 * (1000 + CREDIT) + 19 * 5000


def test_rows_are_cut_into_pieces_and_padded() -> None:
    plan = ModelPlan("m", (pipeline(1000), pipeline(1000, first_core=1)), batch=4)
    served = serve([plan], [closed(3, 1, rows=[4, 9, 1])], TARGET)
    load = served.loads[0]
    assert (load.pieces, load.padding) == (1 + 3 + 1, 3 + 3)
    assert [s.runs for s in served.stages] == [3, 2]
    assert (load.end - load.arrival).tolist() == [1150 + CREDIT, 2150 + 2 * CREDIT, 1150 + CREDIT]


def test_an_open_queue_is_that_of_the_textbook() -> None:
    """M/D/1: the mean wait is rho / (2 (1 - rho)) services, the mean queue the rate times that."""
    ticks, share = 100_000, 0.7
    step = Step("core", 0, ticks - CREDIT)
    served = serve([ModelPlan("m", ((step,),))], [poisson(200_000, share * TARGET.tick_hz / ticks, seed=3)], TARGET)
    wait = (served.loads[0].start - served.loads[0].arrival).mean() / ticks
    assert wait == pytest.approx(share / (2 * (1 - share)), rel=0.05)
    assert served.stages[0].queue_mean == pytest.approx(share * wait, rel=0.02)


# ---- the rules, twice
TICKS = st.one_of(st.integers(0, 5), st.integers(0, 10**5))
STEPS = st.builds(
    lambda kind, where, ticks, switch: Step(kind, {"cpu": 0, "link": where % 2, "core": where}[kind], ticks,
                                            switch_ticks=switch),
    st.sampled_from(["cpu", "link", "core", "core"]), st.integers(0, 4), TICKS, TICKS)


@st.composite
def problems(draw: st.DrawFn, regular: bool = False) -> tuple[list[ModelPlan], list[Load], list[list[int]]]:
    models, loads, arrivals = [], [], []
    for number in range(draw(st.integers(1, 3))):
        first = draw(st.lists(STEPS, min_size=1, max_size=6))
        more = draw(st.lists(st.lists(st.tuples(st.integers(0, 4), TICKS), min_size=len(first), max_size=len(first)),
                             max_size=2))
        copies = [first] + [
            [replace(s, where=0 if s.kind == "cpu" else w % 2 if s.kind == "link" else w, ticks=t)
             for s, (w, t) in zip(first, row)] for row in more]
        models.append(ModelPlan(f"m{number}", tuple(map(tuple, copies)), batch=draw(st.integers(1, 3))))
        requests = draw(st.integers(1, 200 if regular else 20))
        options = {"policy": draw(st.sampled_from(["round_robin", "least_loaded"])), "rows": draw(st.integers(0, 4))}
        times: list[int] = []
        if draw(st.booleans()):
            loads.append(closed(requests, draw(st.integers(1, 8)), **options))
        elif regular:
            loads.append(Load(requests, interval_s=draw(st.integers(1, 1000)) / TARGET.tick_hz, **options))
        else:
            times = sorted(draw(st.lists(TICKS, min_size=requests, max_size=requests)))
            loads.append(Load(requests, arrivals=np.array(times) / TARGET.tick_hz, **options))
        arrivals.append(times)
    return models, loads, arrivals


@settings(max_examples=150, deadline=None)
@given(problems(), st.integers(0, 2))
def test_the_rules_said_twice(problem: tuple[list[ModelPlan], list[Load], list[list[int]]], credit: int) -> None:
    models, loads, arrivals = problem
    loop = lay_out(models, loads, TARGET).loop(TARGET, credit=credit)
    loop.advance(10**9)
    reference = Reference(models, loads, arrivals, TARGET.host_vcpus, credit)
    reference.run()
    for mine, theirs in ((loop.arrival, reference.arrived), (loop.start, reference.started),
                         (loop.end, reference.ended)):
        assert mine.tolist() == list(chain.from_iterable(theirs))
    switches = serving_state.core_counters(loop)[:, 1]
    assert {c: int(n) for c, n in enumerate(switches) if n} == reference.switches


@settings(max_examples=80, deadline=None)
@given(problems(regular=True))
def test_a_pattern_is_extended_exactly(problem: tuple[list[ModelPlan], list[Load], list[list[int]]]) -> None:
    models, loads, _ = problem
    layout = lay_out(models, loads, TARGET)
    through, extended = layout.loop(TARGET), layout.loop(TARGET)
    through.advance(10**9)
    assert Repetition(layout.requests).run(extended, lambda runs: True)
    for column in ("arrival", "start", "end"):
        np.testing.assert_array_equal(getattr(extended, column), getattr(through, column))
    a, b = Mark.of(through), Mark.of(extended)
    assert a.tick == b.tick
    np.testing.assert_array_equal(a.cores, b.cores)
    np.testing.assert_array_equal(a.stations, b.stations)
    np.testing.assert_allclose(a.area, b.area, rtol=1e-12)


def test_a_pattern_is_found_early() -> None:
    layout = lay_out([ModelPlan("m", (pipeline(700, 1200, 900),))], [closed(1_000_000, 9)], TARGET)
    loop, looked = layout.loop(TARGET), []
    Repetition(layout.requests).run(loop, lambda runs: looked.append(1) or True)
    assert len(looked) < 50
    assert loop.end[-1] > 999_000 * 1200


@settings(max_examples=60, deadline=None)
@given(problems())
def test_bounds(problem: tuple[list[ModelPlan], list[Load], list[list[int]]]) -> None:
    """Each request once, in time; no core does more than it can; same question, same answer."""
    models, loads, _ = problem
    served, again = serve(models, loads, TARGET), serve(models, loads, TARGET)
    for load, same, asked, model in zip(served.loads, again.loads, loads, models):
        assert len(load.end) == asked.requests
        assert (load.arrival <= load.start).all() and (load.start <= load.end).all()
        assert (np.diff(load.arrival) >= 0).all()
        fastest = min(sum(s.ticks for s in steps) for steps in model.replicas)
        assert (load.end - load.arrival >= fastest).all()
        if len(model.replicas) == 1 and all(s.kind != "cpu" for s in model.replicas[0]):
            assert (np.diff(load.end) >= 0).all()  # first in, first out
        np.testing.assert_array_equal(load.end, same.end)
    for core in served.cores:
        assert 0 <= core.utilization <= 1
    for step in served.steps:
        assert step.runs <= served.loads[step.model].pieces
        assert 0 <= step.bubble_share <= 1 and step.queue_mean <= step.queue_max
    assert sum(s.runs for s in served.steps if s.position == 0) == sum(load.pieces for load in served.loads)


# ---- loads
def test_bad_loads_and_plans_are_refused() -> None:
    plan = ModelPlan("m", (pipeline(10),))
    for bad in (
        lambda: Load(5), lambda: Load(5, in_flight=1, interval_s=1.0), lambda: Load(-1, in_flight=1),
        lambda: Load(2, arrivals=np.array([1.0, 0.5])), lambda: Load(2, arrivals=np.array([0.0, np.nan])),
        lambda: Load(2, in_flight=-1, interval_s=1.0), lambda: Load(0, interval_s=float("inf")),
        lambda: serve([plan], [Load(3, arrivals=np.zeros(2))], TARGET),
        lambda: Load(5, in_flight=1, policy="random"), lambda: constant(5, 0.0), lambda: poisson(5, float("nan")),
        lambda: serve([plan], [], TARGET), lambda: serve([plan], [closed(3, 1)], TARGET, method="guess"),
        lambda: serve([plan], [closed(3, 1, rows=[1, 2])], TARGET),
        lambda: serve([plan], [closed(3, 1, rows=[1, 0, 2])], TARGET),
        lambda: serve([ModelPlan("m", ())], [closed(3, 1)], TARGET),
        lambda: serve([ModelPlan("m", ((Step("core", 16, 1),),))], [closed(3, 1)], TARGET),
        lambda: serve([ModelPlan("m", ((Step("core", 0, 2**60),),))], [closed(3, 1)], TARGET),
    ):
        with pytest.raises(ServingError):
            bad()


def test_no_requests_are_served_at_once() -> None:
    served = serve([ModelPlan("m", (pipeline(10),))], [closed(0, 1)], TARGET)
    assert served.ticks == 0
    assert served.to_json()["loads"][0]["throughput_per_s"] == 0


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    serve([ModelPlan("m", (pipeline(10),))], [poisson(3000, 1e5)], TARGET,
          on_progress=lambda done, total, use: told.append((done, total)) or None)
    assert told[-1] == (3000, 3000)
