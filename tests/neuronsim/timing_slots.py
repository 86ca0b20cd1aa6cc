"""Placed stages that hand tensors on, and a driver that starts them at chosen ticks on any machine."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from isa import target
from isa.dtypes import BY_NAME
from isa.program import IN_DRAM, IN_SBUF, INPUT, OUTPUT, Stage, Variable
from neuronsim.timing import Placed
from neuronsim.units.model import IDLE

# chain of 4 chips of 4 cores; everything shared is slow, so that stages meet
CHAIN = target.load("inf1.6xlarge").with_params(
    {"dram.bytes_per_ns": 20.0, "link.bytes_per_ns": 12.0, "dma.start_latency_ns": 100.0})
TORUS = target.load("trn1.32xlarge").with_params({"dram.bytes_per_ns": 50.0, "link.bytes_per_ns": 30.0})

Step = tuple[str, int, int]  # ("start", slot, ticks from now) or ("advance", 0, ticks from now)


def handing(stage: Stage, space: str = IN_DRAM, reads: str = IN_DRAM, stored: Sequence[bool] = ()) -> Stage:
    """The stage with an input (variable 1) and an output (variable 2), which `stored` descriptors write from SBUF."""
    descriptors = stage.descriptors.copy()
    for row in np.flatnonzero(list(stored)):
        d = descriptors[row].copy()
        for field in ("off", "step", "dtype"):
            descriptors[row][f"dst_{field}"], descriptors[row][f"src_{field}"] = d[f"src_{field}"], d[f"dst_{field}"]
        descriptors[row]["src_var"], descriptors[row]["dst_var"] = 0, 2
    fp32 = BY_NAME["fp32"]
    variables = [Variable(1, "x", INPUT, fp32, (1 << 20,), space=reads),
                 Variable(2, "y", OUTPUT, fp32, (1 << 20,), space=space)]
    return replace(stage, descriptors=descriptors, variables=variables)


@st.composite
def placements(draw: st.DrawFn, stages: st.SearchStrategy[Stage], cores: int) -> list[Placed]:
    """One to three stages on some cores, handing on to their own chip or another."""
    spaces, core = st.sampled_from([IN_DRAM, IN_SBUF]), st.sampled_from([0, 1, cores // 2, cores - 1])
    out = []
    for _ in range(draw(st.integers(1, 3))):
        stage = draw(stages)
        m = len(stage.descriptors)
        stored = draw(st.lists(st.booleans(), min_size=m, max_size=m))
        stage = handing(stage, draw(spaces), draw(spaces), stored)
        out.append(Placed(stage, draw(core), draw(st.one_of(st.just(-1), core))))
    return out


def steps(longest: int) -> st.SearchStrategy[list[Step]]:
    """Starts of slots and advances, by up to `longest` ticks from wherever the machine is."""
    ticks = st.one_of(st.just(0), st.integers(0, longest))
    start = st.tuples(st.just("start"), st.integers(0, 2), ticks)
    return st.lists(st.one_of(start, st.tuples(st.just("advance"), st.just(0), ticks)), min_size=1, max_size=12)


class Driver:
    """Applies steps to a machine; a start of a slot that is busy or does not exist is passed over."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        self.status = [IDLE] * machine.problem.slots

    def step(self, step: Step) -> int | None:
        """What `advance` returned; None after a start."""
        what, slot, ticks = step
        if what == "advance":
            return self._advance(self.machine.now + ticks)
        if slot < len(self.status) and not self.status[slot]:
            self.status[slot] = 1
            self.machine.start(slot, self.machine.now + ticks)
        return None

    def finish(self) -> list[tuple[int, int]]:
        """Let all that runs end: (slot, ticks from now on) in order."""
        begun, ends = self.machine.now, []
        while any(self.status):
            slot = self._advance(1 << 60)
            assert slot >= 0
            ends.append((slot, self.machine.now - begun))
        return ends

    def _advance(self, until: int) -> int:
        slot: int = self.machine.advance(until)
        if slot >= 0:
            self.status[slot] = IDLE
        return slot
