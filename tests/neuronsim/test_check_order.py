"""Vector clocks over necessary posts against all interleavings of tiny programs."""
from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.word import ENGINES
from neuronsim.check.flat import Flat, flatten
from neuronsim.check.happens_before import execute, happens_before
from tests.neuronsim.check_programs import At, Builder
from tests.neuronsim.check_reference import Machine

SHARES = 2


def relation(flat: Flat) -> set[tuple[int, int]]:
    execution = execute(flat)
    clocks = happens_before(flat, execution)
    return {(a, b) for b in execution.order.tolist() for a in execution.order.tolist() if clocks.before(a, b)}


def truth(flat: Flat) -> set[tuple[int, int]]:
    machine = Machine(flat, SHARES)
    executed = execute(flat).order.tolist()
    return {(a, b) for a in executed for b in executed if a != b and machine.before(a, b)}


def program(seed: int, producers: int) -> Flat:
    """Random words; with one producer each semaphore belongs to one engine, or to transfers of one engine."""
    r = random.Random(seed)
    b = Builder()
    x = b.variable("input", 64)
    engines = r.sample(["tensor", "vector", "scalar", "sync"], 3)
    posted = dict.fromkeys(range(1, 20), 0)
    for _ in range(r.randint(3, 7)):
        engine = r.choice(engines)
        waits = []
        for sem in r.sample([s for s in posted if posted[s]], min(r.randint(0, 2), sum(map(bool, posted.values())))):
            value = r.randint(1, posted[sem])
            waits.append((sem, -(-value // SHARES) * SHARES if sem > 8 else value))
        sem = 1 + ENGINES.index(engine) if producers == 1 else r.randint(1, 2)
        if r.random() < 0.35 and len(b.descriptors) < 3:
            sem = sem + 8 if producers == 1 else sem
            b.dma(engine, At(0), (x, 0), tuple(waits), sem)
            posted[sem] += SHARES
        else:
            post = (sem, r.randint(1, 2)) if r.random() < 0.6 else (0, 0)
            b.word(engine, "nop", tuple(waits), post)
            posted[sem] += post[1] if post[0] else 0
    return flatten(b.stage(), SHARES)


@pytest.mark.parametrize("producers", [1, 2])
@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_never_claims_an_order_that_can_be_broken(producers: int, seed: int) -> None:
    flat = program(seed, producers)
    assert relation(flat) <= truth(flat)


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_giving_up_on_a_semaphore_is_sound(seed: int) -> None:
    flat = program(seed, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neuronsim.check.happens_before.PATIENCE", 1)
        assert relation(flat) <= truth(flat)


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_finds_every_order_that_single_producers_give(seed: int) -> None:
    """With one engine per semaphore and no two transfers outstanding on one, nothing true is missed."""
    flat = program(seed, 1)
    transfers = [op for op in range(len(flat.words)) if flat.transfer[op] >= 0]
    if len({int(flat.post_sem[t]) for t in transfers}) == len(transfers):
        assert relation(flat) == truth(flat)


def test_a_retired_word_tells_of_the_earlier_words_of_its_engine() -> None:
    b = Builder()
    b.word("tensor", "nop")
    b.word("tensor", "nop", post=(1, 1))
    b.word("vector", "nop", ((1, 1),))
    assert relation(flatten(b.stage(), 16)) == {(0, 2), (1, 2)}


def test_a_trigger_does_not_wait_for_earlier_words_of_its_engine() -> None:
    b = Builder()
    x = b.variable("input", 64)
    b.word("sync", "nop")
    b.dma("sync", At(0), (x, 0), sem=16)
    assert relation(flatten(b.stage(), 16)) == set()


@pytest.mark.parametrize("value,ordered", [(15, False), (16, True), (17, True), (32, True)])
def test_a_transfer_is_complete_when_all_its_posts_are_necessary(value: int, ordered: bool) -> None:
    b = Builder()
    x = b.variable("input", 64)
    b.dma("sync", At(0), (x, 0), sem=16)
    b.word("sync", "nop", ((16, 16),))
    b.dma("sync", At(64), (x, 0), sem=16)
    b.word("vector", "nop", ((16, value),))
    flat = flatten(b.stage(), 16)
    assert happens_before(flat, execute(flat)).before(flat.op("sync", 0), flat.op("vector", 0)) is ordered


@pytest.mark.parametrize("value,ordered", [(16, False), (31, False), (32, True)])
def test_transfers_outstanding_together_need_the_sum_of_all_posts(value: int, ordered: bool) -> None:
    b = Builder()
    x = b.variable("input", 64)
    for k in range(2):
        b.dma("sync", At(64 * k), (x, 0), sem=16)
    b.word("vector", "nop", ((16, value),))
    flat = flatten(b.stage(), 16)
    clocks = happens_before(flat, execute(flat))
    assert [clocks.before(flat.op("sync", k), flat.op("vector", 0)) for k in range(2)] == [ordered, ordered]


def test_a_later_use_of_a_semaphore_spoils_a_wait_it_may_overtake() -> None:
    """The second transfer is started without knowing that the first is complete."""
    b = Builder()
    x = b.variable("input", 64)
    b.dma("sync", At(0), (x, 0), sem=16)
    b.dma("gpsimd", At(64), (x, 0), ((1, 1),), sem=16)
    b.word("tensor", "nop", post=(1, 1))
    b.word("vector", "nop", ((16, 16),))
    flat = flatten(b.stage(), 16)
    assert not happens_before(flat, execute(flat)).before(flat.op("sync", 0), flat.op("vector", 0))


def test_two_producers_are_necessary_only_together() -> None:
    for value, ordered in ((1, False), (2, True)):
        b = Builder()
        b.word("tensor", "nop", post=(9, 1))
        b.word("scalar", "nop", post=(9, 1))
        b.word("vector", "nop", ((9, value),))
        flat = flatten(b.stage(), 16)
        clocks = happens_before(flat, execute(flat))
        assert clocks.before(flat.op("tensor", 0), flat.op("vector", 0)) is ordered
        assert clocks.before(flat.op("scalar", 0), flat.op("vector", 0)) is ordered


def test_triggers_on_changing_engines_are_resolved_in_few_passes() -> None:
    """One semaphore reused a thousand times from alternating engines, each after the last transfer is complete."""
    b = Builder()
    x = b.variable("input", 64)
    engines = ("sync", "gpsimd", "scalar", "vector")
    for k in range(1000):
        b.dma(engines[k % 4], At(0), (x, 0), ((16, 16 * k),) if k else (), 16)
        b.word("tensor", "nop", ((16, 16 * (k + 1)),))
    flat = flatten(b.stage(), 16)
    clocks = happens_before(flat, execute(flat))
    for k in range(1000):
        assert clocks.before(flat.op(engines[k % 4], k // 4), flat.op("tensor", k))


def test_two_transfers_in_flight_on_one_semaphore_are_told_in_time() -> None:
    """The usual mistake: each trigger waits for all but the last transfer, which the sum of posts cannot tell."""
    b = Builder()
    x = b.variable("input", 64)
    for k in range(1000):
        b.dma(("sync", "gpsimd")[k % 2], At(0), (x, 0), ((16, 16 * (k - 1)),) if k > 1 else (), 16)
        b.word("vector", "nop", ((16, 16 * (k + 1)),))
    flat = flatten(b.stage(), 16)
    start = time.perf_counter()
    clocks = happens_before(flat, execute(flat))
    assert time.perf_counter() - start < 2
    assert not clocks.before(flat.op("sync", 0), flat.op("vector", 0))
    assert clocks.before(flat.op("sync", 0), flat.op("vector", 999))
