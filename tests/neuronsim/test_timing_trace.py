"""From a timeline to a trace, reading streams in place, and the speed of the compiled loop."""
from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from isa import target, trace
from isa.program import DebugEntry, Stage
from isa.trace import RunWait
from isa.word import WORD
from neuronsim import timing
from neuronsim.timing import LAST_TICK, Placed, simulate
from neuronsim.tracing import Recorder, RunRow
from neuronsim.units.prepare import prepare
from tests.neuronsim.timing_programs import activation, copy, dram_to_sbuf, load, matmul, stage, trigger, word

V2 = target.load("trn1.2xlarge")


def small() -> Stage:
    descriptors = [dram_to_sbuf(128, 512), dram_to_sbuf(64, 512)]
    descriptors[1]["debug"] = 2
    out = stage(descriptors, sync=[trigger(1, debug=1), trigger(0, debug=1), trigger(0, 0, debug=1)],
                vector=[word("nop", wait=((16, 48),)), copy(0, 64, debug=1)])
    out.debug = [DebugEntry(), DebugEntry("a"), DebugEntry("b")]
    return out


def test_trace_has_every_word_and_transfer(tmp_path: Path) -> None:
    program = small()
    timeline = simulate(program, V2)
    recorder = Recorder([], V2)
    row = RunRow(0, 0, 0, 3, 0, 0, timeline.total_ticks, 0, 0, RunWait.NONE)
    recorder.end(recorder.begin(row, program), timeline.total_ticks, timeline, 0, 0)
    once = {c: [0] for c in ("model", "arrival", "start")} | {"end": [timeline.total_ticks], "rows": [1]}
    recorder.trace(once).save(tmp_path / "t")
    back = trace.load(tmp_path / "t")
    rows = back.instructions
    assert list(rows["engine"]) == [1, 1, 4, 4, 4] and list(rows["index"]) == [0, 1, 0, 1, 2]
    assert list(rows["opcode"]) == [0x40, 0x15, 0x41, 0x41, 0x41] and list(rows["debug"]) == [0, 1, 1, 1, 1]
    assert set(rows["core"]) == set(back.transfers["core"]) == {3}
    assert np.array_equal(rows["start"], timeline.start) and back.total_ticks == timeline.total_ticks
    moved = back.transfers
    assert list(moved["op"]) == [2, 3, 4] and list(moved["trigger_index"]) == [0, 1, 2]
    assert list(moved["bytes"]) == [64 * 512, 128 * 512, 0]
    assert list(moved["debug"]) == [2, 0, 1]  # of the first descriptor; of the trigger where it has none
    assert moved["start"][2] == moved["end"][2]


def test_streams_are_read_in_place(tmp_path: Path) -> None:
    small().streams["vector"].tofile(tmp_path / "vector")
    mapped = np.memmap(tmp_path / "vector", dtype=WORD, mode="r")
    program = small()
    program.streams["vector"] = mapped
    problem = prepare([Placed(program)], V2)
    assert np.shares_memory(problem.words[1], mapped)
    assert simulate(program, V2).total_ticks == simulate(small(), V2).total_ticks


def big_vector() -> Stage:
    words = np.tile(copy(0, 4096, 64), 100_000)
    return stage(vector=[words], gpsimd=[words], scalar=[np.tile(activation(0, 4096, 64), 100_000)])


def network_sized() -> Stage:
    """As many words and transfers as a ResNet-50: 10,000 and 3,000 of 16 shares."""
    n, k = 3000, np.arange(3000)
    triggers = np.tile(trigger(0), n)
    triggers["arg"], triggers["post_sem"], triggers["op0"] = k, 16 + k % 200, k % 8
    pairs = np.tile(np.concatenate([load(), matmul(post=(1, 1))]), n)
    pairs["wait_sem"][::2, 0], pairs["wait_val"][::2, 0] = 16 + k % 200, 16 * (k // 200 + 1)
    drain = np.tile(activation(0, 4096, 512), 1000)
    drain["wait_sem"][:, 0], drain["wait_val"][:, 0] = 1, 3 * np.arange(1, 1001)
    return stage([np.tile(dram_to_sbuf(128, 2048), n)], sync=[triggers], tensor=[pairs], scalar=[drain])


@pytest.mark.parametrize("program, seconds", [(big_vector, 300_000 / 5e6), (network_sized, 0.020)])
def test_compiled_loop_is_fast(program: object, seconds: float) -> None:
    """5 million words per second and a network in 20 ms; several times faster on an idle machine."""
    assert timing.compiled is not None and callable(program)
    problem = prepare([Placed(program())], V2)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        machine = timing.compiled.Machine(problem)
        machine.start(0, 0)
        assert machine.advance(LAST_TICK) == 0
        best = min(best, time.perf_counter() - started)
    assert best < seconds
