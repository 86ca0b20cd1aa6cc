"""Several placed stages on one machine: starts and ends, what they share, what they hand to another chip."""
from __future__ import annotations

import threading

import numpy as np
import pytest

from isa import cost, target
from isa.program import IN_DRAM, IN_SBUF, Stage
from isa.topology import Link
from neuronsim.errors import ConfigError, DeadlockError
from neuronsim.timing import LAST_TICK, Cores, Placed, load_ticks, simulate, simulate_cores
from tests.neuronsim.test_timing_trace import network_sized
from tests.neuronsim.timing_programs import activation, copy, dram_to_sbuf, stage, trigger, word
from tests.neuronsim.timing_slots import CHAIN, TORUS, handing

KIB = 128 * 1024  # bytes of `store`


@pytest.fixture(params=["compiled", "plain"], autouse=True)
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONSIM_PURE", "1" if request.param == "plain" else "0")


def store(space: str = IN_SBUF, reads: str = IN_DRAM) -> Stage:
    """128 KiB from SBUF to the output, spread evenly over the DMA engines."""
    return handing(stage([dram_to_sbuf(128, 1024)], sync=[trigger(0)]), space, reads, [True])


def fetch(reads: str = IN_DRAM) -> Stage:
    """128 KiB from the input to SBUF."""
    return handing(stage([dram_to_sbuf(128, 1024)], sync=[trigger(0)]), reads=reads)


def nothing_then(ticks: int) -> Stage:
    """A stage of about that many ticks that uses nothing shared."""
    return stage(scalar=[activation(0, 4096 * (k + 1), 512) for k in range(ticks)])


def run_all(cores: Cores, slots: int) -> list[tuple[int, int]]:
    found = [cores.advance(LAST_TICK) for _ in range(slots)]
    assert all(found)
    return [f for f in found if f]


def share_ns(cores: Cores, slot: int, machine: target.Target) -> float:
    """Nanoseconds from the first to the last byte of a run of one transfer."""
    t = cores.timeline(slot)
    return float(t.transfer_end[0] - t.transfer_start[0]) / t.tick_hz * 1e9


# ---- starts and ends
def test_runs_end_in_order_of_ticks_and_slots() -> None:
    long, short = nothing_then(4), nothing_then(2)
    cores = Cores([Placed(short, 0), Placed(short, 1), Placed(long, 2), Placed(stage(), 3)], CHAIN)
    a, b = (simulate(s, CHAIN).total_ticks for s in (short, long))
    for slot, tick in ((1, 100), (0, 100), (3, 100), (2, 100 + a - b)):
        cores.start(slot, max(tick, 0))
    started = max(100 + a - b, 0)
    expected = sorted([(100 + a, 0), (100 + a, 1), (started + b, 2), (100, 3)])
    assert run_all(cores, 4) == [(slot, tick) for tick, slot in expected]
    assert cores.advance(10**9) is None and cores.now == 10**9


def test_a_stage_without_words_ends_where_it_starts() -> None:
    cores = Cores([Placed(stage())], CHAIN)
    for tick in (5, 5, 10**15):
        cores.start(0, tick)
        assert cores.advance(LAST_TICK) == (0, tick)
        assert cores.timeline(0).total_ticks == 0


