"""What memories hold: values of known lifetimes, sums of bytes over time, and pinned weights that stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from isa import target as targets
from isa import word as words
from isa.program import DebugEntry, Program, Stage
from isa.target import Target
from isa.trace import Trace
from profiler.analyses.accesses import accesses, values
from profiler.analyses.occupancy import Memory, occupancy
from tests.neuronsim.timing_programs import copy, dram_to_sbuf, stage, trigger
from tests.profiler.recorded import record, recordings

TARGET = targets.load("trn1.2xlarge")


def of(stages: list[Stage]) -> tuple[Trace, dict[str, Memory]]:
    trace, programs, target = record(stages, TARGET, [0, 0])
    return trace, {m.memory: m for m in occupancy(trace, programs, target).memories}


def chain() -> Stage:
    """A load of 400 bytes to byte 0, a copy of them to 4096, of those to 8192, and back to byte 0."""
    return stage(
        [dram_to_sbuf(128, 400)],
        sync=[trigger(0)],
        vector=[copy(4096, 0, 100, wait=((16, 16),)), copy(8192, 4096, 100), copy(0, 8192, 100)],
    )


def test_a_value_lives_from_its_first_write_to_its_last_read() -> None:
    trace, found = of([chain()])
    sbuf = found["sbuf"]
    # two at a time: while one is copied the source is still needed; nothing reads the last
    assert sbuf.peak == 800 and sbuf.held == 0
    assert max(sbuf.points) == 800 and sbuf.points[-1] >= 400
    assert found["psum"].peak == 0
    assert len(trace.runs["start"]) == 2


def test_what_runs_only_read_is_held() -> None:
    _, found = of([stage(vector=[copy(4096, 0, 100), copy(8192, 0, 50)])])
    assert found["sbuf"].held == 400
    assert found["sbuf"].peak == 400 + 400 + 200  # and what the copies write: the second starts in the first's latency
    assert min(found["sbuf"].points) >= 400


def test_values_of_parts_of_a_tile() -> None:
    """Halves written apart and read at once; the second half is written again after."""
    whole, half = copy(8192, 0, 100), copy(200, 4096, 50)
    found = accesses(stage(vector=[copy(0, 4096, 50), half, whole, half]), words.SBUF)
    assert found.writes.sum() == 4
    ticks = found.op * 10
    kept = values(found, ticks, ticks + 5)
    lives = {(int(found.op[a]), int(found.op[b])): int(n) for a, b, n in zip(kept.first, kept.last, kept.bytes)}
    assert lives == {(0, 2): 200, (1, 2): 200, (2, 2): 400, (3, 3): 200}
    assert kept.held == 200  # bytes 4096..4295, read only


@settings(max_examples=40, deadline=None, derandomize=True)
@given(recordings())
def test_bytes_over_time_are_the_bytes_of_the_transfers(recorded: tuple[Trace, list[Program], Target]) -> None:
    trace, programs, target = recorded
    found = occupancy(trace, programs, target)
    for column in ("read", "written"):
        moved = sum(sum(getattr(d, column)) for d in found.dram)
        assert moved == pytest.approx(trace.transfers[column].sum(), abs=1)
    for memory in found.memories:
        assert memory.held <= max(memory.points) <= memory.peak
        if (trace.runs["end"] > trace.runs["start"]).all():
            assert max(memory.points) == memory.peak


def test_spills_are_told_by_layer() -> None:
    made = chain()
    made.debug = [DebugEntry(), DebugEntry("a", "A", purpose="spill"), DebugEntry("a", "A", purpose="reload")]
    made.streams["sync"] = np.concatenate([made.streams["sync"]] * 3)
    made.streams["sync"]["post_sem"][1:] = 0
    made.descriptors = np.concatenate([made.descriptors] * 3)
    made.descriptors["debug"] = [0, 1, 2]
    made.streams["sync"]["arg"] = [0, 1, 2]
    trace, programs, target = record([made], TARGET, [0])
    (spill,) = occupancy(trace, programs, target).spills
    assert (spill.layer, spill.saved, spill.reloaded) == ("a", 128 * 400, 128 * 400)
