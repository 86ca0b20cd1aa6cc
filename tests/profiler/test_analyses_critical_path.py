"""The chain of causes: no gaps, no overlaps, and it names what a program is bound by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from isa.program import Program
from isa.target import Target
from isa.trace import Trace
from neuronsim.execution import Machine
from profiler.analyses.critical_path import CriticalPath, critical_path
from profiler.analyses.run_paths import REASONS, Reason, run_paths
from tests.neuronsim.bound_programs import BOUND
from tests.profiler.recorded import recordings


@settings(max_examples=50, deadline=None, derandomize=True)
@given(recordings())
def test_every_tick_is_on_the_path_once(recorded: tuple[Trace, list[Program], Target]) -> None:
    trace, programs, target = recorded
    found = critical_path(trace, programs, target)
    assert (found.end > found.start).all()
    assert np.array_equal(found.start[1:], found.end[:-1])
    assert sum(found.by_reason().values()) == trace.total_ticks
    assert sum(n for _, n in found.by_layer()) == trace.total_ticks
    if trace.total_ticks:
        assert found.start[0] == 0 and found.end[-1] == trace.total_ticks
    assert not found.by_reason().get("not_recorded")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(recordings())
def test_each_run_is_explained_from_its_start_to_its_end(recorded: tuple[Trace, list[Program], Target]) -> None:
    trace, _, target = recorded
    steps, runs = run_paths(trace, target), trace.runs
    lengths = np.bincount(steps.run, steps.end - steps.start, minlength=len(runs["start"]))
    assert np.array_equal(lengths, runs["end"] - runs["start"])
    same = steps.run[1:] == steps.run[:-1]
    assert np.array_equal(steps.start[1:][same], steps.end[:-1][same])


def of_bound(*names: str) -> CriticalPath:
    program, target = BOUND[names]()
    return critical_path(Machine(program, target).run([{}], False, 1)[0].trace(program, target), [program], target)


EXPECTED = {
    ("tensor engine",): Reason.ISSUE,
    ("vector engine",): Reason.ISSUE,
    ("DMA engines",): Reason.DMA_SERVICE,
    ("DMA start latency",): Reason.DMA_START,
    ("semaphore latency",): Reason.SIGNAL,
    ("host link",): Reason.HOST_LINK,
}


@pytest.mark.parametrize("names", list(EXPECTED), ids=" and ".join)
def test_most_of_the_path_is_what_binds(names: tuple[str, ...]) -> None:
    found = of_bound(*names).by_reason()
    assert max(found, key=lambda reason: found[reason]) == REASONS[EXPECTED[names]]


def test_the_path_leads_through_the_engine_at_work_and_all_stages() -> None:
    assert set(of_bound("vector engine").by_engine()) == {"vector"}
    assert set(of_bound("tensor engine").by_engine()) == {"tensor"}
    assert list(np.unique(of_bound("stage balance").run)) == [-1, 0, 1]
