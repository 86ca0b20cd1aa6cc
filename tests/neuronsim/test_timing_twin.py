"""Random legal programs: compiled and plain loop agree event for event, and the answer obeys the machine's laws."""
from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa import target
from isa.program import Stage
from isa.target import Target
from isa.trace import Cause
from isa.word import ENGINES, PSUM, SBUF
from neuronsim import timing
from neuronsim.timing import Timeline
from neuronsim.units import machine as plain
from neuronsim.units.model import BLOCKED, MATMUL, TRIGGER, Placed, Problem, Solution
from neuronsim.units.prepare import prepare
from tests.neuronsim.timing_programs import activation, copy, dram_to_sbuf, load, matmul, stage, trigger, word

NAMES = ("v1", "trn1.2xlarge", "trn2.48xlarge")
MACHINES = {name: target.load(name) for name in NAMES}
MACHINES["tight"] = target.load("trn1.2xlarge").with_params(
    {"dram.bytes_per_ns": 50.0, "semaphore_latency_ns": 0.0, "dma.start_latency_ns": 20.0, "scalar.latency_cycles": 0})
MACHINES["instant"] = MACHINES["tight"].with_params(  # infinite resources: many events in one tick
    {"vector.clock_ghz": float("inf"), "sync.clock_ghz": float("inf"), "gpsimd.clock_ghz": float("inf"),
     "dma.start_latency_ns": 0.0, "dma.bytes_per_ns": float("inf"), "dma.t0_ns": 0.0})


@st.composite
def programs(draw: st.DrawFn, gpsimd: bool = True) -> Stage:
    """Words in one global order; each may wait only for posts of earlier words, so that a program always ends."""
    descriptors = [dram_to_sbuf(p, 4 * draw(st.integers(1, 3000)), first_partition=f) for p, f in
                   draw(st.lists(st.tuples(st.integers(1, 64), st.integers(0, 64)), min_size=1, max_size=4))]
    engines = [e for e in ENGINES if gpsimd or e != "gpsimd"]
    streams: dict[str, list[np.ndarray]] = {e: [] for e in engines}
    posted: dict[int, int] = {}
    for _ in range(draw(st.integers(1, 40))):
        engine = draw(st.sampled_from(engines))
        waited = draw(st.lists(st.sampled_from(sorted(posted)), max_size=2, unique=True)) if posted else []
        waits = tuple((s, draw(st.integers(1, posted[s]))) for s in waited)
        new = _word(draw, engine, waits, len(descriptors))
        semaphore = int(new["post_sem"][0])
        if semaphore:
            is_trigger = semaphore >= 16
            posted[semaphore] = posted.get(semaphore, 0) + (16 if is_trigger else int(new["post_inc"][0]))
        streams[engine].append(new)
    return stage(descriptors, **streams)


def _word(draw: st.DrawFn, engine: str, waits: tuple[tuple[int, int], ...], descriptors: int) -> np.ndarray:
    post = (ENGINES.index(engine) + 1, draw(st.integers(1, 3))) if draw(st.booleans()) else (0, 0)
    if draw(st.integers(0, 4)) == 0:
        first = draw(st.integers(0, descriptors - 1))
        return trigger(first, draw(st.integers(0, descriptors - first)), draw(st.integers(0, 3)),
                       draw(st.sampled_from([0, 16, 17, 18])), wait=waits)
    address = st.sampled_from([0, 64, 4096, 8192])
    n = draw(st.sampled_from([1, 3, 64, 100, 512]))
    if engine == "tensor":
        kind = draw(st.sampled_from(["load", "matmul", "nop"]))
        if kind != "nop":
            if kind == "load":
                return load(0, min(n, 128), wait=waits, post=post)
            return matmul(n, wait=waits, post=post)
    elif engine == "scalar" and draw(st.booleans()):
        pointer = (draw(address), 0, 1, 1, 0) if draw(st.booleans()) else (0, 0, 0, 0, 0)
        return activation(draw(address), draw(address), n, wait=waits, post=post, ptr1=pointer)
    elif engine in ("vector", "scalar", "gpsimd"):
        space = SBUF if engine == "gpsimd" else draw(st.sampled_from([SBUF, PSUM]))
        return copy(draw(address), draw(address), n, space=space, wait=waits, post=post)
    return word("nop", wait=waits, post=post)


def solutions(program: Stage, machine: Target, cores: int = 1) -> tuple[Problem, Solution, Solution, bool]:
    """Both answers to a run of the program on each of the first cores, and whether it ended in a deadlock."""
    assert timing.compiled is not None
    problem = prepare([Placed(program, core) for core in range(cores)], machine)
    compiled, ends = run_all(timing.compiled.Machine(problem))
    reference, expected = run_all(plain.Machine(problem))
    assert ends == expected
    return problem, compiled, reference, ends[-1][0] == BLOCKED


def run_all(machine: Any) -> tuple[Solution, list[tuple[int, int]]]:
    """Start every slot at tick 0 and return the times and the ends, or BLOCKED, in order."""
    for slot in range(machine.problem.slots):
        machine.start(slot, 0)
    ends: list[tuple[int, int]] = []
    while len(ends) < machine.problem.slots and (not ends or ends[-1][0] != BLOCKED):
        ends.append((machine.advance(1 << 60), machine.now))
    return machine.solution, ends


