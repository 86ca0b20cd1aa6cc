"""Stages started again and again: the compiled machine and its plain twin agree in every tick and every state."""
from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.target import Target
from neuronsim import timing
from neuronsim.timing import Placed
from neuronsim.units import machine as plain
from neuronsim.units.model import Solution
from neuronsim.units.prepare import prepare
from tests.neuronsim.test_timing_twin import programs
from tests.neuronsim.timing_slots import CHAIN, TORUS, Driver, Step, placements, steps


@pytest.mark.parametrize("machine, gpsimd", [(CHAIN, False), (TORUS, True)])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_twins_agree_over_many_runs(machine: Target, gpsimd: bool, data: st.DataObject) -> None:
    placed = data.draw(placements(programs(gpsimd=gpsimd), machine.cores))
    check_twins(placed, machine, data.draw(steps(40_000)))


def check_twins(placed: list[Placed], machine: Target, history: list[Step]) -> None:
    assert timing.compiled is not None
    problem = prepare(placed, machine)
    compiled, reference = Driver(timing.compiled.Machine(problem)), Driver(plain.Machine(problem))
    for step in history:
        assert compiled.step(step) == reference.step(step)
        assert compiled.machine.now == reference.machine.now
        assert compiled.machine.state() == reference.machine.state()
    assert compiled.finish() == reference.finish()
    for f in fields(Solution):
        a, b = (getattr(d.machine.solution, f.name) for d in (compiled, reference))
        assert np.array_equal(a, b), f.name


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data(), later=st.integers(1, 10**15))
def test_a_run_does_not_depend_on_what_was_before(data: st.DataObject, later: int) -> None:
    """After everything has ended and some time has passed, all is as on a new machine, at any tick."""
    assert timing.compiled is not None
    placed = data.draw(placements(programs(), TORUS.cores))
    history, scenario = data.draw(steps(40_000)), data.draw(steps(40_000))
    problem = prepare(placed, TORUS)
    used, new = (Driver(timing.compiled.Machine(problem)) for _ in range(2))
    for step in history:
        used.step(step)
    used.finish()
    used.machine.advance(used.machine.now + 10**9 + later)
    for step in scenario:
        assert used.step(step) == new.step(step)
        assert used.machine.state() == new.machine.state()
    assert used.finish() == new.finish()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_reset_is_as_new_even_in_the_middle_of_runs(data: st.DataObject) -> None:
    assert timing.compiled is not None
    placed = data.draw(placements(programs(), TORUS.cores))
    history, scenario = data.draw(steps(40_000)), data.draw(steps(40_000))
    problem = prepare(placed, TORUS)
    for kind in (timing.compiled.Machine, plain.Machine):
        used, new = Driver(kind(problem)), Driver(kind(problem))
        for step in history:
            used.step(step)
        used.machine.advance(used.machine.now + 10**6)
        used.machine.reset()
        used = Driver(used.machine)
        for step in scenario:
            assert used.step(step) == new.step(step)
            assert used.machine.state() == new.machine.state()
        assert used.finish() == new.finish()
