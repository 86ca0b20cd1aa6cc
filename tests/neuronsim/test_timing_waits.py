"""What a transfer is said to have waited for DRAM and for links is what it takes longer because of them."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa import target as targets
from isa.program import IN_DRAM, IN_SBUF, Stage
from isa.target import Target
from neuronsim.timing import LAST_TICK, Cores, Placed, Timeline, simulate
from tests.neuronsim.timing_programs import dram_to_sbuf, stage, trigger
from tests.neuronsim.timing_slots import handing

TRN1 = targets.load("trn1.2xlarge")
INF1 = targets.load("inf1.6xlarge")
FAST = 1e6  # bytes per nanosecond: never waited for


def waits(timeline: Timeline) -> tuple[np.ndarray, np.ndarray]:
    return timeline.transfer_dram_wait, timeline.transfer_link_wait


def took(timeline: Timeline) -> np.ndarray:
    return timeline.transfer_end - timeline.transfer_start


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 128), st.integers(1, 4000), st.floats(1.0, 400.0))
def test_a_transfer_alone_waits_for_slow_dram(partitions: int, width: int, bytes_per_ns: float) -> None:
    """One descriptor: one share on each DMA engine, all begun at once; the last through is the one that waited most."""
    program = stage([dram_to_sbuf(partitions, 4 * width)], sync=[trigger(0)])
    found = simulate(program, TRN1.with_params({"dram.bytes_per_ns": bytes_per_ns}))
    free = simulate(program, TRN1.with_params({"dram.bytes_per_ns": FAST}))
    dram, link = waits(found)
    longer = int(took(found)[0] - took(free)[0])
    assert longer <= int(dram[0]) <= int(took(found)[0]) and not link.any() and not waits(free)[0].any()
    if partitions == 128:  # every share has the same service
        assert int(dram[0]) == longer


def test_shares_of_one_engine_add_up() -> None:
    """Four equal descriptors, one after the other on every engine: sixteen shares at a time, each of U ticks of DRAM.

    The last engine's first share is through after 16 U, its others every 16 U: it has waited 4 (16 U - S).
    """
    program = stage([dram_to_sbuf(128, 4096)] * 4, sync=[trigger(0, 4)])
    machine = TRN1.with_params({"dram.bytes_per_ns": 8.0})
    found = simulate(program, machine)
    service = took(simulate(program, TRN1.with_params({"dram.bytes_per_ns": FAST})))[0] // 4
    share = ceil(128 * 4096 / 16 / 8.0 * machine.tick_hz / 1e9)
    assert 16 * share > service
    assert took(found)[0] == 4 * 16 * share
    assert waits(found)[0][0] == 4 * (16 * share - service)


@pytest.mark.parametrize("space", [IN_DRAM, IN_SBUF])
def test_transfers_to_another_chip_wait_for_links(space: str) -> None:
    """What they take longer over a slow link is link wait, and what they take longer with slow DRAM is not."""
    def handed(target: Target) -> Timeline:
        program = handing(stage([dram_to_sbuf(128, 4096)], sync=[trigger(0)]), space, stored=[True])
        return simulate(program, target, core=0, downstream=INF1.cores_per_chip)

    fast = {"dram.bytes_per_ns": FAST, "link.bytes_per_ns": FAST}
    free, slow = handed(INF1.with_params(fast)), handed(INF1.with_params({**fast, "link.bytes_per_ns": 1.0}))
    assert [w.tolist() for w in waits(free)] == [[0], [0]]
    assert [w.tolist() for w in waits(slow)] == [[0], [took(slow)[0] - took(free)[0]]]
    assert slow.transfer_link_bytes.tolist() == slow.transfer_bytes.tolist() == [128 * 4096]
    dram = handed(INF1.with_params({**fast, "dram.bytes_per_ns": 1.0}))
    wait = took(dram)[0] - took(free)[0]
    assert [w.tolist() for w in waits(dram)] == [[wait if space == IN_DRAM else 0], [0]]


def test_a_run_tells_its_own_waits() -> None:
    """The second run of a slot waits for what another core reads; the first and third have the DRAM for themselves."""
    program: Stage = stage([dram_to_sbuf(128, 4096)], sync=[trigger(0)])
    cores = Cores([Placed(program, 0), Placed(program, 1)], TRN1.with_params({"dram.bytes_per_ns": 8.0}))

    def run(*slots: int) -> Timeline:
        for slot in slots:
            cores.start(slot, cores.now)
        for _ in slots:
            cores.advance(LAST_TICK)
        return cores.timeline(1)

    first, second, third = run(1), run(0, 1), run(1)
    assert waits(second)[0][0] > waits(first)[0][0] == waits(third)[0][0]
    assert waits(second)[0][0] - waits(first)[0][0] == took(second)[0] - took(first)[0]