def assert_equal(a: Solution, b: Solution) -> None:
    for f in fields(Solution):
        assert np.array_equal(getattr(a, f.name), getattr(b, f.name)), f.name


@pytest.mark.parametrize("name", list(MACHINES))
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_twins_agree_and_laws_hold(name: str, data: st.DataObject) -> None:
    machine = MACHINES[name]
    program = data.draw(programs(gpsimd=name != "v1"))
    problem, compiled, reference, deadlock = solutions(program, machine)
    assert_equal(compiled, reference)
    assert not deadlock
    check_words(problem, compiled)
    check_roofline(problem, timing.simulate(program, machine), machine)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(program=programs(), cores=st.integers(2, 4))
def test_twins_agree_on_several_cores(program: Stage, cores: int) -> None:
    machine = target.load("trn1.32xlarge").with_params({"dram.bytes_per_ns": 30.0})
    _, compiled, reference, _ = solutions(program, machine, cores)
    assert_equal(compiled, reference)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(program=programs(), engine=st.sampled_from(ENGINES), raised=st.integers(1, 5))
def test_twins_agree_on_deadlocks(program: Stage, engine: str, raised: int) -> None:
    """One wait raised beyond every post: all that follows from it blocks, equally in both."""
    never = word("nop", wait=((5, 1000 + raised),))
    program.streams[engine] = np.concatenate([never, program.stream(engine)])
    _, compiled, reference, deadlock = solutions(program, MACHINES["trn1.2xlarge"])
    assert_equal(compiled, reference)
    assert deadlock


def test_same_program_same_ticks() -> None:
    program = stage([dram_to_sbuf(128, 1024)], sync=[trigger(0)] * 20, vector=[copy(0, 0)] * 50)
    a, b = (timing.simulate(program, MACHINES["tight"]) for _ in range(2))
    assert all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(Timeline))


def check_words(problem: Problem, s: Solution) -> None:
    """Every word starts exactly when its last constraint is met, and the cause is that constraint."""
    assert (s.start >= s.wait_start).all()
    assert np.array_equal(s.start == s.wait_start, s.cause == Cause.NONE)
    raw, port, slot = (s.cause == c for c in (Cause.RAW, Cause.PORT, Cause.PE_SLOT))
    assert np.array_equal(s.start[raw], s.end[s.cause_id[raw]])
    held = s.start + problem.cost
    assert np.array_equal(s.start[port], held[s.cause_id[port]])
    assert np.array_equal(s.start[slot], held[s.cause_id[slot]])
    posted = s.cause == Cause.SEMAPHORE
    assert np.array_equal(s.start[posted], s.retire[s.cause_op[posted]] + problem.post_latency)
    for k in range(len(ENGINES)):
        ops = slice(problem.begin[k], problem.begin[k + 1])
        assert np.array_equal(s.retire[ops], np.maximum.accumulate(s.end[ops]))
        assert (np.diff(s.start[ops]) >= (0 if k == 0 else problem.cost[ops][:-1])).all()
    check_semaphores(problem, s)


def check_semaphores(problem: Problem, s: Solution) -> None:
    """At its start a word's semaphores have what it waits for, counting posts seen by then."""
    words = np.concatenate(problem.words)
    transfer = problem.kinds[words["opcode"]] == TRIGGER
    for op, w in enumerate(words):
        for semaphore, needed in zip(w["wait_sem"], w["wait_val"]):
            if not semaphore:
                continue
            of = (words["post_sem"] == semaphore) & ~transfer
            seen = words["post_inc"][of & (s.retire + problem.post_latency <= s.start[op])].sum()
            mine = words["post_sem"][problem.trigger] == semaphore
            some = s.enqueued[mine] + problem.post_latency <= s.start[op]
            assert seen + 16 * some.sum() >= needed


def check_roofline(problem: Problem, t: Timeline, machine: Target) -> None:
    """Never faster than any one resource allows."""
    words = np.concatenate(problem.words)
    matmuls = problem.kinds[words["opcode"]] == MATMUL
    for k in range(1, len(ENGINES)):
        assert t.total_ticks >= problem.cost[t.engine == k].sum() == t.engine_busy[k]
    assert t.total_ticks >= problem.cost[(t.engine == 0) & matmuls].sum()
    assert problem.cost[t.engine == 0].sum() >= t.engine_busy[0] >= problem.cost[(t.engine == 0) & matmuls].sum()
    dram_ns = (t.dram_read_bytes + t.dram_written_bytes) / machine.dram_bytes_per_ns
    assert t.seconds * 1e9 >= dram_ns * (1 - 1e-9)
    service = np.zeros(16, dtype=np.int64)
    for w in words[t.transfer_op]:
        service += problem.service[0][w["arg"]:w["arg"] + w["count"]].sum(axis=0)
    assert (t.dma_busy >= service).all() and t.total_ticks >= t.dma_busy.max()
    assert (t.transfer_start >= t.transfer_enqueue).all() and (t.transfer_end >= t.transfer_start).all()
