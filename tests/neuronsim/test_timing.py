"""The timing model against figures computed by hand or published, on the compiled loop and on its plain twin."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from isa import cost, target
from isa.program import Stage
from isa.target import Target
from isa.trace import Cause
from isa.word import PSUM
from neuronsim import timing
from neuronsim.errors import ConfigError, DeadlockError, MemoryFault
from neuronsim.timing import Timeline, simulate, simulate_cores
from tests.neuronsim.timing_programs import (
    activation,
    copy,
    dram_to_sbuf,
    load,
    matmul,
    operand,
    stage,
    trigger,
    word,
)

Simulate = Callable[..., Timeline]
V2, V3 = target.load("trn1.2xlarge"), target.load("trn2.48xlarge")


@pytest.fixture(params=["compiled", "plain"], autouse=True)
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONSIM_PURE", "1" if request.param == "plain" else "0")


def cycles(timeline: Timeline, ticks: np.ndarray, engine: str, machine: Target) -> np.ndarray:
    return ticks / machine.engines[engine].ticks_per_cycle


def starts(timeline: Timeline, engine: int) -> np.ndarray:
    return timeline.start[timeline.engine == engine]


def test_compiled_loop_is_built_and_used(loop: None, request: pytest.FixtureRequest) -> None:
    plain = request.node.callspec.params["loop"] == "plain"
    assert timing.compiled is not None
    assert (timing.event_loop() is timing.compiled.Machine) != plain


@pytest.mark.parametrize("n", [1, 64, 65, 512])
def test_independent_instructions_start_one_cost_apart(n: int) -> None:
    program = stage(scalar=[activation(0, 4096 * (i + 1), n) for i in range(100)])
    t = simulate(program, V2)
    assert set(np.diff(cycles(t, t.start, "scalar", V2))) == {max(64, n)}
    assert np.array_equal(t.start, t.wait_start) and not t.cause.any()
    assert t.total_ticks == t.start[-1] + (max(64, n) + 200) * V2.engines["scalar"].ticks_per_cycle


def test_dependent_scalar_chain_takes_264_cycles() -> None:
    """Measured start to start, 189 ns on v2: nki/deep-dives/nki_perf_guide.rst."""
    t = simulate(stage(scalar=[activation(0, 0) for _ in range(10)]), V2)
    assert set(np.diff(cycles(t, t.start, "scalar", V2))) == {264}
    assert np.diff(t.start)[0] / t.tick_hz * 1e9 == pytest.approx(189, abs=0.6)
    assert list(t.cause[1:]) == [Cause.RAW] * 9 and list(t.cause_id[1:]) == list(range(9))
    assert np.array_equal(t.wait_start[1:], t.start[:-1] + 64 * V2.engines["scalar"].ticks_per_cycle)


def test_raw_needs_overlap_in_partitions_bytes_and_memory() -> None:
    def start_of_second(**second: object) -> float:
        first = word("activation", dst=operand(1000, 4, partitions=32), src0=operand(5000, 4, partitions=32))
        fields = {"start": 1000, "n": 4, "partitions": 32, **second}
        read = operand(fields.pop("start"), fields.pop("n"), **fields)
        t = simulate(stage(scalar=[first, word("activation", dst=operand(9000, 4), src0=read)]), V2)
        return float(cycles(t, t.start, "scalar", V2)[1])

    assert start_of_second() == 264
    assert start_of_second(start=1015) == 264  # last byte
    assert start_of_second(start=1016) == 64
    assert start_of_second(start=984) == 64
    assert start_of_second(start=988) == 264
    assert start_of_second(partition=32) == 64
    assert start_of_second(space=PSUM) == 64
    assert start_of_second(start=1096, n=25, step=-1) == 264  # reaches back to byte 1000
    assert start_of_second(start=1112, n=25, step=-1) == 64  # reaches back to byte 1016


def test_raw_through_pointer_and_second_result() -> None:
    reduced = word("activation_reduce", dst=operand(0, 8), src0=operand(4096, 8), src1=operand(8192, 1))
    scaled = activation(12288, 16384, ptr0=(8192, 0, 1, 1, 0))
    t = simulate(stage(scalar=[reduced, scaled]), V2)
    assert t.cause[1] == Cause.RAW and t.start[1] == t.end[0]


def test_result_two_words_back_still_interlocks() -> None:
    t = simulate(stage(scalar=[activation(0, 4096), activation(100, 4096), activation(200, 0)]), V2)
    assert t.start[2] == t.end[0] and (t.cause[2], t.cause_id[2]) == (Cause.RAW, 0)


@pytest.mark.parametrize("columns, n", [(128, 512), (128, 64), (64, 64), (128, 128)])
def test_loads_hide_behind_matmuls(columns: int, n: int) -> None:
    """Sustained interval max(load, matmul): nki/guides/architecture/trainium_inferentia2_arch.rst."""
    pairs = [w for _ in range(20) for w in (load(columns=columns), matmul(n))]
    t = simulate(stage(tensor=pairs), V2)
    each = cost.ticks(np.concatenate(pairs[:2]), "tensor", V2)
    assert set(np.diff(t.start[1::2])) == {max(each)}
    assert t.start[1] == each[0] and t.cause[1] == Cause.PE_SLOT and t.cause_id[1] == 0


def test_slow_loads_bound_the_interval() -> None:
    slow = V2.with_params({"tensor.load_speedup": 0.25})
    t = simulate(stage(tensor=[w for _ in range(20) for w in (load(), matmul(64))]), slow)
    assert set(np.diff(t.start[1::2])) == {512 * slow.engines["tensor"].ticks_per_cycle}


def test_background_load_waits_until_its_predecessor_is_in_use() -> None:
    """Only one stationary waits behind the active one: the third load starts when the second matmul does."""
    t = simulate(stage(tensor=[w for _ in range(4) for w in (load(), matmul(512))]), V2)
    assert np.array_equal(t.start[2::2], t.start[1:-1:2])


def test_accumulating_matmuls_are_pipelined() -> None:
    t = simulate(stage(tensor=[load(), *(matmul(512, post=(1, 1)) for _ in range(4))]), V2)
    assert set(np.diff(t.start[1:])) == {512 * V2.engines["tensor"].ticks_per_cycle}


def test_semaphore_post_is_seen_after_retirement_and_latency() -> None:
    program = stage(scalar=[activation(0, 4096, 256, post=(3, 1))], vector=[copy(100, 0, wait=((3, 1),))])
    t = simulate(program, V2)
    vector, scalar = 0, 1
    assert t.end[scalar] == (256 + 200) * V2.engines["scalar"].ticks_per_cycle
    assert t.start[vector] == t.retire[scalar] + V2.ns_to_ticks(V2.semaphore_latency_ns)
    assert (t.cause[vector], t.cause_id[vector], t.cause_op[vector]) == (Cause.SEMAPHORE, 3, scalar)
    assert t.wait_start[vector] == 0


def test_two_waits_and_the_later_one_is_the_cause() -> None:
    program = stage(scalar=[activation(0, 4096, 64, post=(3, 1)), activation(0, 4096, 64, post=(3, 1))],
                    gpsimd=[word("nop", post=(4, 1))], vector=[word("nop", wait=((3, 2), (4, 1)))])
    t = simulate(program, V2)
    assert (t.cause[0], t.cause_id[0], t.cause_op[0]) == (Cause.SEMAPHORE, 3, 2)


@pytest.mark.parametrize("machine, exclusive", [(V2, True), (V3, False)])
def test_v2_shares_ports(machine: Target, exclusive: bool) -> None:
    """vector and gpsimd serialise on SBUF, vector and scalar on PSUM (v2 only)."""
    both = [copy(4096 * 2 * i, 4096 * (2 * i + 1), 512) for i in range(10)]
    t = simulate(stage(vector=both, gpsimd=both), machine)
    hold = np.concatenate([cost.ticks(np.concatenate(both), e, machine) for e in ("vector", "gpsimd")])
    overlap = _overlapping(t, hold, 1, 3)
    assert overlap != exclusive
    if exclusive:
        assert t.start.max() >= hold.sum() - hold.max()
        assert Cause.PORT in t.cause[t.engine == 3] and Cause.PORT in t.cause[t.engine == 1]


def _overlapping(t: Timeline, hold: np.ndarray, a: int, b: int) -> bool:
    first, second = t.engine == a, t.engine == b
    s, e = t.start, t.start + hold
    return bool(((s[first][:, None] < e[second]) & (s[second] < e[first][:, None])).any())


def test_psum_port_is_not_the_sbuf_port() -> None:
    t = simulate(stage(vector=[copy(0, 4096, 512)], scalar=[copy(0, 4096, 512, space=PSUM)]), V2)
    assert list(t.start) == [0, 0]
    t = simulate(stage(vector=[copy(0, 4096, 512, space=PSUM)], scalar=[copy(0, 4096, 512, space=PSUM)]), V2)
    assert t.start[1] == 512 * V2.engines["vector"].ticks_per_cycle
    assert (t.cause[1], t.cause_id[1]) == (Cause.PORT, 0)


def test_dma_of_32_kib_on_one_engine_on_v3() -> None:
    """1416 ns of movement (nki/get-started/about/nki-dma-overview.rst) after 1300 ns from semaphore to first byte."""
    t = simulate(stage([dram_to_sbuf(8, 4096)], sync=[trigger(0)]), V3)
    ns = 1e9 / t.tick_hz
    assert t.transfer_enqueue[0] * ns == pytest.approx(1300, abs=1)
    assert t.transfer_start[0] == t.transfer_enqueue[0]
    assert (t.transfer_end[0] - t.transfer_start[0]) * ns == pytest.approx(1416, rel=0.01)
    assert t.transfer_bytes[0] == t.dram_read_bytes == 32768
    assert list(np.flatnonzero(t.dma_busy)) == [0]


def test_dma_posts_sixteen_and_wakes_the_consumer() -> None:
    program = stage([dram_to_sbuf(128, 4096)], sync=[trigger(0)], vector=[word("nop", wait=((16, 16),))])
    t = simulate(program, V2)
    assert t.start[0] == t.transfer_end[0] + V2.ns_to_ticks(V2.semaphore_latency_ns)
    assert (t.cause[0], t.cause_id[0], t.cause_op[0]) == (Cause.DMA, 16, 1)


def test_empty_shares_post_at_once() -> None:
    program = stage([dram_to_sbuf(8, 65536)], sync=[trigger(0)], vector=[word("nop", wait=((16, 15),))])
    t = simulate(program, V2)
    assert t.start[0] == t.transfer_enqueue[0] + V2.ns_to_ticks(V2.semaphore_latency_ns) < t.transfer_end[0]


def test_queue_is_in_order_and_queues_take_turns() -> None:
    rows = [dram_to_sbuf(8, 4096) for _ in range(6)]
    t = simulate(stage(rows, sync=[trigger(0, 4, queue=0), trigger(4, 1, queue=0), trigger(5, 1, queue=1)]), V2)
    share = int(cost.dma_ticks(rows[0], V2)[0, 0])
    begin = t.transfer_start[0]
    assert t.transfer_end[2] == t.transfer_start[2] + share
    assert t.transfer_start[2] == begin + share  # after one share of queue 0
    assert t.transfer_end[0] == begin + 5 * share
    assert (t.transfer_start[1], t.transfer_end[1]) == (begin + 5 * share, begin + 6 * share)


def test_slow_dram_bounds_transfers_of_all_cores_of_a_chip() -> None:
    slow = V2.with_params({"dram.bytes_per_ns": 10.0})
    program = stage([dram_to_sbuf(128, 4096)], sync=[trigger(0)])
    alone = simulate(program, slow)
    least = 128 * 4096 / 10.0
    assert (alone.transfer_end[0] - alone.transfer_start[0]) / slow.tick_hz * 1e9 == pytest.approx(least, rel=1e-3)
    both = simulate_cores([program, program], slow)
    latest = max(int(t.transfer_end[0]) for t in both) - alone.transfer_start[0]
    assert latest / slow.tick_hz * 1e9 == pytest.approx(2 * least, rel=1e-3)


def test_cores_of_different_chips_do_not_disturb_each_other() -> None:
    machine = target.load("inf2.24xlarge")
    program = stage([dram_to_sbuf(128, 4096)], sync=[trigger(0)], vector=[copy(0, 0, wait=((16, 16),))])
    alone = simulate(program, machine.with_params({"dram.bytes_per_ns": 10.0}))
    per_chip = machine.cores_per_chip
    programs = [program, *[stage() for _ in range(per_chip - 1)], program]
    together = simulate_cores(programs, machine.with_params({"dram.bytes_per_ns": 10.0}))
    for t in (together[0], together[-1]):
        assert t.total_ticks == alone.total_ticks
        assert np.array_equal(t.cause_op, alone.cause_op) and np.array_equal(t.transfer_op, alone.transfer_op)


def test_deadlock_names_who_waits_for_whom() -> None:
    program = stage(scalar=[word("nop", wait=((3, 1),), post=(4, 1))],
                    vector=[word("nop"), word("nop", wait=((4, 2),), post=(3, 1))])
    with pytest.raises(DeadlockError) as error:
        simulate(program, V2)
    vector, scalar = error.value.blocked
    assert (vector.engine, vector.index, vector.semaphore, vector.needed, vector.value) == ("vector", 1, 4, 2, 0)
    assert (scalar.engine, scalar.index, scalar.semaphore, scalar.needed) == ("scalar", 0, 3, 1)
    assert vector.posters == ("scalar[0]",) and scalar.posters == ("vector[1]",)
    assert "scalar[0] waits for semaphore 3 >= 1" in str(error.value)


def test_wrong_programs_are_refused() -> None:
    v1 = target.load("inf1.xlarge")
    cases: list[tuple[type[Exception], Stage, Target]] = [
        (ConfigError, stage(gpsimd=[word("nop")]), v1),
        (ConfigError, stage(vector=[word("nop", wait=((256, 1),))]), V2),
        (ConfigError, stage(vector=[word("nop", post=(256, 1))]), V2),
        (ConfigError, stage([dram_to_sbuf(8, 64)], sync=[trigger(0, queue=16)]), V2),
        (MemoryFault, stage([dram_to_sbuf(8, 64)], sync=[trigger(0, 2)]), V2),
        (ConfigError, Stage(streams={"dma": word("nop")}), V2),
    ]
    for error, program, machine in cases:
        with pytest.raises(error):
            simulate(program, machine)
    with pytest.raises(ConfigError):
        simulate_cores([stage()] * (V2.cores + 1), V2)


def test_empty_program() -> None:
    t = simulate(stage(), V2)
    assert t.total_ticks == 0 and len(t.start) == 0 and len(t.transfer_op) == 0


def test_machine_numbers_come_from_the_target() -> None:
    program = stage([dram_to_sbuf(128, 4096)], sync=[trigger(0)], scalar=[activation(0, 0, wait=((16, 16),))] * 4)
    base = simulate(program, V2).seconds
    quicker = partial(simulate, program)
    for changes in ({"dma.start_latency_ns": 0.0}, {"scalar.clock_ghz": 2.8}, {"scalar.latency_cycles": 0},
                    {"dma.bytes_per_ns": 100.0}, {"semaphore_latency_ns": 0.0}):
        assert quicker(V2.with_params(changes)).seconds < base
    infinite = V2.with_params({"dma.bytes_per_ns": float("inf"), "dma.t0_ns": 0.0, "dram.bytes_per_ns": float("inf")})
    t = simulate(program, infinite)
    assert t.transfer_end[0] == t.transfer_enqueue[0] == t.transfer_start[0]
