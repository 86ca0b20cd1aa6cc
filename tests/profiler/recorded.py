"""Traces of real runs: random programs on several cores, started over and over, as the simulator records them."""

from __future__ import annotations

from functools import partial

import numpy as np
from hypothesis import strategies as st

from isa.program import Program, Stage
from isa.target import Target
from isa.trace import RunWait, Trace
from neuronsim.timing import LAST_TICK, Cores, Placed
from neuronsim.tracing import Recorder, RunRow
from tests.neuronsim.test_timing_twin import MACHINES, programs
from tests.profiler.stages import program_of


def record(stages: list[Stage], target: Target, gaps: list[int]) -> tuple[Trace, list[Program], Target]:
    """Each stage on a core of its own, run once for each gap: that many ticks after its last run."""
    cores = Cores([Placed(stage, core) for core, stage in enumerate(stages)], target)
    program = program_of(*stages)
    recorder = Recorder([program], target)
    ended, begun, left = [0] * len(stages), [0] * len(stages), [list(gaps) for _ in stages]
    numbers: list[int | None] = [None] * len(stages)

    def start(slot: int) -> None:
        begun[slot] = ended[slot] + left[slot].pop(0)
        wait = begun[slot] - ended[slot]
        why = RunWait.WORK if wait else RunWait.NONE
        numbers[slot] = recorder.begin(RunRow(slot, 0, 0, slot, 0, begun[slot], -1, 0, wait, why), stages[slot])
        cores.start(slot, begun[slot])

    for slot in range(len(stages)):
        start(slot)
    while (found := cores.advance(LAST_TICK)) is not None:
        slot, ended[slot] = found
        recorder.end(numbers[slot], ended[slot], partial(cores.timeline, slot))
        if left[slot]:
            start(slot)
    once = {c: [0] for c in ("model", "arrival", "start")} | {"end": [max(ended)], "rows": [1]}
    return recorder.trace(once), [program], target


@st.composite
def recordings(draw: st.DrawFn) -> tuple[Trace, list[Program], Target]:
    """One or two random programs, run up to three times."""
    name = draw(st.sampled_from(["v1", "trn1.2xlarge", "tight", "instant"]))
    stages = [draw(programs(gpsimd=name != "v1")) for _ in range(draw(st.integers(1, min(2, MACHINES[name].cores))))]
    gaps = draw(st.lists(st.one_of(st.just(0), st.integers(0, 2000)), min_size=1, max_size=3))
    return record(stages, MACHINES[name], gaps)


def total_ticks_of(found: np.ndarray, total: int) -> bool:
    """Whether the last axis adds up to `total` everywhere, nothing being negative."""
    return bool((found >= 0).all() and (found.sum(axis=-1) == total).all())
