"""Which stages a trace is of, and how often each ran: what ties rows to words, descriptors and layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isa.program import Program, Stage
from isa.trace import Trace
from profiler.intervals import covered


@dataclass(frozen=True)
class Ran:
    """A stage of a model and how often it ran."""

    model: int
    index: int
    stage: Stage
    runs: int


def stages(trace: Trace, programs: Sequence[Program]) -> tuple[list[Ran], np.ndarray]:
    """The stages that ran, by model and number; and for each run its place in that list, [runs] int64."""
    pairs = np.stack([trace.runs["model"], trace.runs["stage"]], axis=1)
    distinct, place, count = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    found = [Ran(int(m), int(s), programs[m].stages[s], int(n)) for (m, s), n in zip(distinct, count, strict=True)]
    return found, place.reshape(-1)


def device_ticks(trace: Trace) -> int:
    """Ticks from the first to the last, without those in which the host was at work and no core was."""
    runs, host = ((t["start"], t["end"]) for t in (trace.runs, trace.host))
    both = (np.concatenate(columns) for columns in zip(runs, host, strict=True))
    return trace.total_ticks - (covered(*both) - covered(*runs))
