"""The state of a machine holds all that decides the future, and nothing that does not."""
from __future__ import annotations

from collections import defaultdict
from functools import cache

import numpy as np

from isa.program import HANDOVER_BUFFERS
from neuronsim import timing
from neuronsim.timing import LAST_TICK, Cores, Placed
from neuronsim.units import machine as plain
from neuronsim.units.model import Problem
from neuronsim.units.prepare import prepare
from tests.neuronsim.timing_programs import activation, copy, dram_to_sbuf, load, matmul, stage, trigger, word
from tests.neuronsim.timing_slots import TORUS, Driver, Step, handing


@cache
def problem() -> Problem:
    """Two cores that share a chip's DRAM and one on another chip, the last of which uses every kind of unit."""
    fetch = stage([dram_to_sbuf(16, 512), dram_to_sbuf(8, 256)],
                  sync=[trigger(0), trigger(1, queue=1)], vector=[word("nop", wait=((16, 32),))])
    mixed = stage(
        [dram_to_sbuf(128, 64), dram_to_sbuf(32, 512)],
        sync=[trigger(0, semaphore=17), word("nop", wait=((17, 16),), post=(5, 1)), trigger(1, wait=((1, 1),))],
        tensor=[load(wait=((17, 16),)), matmul(128), load(), matmul(64, post=(1, 1)), word("nop", wait=((2, 1),))],
        vector=[copy(0, 4096, 64, wait=((5, 1),)), copy(64, 0, 64), copy(4096, 64, 8, post=(2, 1))],
        gpsimd=[copy(8192, 12288, 100, wait=((17, 4),)), copy(8192, 12288, 100)],
        scalar=[activation(0, 64, wait=((5, 1),)), activation(64, 0), activation(0, 64)],
    )
    placed = [Placed(fetch, 0), Placed(fetch, 1), Placed(handing(mixed, stored=[False, True]), 1, TORUS.cores - 1)]
    return prepare(placed, TORUS)


def histories(count: int) -> list[tuple[list[Step], list[Step]]]:
    """(what was before, one of few ways to go on from there): later, what was before may still matter or not."""
    rng = np.random.default_rng(5)
    ticks = TORUS.ns_to_ticks(4000)
    out = []
    for _ in range(count):
        before: list[Step] = []
        for slot in rng.integers(0, 3, int(rng.integers(0, 4))).tolist():
            before += [("start", slot, int(rng.integers(0, 2000))), ("advance", 0, int(rng.integers(0, ticks)))]
        first, second, pause = [*rng.integers(0, 3, 2).tolist(), int(rng.integers(1, 9)) * ticks // 8]
        after: list[Step] = [("start", first, 0), ("advance", 0, 1000), ("start", second, 500), ("advance", 0, pause)]
        out.append((before, after))
    return out


def arrive(kind: type, history: list[Step]) -> Driver:
    """A machine after that history."""
    driver = Driver(kind(problem()))
    for step in history:
        driver.step(step)
    return driver


def test_equal_states_have_equal_futures() -> None:
    """What was before and no longer matters leaves no trace: the same state is reached in different ways."""
    assert timing.compiled is not None
    futures: dict[bytes, set[tuple]] = defaultdict(set)
    pasts: dict[bytes, int] = defaultdict(int)
    for before, after in histories(3_000):
        driver = arrive(timing.compiled.Machine, [*before, *after])
        state = driver.machine.state()
        pasts[state] += bool(before) and any(driver.status)
        futures[state].add(future(driver))
    assert sum(n > 1 for n in pasts.values()) > 30
    assert len(futures) > 1_000
    assert all(len(f) == 1 for f in futures.values())


def test_what_is_not_in_the_state_does_not_decide_anything() -> None:
    """Everything in the plain machine that the state leaves out is replaced by noise: the future stays what it was."""
    rng = np.random.default_rng(6)
    for before, after in histories(200):
        untouched, noisy = (arrive(plain.Machine, [*before, *after]) for _ in range(2))
        state = noisy.machine.state()
        scramble(noisy.machine, rng)
        assert noisy.machine.state() == state
        assert future(noisy) == future(untouched)


def scramble(machine: plain.Machine, rng: np.random.Generator) -> None:
    """Times that have passed become others that have passed; columns that are only reported become anything."""
    now, s = machine.now, machine.solution

    def past(tick: int) -> int:
        return tick if tick > now else int(rng.integers(0, now + 1))

    for column in (s.wait_start, s.cause, s.cause_id, s.cause_op, s.enqueued, s.first, s.last, s.engine_busy,
                   s.dma_busy):
        column[...] = rng.integers(0, 100, column.shape)
    for resource in machine.resources:
        resource.free = past(resource.free)
    pending = {op for run in machine.runs.values() for ops in (*run.posts, *run.triggers) for op in ops}
    for op in range(len(s.end)):
        s.end[op] = past(int(s.end[op]))
        if op not in pending:
            s.start[op], s.retire[op] = rng.integers(0, 1 << 40, 2)
    for run in machine.runs.values():
        run._latest = past(run._latest)
        run.ports = {bit: (past(free), -7) for bit, (free, _) in run.ports.items()}
        for engine in run.engines:
            engine.retired, engine.load_end, engine.tick = map(past, (engine.retired, engine.load_end, engine.tick))
            engine.unit_free = {kind: past(free) for kind, free in engine.unit_free.items()}
            engine._ready, engine._covered, engine._load_op = rng.integers(0, 1 << 40, 3).tolist()
        for unit in run.dma.engines:
            unit.started = int(rng.integers(0, 1 << 40))


def future(driver: Driver) -> tuple:
    """What follows when every idle slot is started now: ends, states on the way, and later ends."""
    for slot in range(3):
        driver.step(("start", slot, 0))
    driver.step(("advance", 0, 0))
    states = [driver.machine.state()]
    first = driver.finish()
    states.append(driver.machine.state())
    driver.step(("start", 2, 0))
    return (*first, *states, *driver.finish())


def test_a_periodic_pipeline_is_seen_to_repeat() -> None:
    """Two stages hand on with two buffers between them; from a repeated state on, all times repeat."""
    both = stage([dram_to_sbuf(128, 2048), dram_to_sbuf(64, 512)], sync=[trigger(0, 2)])
    produce = handing(both, stored=[False, True])
    consume = handing(stage([dram_to_sbuf(128, 3072)], sync=[trigger(0)]))
    cores = Cores([Placed(produce, 0, 1), Placed(consume, 1)], TORUS)
    begun, ended = [0, 0], [0, 0]
    ends: list[tuple[int, int]] = []
    states: list[bytes] = []
    while len(ends) < 60:
        if begun[0] == ended[0] and begun[0] - ended[1] < HANDOVER_BUFFERS:
            cores.start(0, cores.now)
            begun[0] += 1
        if begun[1] == ended[1] < ended[0]:
            cores.start(1, cores.now)
            begun[1] += 1
        found = cores.advance(LAST_TICK)
        assert found is not None
        ended[found[0]] += 1
        ends.append(found)
        states.append(cores.state() + bytes([ended[0] - ended[1]]))
    again = next(k for k, state in enumerate(states) if state in states[:k])
    first = states.index(states[again])
    period, ticks = again - first, ends[again][1] - ends[first][1]
    assert again < 20 and period > 1
    for before, after in zip(ends[first:], ends[again:]):
        assert after == (before[0], before[1] + ticks)
    alone = [timing.simulate(s, TORUS, core=k).total_ticks for k, s in enumerate((produce, consume))]
    assert ticks / (period / 2) > max(alone)  # they share the DRAM
