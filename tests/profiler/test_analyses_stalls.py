"""Time of engines: everything adds up, and each wait is what it was made to be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from isa.program import Program
from isa.target import Target
from isa.trace import Cause, Trace
from isa.word import ENGINES
from neuronsim.execution import Machine
from profiler.analyses.engine_time import NAMES, WAIT, Stall, issued, segments
from profiler.analyses.posts import Posts
from profiler.analyses.source import read
from profiler.analyses.stalls import Stalls, stalls
from tests.neuronsim.bound_programs import BOUND
from tests.neuronsim.test_timing_twin import MACHINES
from tests.neuronsim.timing_programs import copy, stage, word
from tests.profiler.recorded import record, recordings, total_ticks_of


@settings(max_examples=40, deadline=None, derandomize=True)
@given(recordings())
def test_every_tick_of_every_engine_has_one_class(recorded: tuple[Trace, list[Program], Target]) -> None:
    trace, programs, target = recorded
    found = stalls(trace, programs, target)
    assert total_ticks_of(found.direct, trace.total_ticks)
    assert total_ticks_of(found.root, trace.total_ticks)
    assert np.array_equal(found.direct[..., Stall.ACTIVE], found.root[..., Stall.ACTIVE])
    assert not found.root[..., Stall.END_OF_STREAM].any()  # a run always ends with something


@settings(max_examples=30, deadline=None, derandomize=True)
@given(recordings())
def test_engines_that_are_not_the_pe_wait_exactly_between_their_words(
    recorded: tuple[Trace, list[Program], Target],
) -> None:
    trace, programs, target = recorded
    table, found = trace.instructions, segments(trace, target)
    one = table["engine"] > 0
    wait = (table["start"] - table["wait_start"])[one].sum()
    on_pe = found.lane % len(ENGINES) == 0
    assert (found.end - found.start)[(found.kind == WAIT) & ~on_pe].sum() == wait
    active = (found.end - found.start)[(found.kind == Stall.ACTIVE) & ~on_pe].sum()
    assert active == (issued(trace, target) - table["start"])[one].sum()
    classes = stalls(trace, programs, target).word_class
    assert ((classes != Stall.ACTIVE)[one] == (table["start"] > table["wait_start"])[one]).all()
    assert (classes[one & (table["cause"] == Cause.RAW)] == Stall.RAW).all()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(recordings())
def test_posts_are_found_again(recorded: tuple[Trace, list[Program], Target]) -> None:
    """Where a post was met last, the trace says by whom and when."""
    trace, programs, target = recorded
    table = trace.instructions
    known = read(trace, programs)
    by_words = (known.streams("wait_sem")[known.word] < 16).all(axis=1)  # transfers may be waited for in part
    words = np.flatnonzero((table["cause"] == Cause.SEMAPHORE) & by_words)
    tick, op = Posts(known, target).met(words)
    assert np.array_equal(tick, table["start"][words])
    same = table["retire"][op] == table["retire"][table["cause_op"][words]]
    assert same.all()


def test_a_wait_for_a_port_is_only_what_follows_the_post() -> None:
    """gpsimd waits for a long copy of the scalar engine, then for the port that the vector engine has just taken."""
    late = [copy(0, 8192, 1024) for _ in range(8)]
    made = stage(
        scalar=[*late, word("nop", post=(1, 1))],
        vector=[word("nop", wait=((1, 1),)), *(copy(65536, 70000, 512) for _ in range(3))],
        gpsimd=[word("nop", wait=((1, 1),)), copy(80000, 90000, 16, wait=((1, 1),))],
    )
    trace, programs, target = record([made], MACHINES["trn1.2xlarge"], [0])
    found = stalls(trace, programs, target).direct[0, ENGINES.index("gpsimd")]
    assert found[Stall.SCALAR] > 0.5 * trace.total_ticks
    assert found[Stall.PORT] < 0.3 * trace.total_ticks


def of_bound(*names: str) -> Stalls:
    program, target = BOUND[names]()
    return stalls(Machine(program, target).run([{}], False, 1)[0].trace(program, target), [program], target)


# what limits the program -> engine, class that takes most of its time in the end
EXPECTED = {
    ("tensor engine",): ("vector", Stall.TENSOR),
    ("vector engine",): ("tensor", Stall.VECTOR),
    ("scalar engine",): ("vector", Stall.SCALAR),
    ("DMA engines",): ("sync", Stall.DMA_SERVICE),
    ("DMA start latency",): ("sync", Stall.DMA_START),
    ("semaphore latency",): ("sync", Stall.SIGNAL),
    ("host link",): ("tensor", Stall.NO_INPUT),
}


@pytest.mark.parametrize("names", list(EXPECTED), ids=" and ".join)
def test_what_a_program_is_made_to_wait_for_is_found(names: tuple[str, ...]) -> None:
    engine, expected = EXPECTED[names]
    shares = of_bound(*names).percent("root")[ENGINES.index(engine)]
    assert NAMES[int(np.argmax(shares))] == expected.name.lower()


def test_bandwidth_that_is_taken_is_seen_through_the_queue() -> None:
    found = of_bound("DRAM bandwidth").percent("root")[ENGINES.index("sync")]
    assert found[Stall.DRAM] > 40 > 1 > found[Stall.DMA_QUEUE]
    found = of_bound("DRAM bandwidth").percent("direct")[ENGINES.index("sync")]
    assert found[Stall.END_OF_STREAM] > 99


def test_json_names_only_what_happened() -> None:
    found = of_bound("semaphore latency").as_json()
    sync = found["engines_percent"]["sync"]
    assert set(sync["root"]) == {"active", "tensor", "signal", "raw"}
    assert sum(sync["root"].values()) == pytest.approx(100)
    lane = next(lane for lane in found["lanes"] if lane["engine"] == "sync")
    assert sum(lane["direct"].values()) == found["total_ticks"]