def test_advance_stops_in_between() -> None:
    cores, ticks = Cores([Placed(fetch())], CHAIN), simulate(fetch(), CHAIN).total_ticks
    cores.start(0, 7)
    for until in (7, 8, 7 + ticks // 2, 6 + ticks):
        assert cores.advance(until) is None and cores.now == until
    assert cores.advance(7 + ticks) == (0, 7 + ticks)


@pytest.mark.parametrize("tick", [0, 3, 10**15 + 1])
def test_timeline_is_relative_to_the_start(tick: int) -> None:
    program = stage([dram_to_sbuf(64, 1024)], sync=[trigger(0)], vector=[copy(0, 0, wait=((16, 16),)), copy(64, 0, 8)])
    expected = simulate(program, TORUS)
    cores = Cores([Placed(fetch(), 5), Placed(program, 3)], TORUS)
    for _ in range(2):  # the second time after another run
        cores.start(1, cores.now + tick)
        assert cores.advance(LAST_TICK) == (1, cores.now)
        found = cores.timeline(1)
        for name in ("wait_start", "start", "end", "retire", "cause", "cause_id", "cause_op", "transfer_op",
                     "transfer_enqueue", "transfer_start", "transfer_end", "engine_busy", "dma_busy"):
            assert np.array_equal(getattr(found, name), getattr(expected, name)), name
        assert found.total_ticks == expected.total_ticks


def test_a_timeline_stays_when_its_slot_runs_again() -> None:
    cores = Cores([Placed(fetch(), 0), Placed(store(IN_DRAM), 1)], CHAIN)
    cores.start(1, 0)
    cores.advance(LAST_TICK)
    alone = cores.timeline(1)
    before = alone.end.copy(), alone.dma_busy.copy(), alone.cause.copy()
    cores.start(0, cores.now)
    cores.start(1, cores.now)
    run_all(cores, 2)
    assert all(np.array_equal(a, b) for a, b in zip(before, (alone.end, alone.dma_busy, alone.cause)))
    assert not np.array_equal(cores.timeline(1).dma_busy, alone.dma_busy)


def test_wrong_use_is_refused() -> None:
    cores = Cores([Placed(fetch())], CHAIN)
    with pytest.raises(ConfigError):
        cores.timeline(0)
    cores.start(0, 50)
    for wrong in (lambda: cores.start(0, 60), lambda: cores.start(1, 60), lambda: cores.timeline(0),
                  lambda: cores.advance(-1), lambda: cores.advance(LAST_TICK + 1)):
        with pytest.raises(ConfigError):
            wrong()
    run_all(cores, 1)
    with pytest.raises(ConfigError):
        cores.start(0, cores.now - 1)
    for placed in (Placed(fetch(), CHAIN.cores), Placed(fetch(), -1), Placed(fetch(), 0, CHAIN.cores)):
        with pytest.raises(ConfigError):
            Cores([placed], CHAIN)


def test_a_deadlock_names_the_core_and_reset_forgets_it() -> None:
    blocked = stage(vector=[word("nop", wait=((4, 1),))])
    cores = Cores([Placed(blocked, 6), Placed(fetch(), 2)], CHAIN)
    cores.start(0, 0)
    cores.start(1, 0)
    assert cores.advance(LAST_TICK) == (1, simulate(fetch(), CHAIN).total_ticks)
    with pytest.raises(DeadlockError) as error:
        cores.advance(LAST_TICK)
    assert [(b.core, b.engine, b.semaphore) for b in error.value.blocked] == [(6, "vector", 4)]
    cores.reset()
    cores.start(1, 0)
    assert run_all(cores, 1) == [(1, simulate(fetch(), CHAIN).total_ticks)] and cores.dram_bytes[0] == KIB


def test_semaphores_are_zero_before_every_run() -> None:
    program = stage(scalar=[activation(0, 0, 512, post=(3, 1))], vector=[word("nop", wait=((3, 1),))])
    cores, once = Cores([Placed(program)], TORUS), simulate(program, TORUS)
    for _ in range(3):
        cores.start(0, cores.now)
        cores.advance(LAST_TICK)
        assert np.array_equal(cores.timeline(0).start, once.start)


# ---- shared bandwidth
def test_cores_of_a_chip_share_its_dram_whenever_they_start() -> None:
    cores = Cores([Placed(fetch(), 0), Placed(fetch(), 3), Placed(fetch(), 4)], CHAIN)
    for slot in range(3):
        cores.start(slot, 10_000)
    ends = dict(run_all(cores, 3))
    least = KIB / 20.0  # ns
    assert share_ns(cores, 2, CHAIN) == pytest.approx(least, rel=1e-3)
    assert share_ns(cores, 1, CHAIN) == pytest.approx(2 * least, rel=1e-2)
    assert max(ends[0], ends[1]) == ends[1] > ends[2]
    assert cores.dram_bytes.tolist() == [2 * KIB, KIB, 0, 0] and not any(cores.link_bytes.values())


def test_what_lies_in_sbuf_takes_no_dram() -> None:
    for program in (fetch(reads=IN_SBUF), store(IN_SBUF)):
        cores = Cores([Placed(program, 0)], CHAIN)
        cores.start(0, 0)
        run_all(cores, 1)
        assert not cores.dram_bytes.any()
        service = cost.dma_ticks(program.descriptors, CHAIN).max()
        t = cores.timeline(0)
        assert t.transfer_end[0] - t.transfer_start[0] == service and t.dram_read_bytes == t.dram_written_bytes == 0
    quick, slow = (simulate(store(space), CHAIN, downstream=3).total_ticks for space in (IN_SBUF, IN_DRAM))
    assert quick < slow == simulate(store(IN_DRAM), CHAIN).total_ticks


@pytest.mark.parametrize("space, dram", [(IN_SBUF, [0, 0, 0, 0]), (IN_DRAM, [0, 0, KIB, 0])])
def test_outputs_cross_every_link_to_another_chip(space: str, dram: list[int]) -> None:
    """Cut through: two links in a row take no longer than one; each has half of a chip's 12 bytes per ns."""
    near, far = (Cores([Placed(store(space), 0, core)], CHAIN) for core in (4, 8))
    for cores in (near, far):
        cores.start(0, 0)
        run_all(cores, 1)
        assert share_ns(cores, 0, CHAIN) == pytest.approx(KIB / 6.0, rel=1e-3)
    assert {link for link, n in far.link_bytes.items() if n == KIB} == {Link(0, 1), Link(1, 2)}
    assert sum(far.link_bytes.values()) == 2 * KIB and sum(near.link_bytes.values()) == KIB
    assert far.dram_bytes.tolist() == dram


def test_handing_on_and_reading_its_own_input_meet_different_memories() -> None:
    """The input is on chip 0, the output goes to chip 3's DRAM; both are counted where they lie."""
    both = stage([dram_to_sbuf(128, 1024), dram_to_sbuf(64, 1024)], sync=[trigger(0), trigger(1), trigger(1)])
    program = handing(both, stored=[False, True])
    cores = Cores([Placed(program, 1, 15)], CHAIN)
    cores.start(0, 0)
    run_all(cores, 1)
    assert cores.dram_bytes.tolist() == [KIB, 0, 0, KIB]
    assert cores.link_bytes[Link(2, 3)] == KIB and cores.link_bytes[Link(3, 2)] == 0


def test_links_are_shared_by_direction() -> None:
    def slowest(*routes: tuple[int, int]) -> float:
        cores = Cores([Placed(store(), a, b) for a, b in routes], CHAIN)
        for slot in range(len(routes)):
            cores.start(slot, 0)
        run_all(cores, len(routes))
        return max(share_ns(cores, slot, CHAIN) for slot in range(len(routes))) / (KIB / 6.0)

    assert slowest((0, 4), (1, 5)) == pytest.approx(2, rel=1e-2)
    assert slowest((0, 8), (5, 9)) == pytest.approx(2, rel=1e-2)  # both over 1 -> 2
    assert slowest((0, 4), (4, 0)) == pytest.approx(1, rel=1e-2)
    assert slowest((0, 4), (4, 8), (8, 12)) == pytest.approx(1, rel=1e-2)


def test_reading_back_what_was_handed_on_crosses_the_links_the_other_way() -> None:
    program = store()
    program.descriptors["src_var"], program.descriptors["dst_var"] = 2, 0
    for field in ("off", "step"):
        source, destination = (program.descriptors[f"{side}_{field}"].copy() for side in ("src", "dst"))
        program.descriptors[f"src_{field}"], program.descriptors[f"dst_{field}"] = destination, source
    cores = Cores([Placed(program, 0, 4)], CHAIN)
    cores.start(0, 0)
    run_all(cores, 1)
    assert cores.link_bytes[Link(1, 0)] == KIB and cores.link_bytes[Link(0, 1)] == 0


def test_no_way_to_another_chip_is_an_error() -> None:
    unlinked = CHAIN.with_params({"link.bytes_per_ns": None})
    Cores([Placed(store(), 0, 3)], unlinked)
    with pytest.raises(ConfigError, match="no links"):
        Cores([Placed(store(), 0, 4)], unlinked)


# ---- on top
def test_load_ticks_are_those_of_the_init_streams() -> None:
    program = fetch()
    assert load_ticks(program, CHAIN) == 0
    program.init = {"sync": np.concatenate([trigger(0), trigger(0)])}
    once = simulate(program, CHAIN).total_ticks
    assert load_ticks(program, CHAIN) == simulate(program.loading, CHAIN).total_ticks > once


def test_one_core_alone_takes_the_same_time_anywhere() -> None:
    found = {simulate(fetch(), TORUS, core).total_ticks for core in (0, 9, TORUS.cores - 1)}
    assert found == {simulate_cores([fetch()], TORUS)[0].total_ticks}


# ---- host threads
def test_machines_advance_in_several_threads_at_once() -> None:
    def run(out: list[tuple[int, int]]) -> None:
        cores = Cores([Placed(program, k, k + 1) for k in range(3)], CHAIN)
        for _ in range(5):
            for slot in range(3):
                cores.start(slot, cores.now)
            out += run_all(cores, 3)

    program = handing(stage([dram_to_sbuf(128, 64)] * 2, sync=[trigger(k % 2) for k in range(8)]), stored=[False, True])
    results: list[list[tuple[int, int]]] = [[] for _ in range(5)]
    run(results[0])
    threads = [threading.Thread(target=run, args=(out,)) for out in results[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] and all(out == results[0] for out in results)


def test_advancing_leaves_python_to_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only when the interpreter's lock is released can this thread see the clock of a run in the middle."""
    monkeypatch.setenv("NEURONSIM_PURE", "0")
    cores = Cores([Placed(network_sized())], target.load("trn1.2xlarge"))
    seen: list[bool] = []

    def work() -> None:
        while not seen and cores.now < 200 * total:
            cores.start(0, cores.now)
            cores.advance(LAST_TICK)

    total = simulate(network_sized(), target.load("trn1.2xlarge")).total_ticks
    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive() and not seen:
        if cores.now % total:
            seen.append(True)
    thread.join()
    assert seen
