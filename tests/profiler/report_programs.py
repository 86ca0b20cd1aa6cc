"""The programs of random traces with streams behind their words, which the analyses read."""

from __future__ import annotations

import numpy as np

from isa import word
from isa.program import Program
from tests.profiler import export_traces

WORDS = 64  # of each engine; random traces number the words of a run from 0, fewer than that


def programs() -> list[Program]:
    """As `export_traces.programs`; every word posts and waits for nothing."""
    made = export_traces.programs()
    for program in made:
        for stage in program.stages:
            stage.streams = {engine: np.zeros(WORDS, word.WORD) for engine in word.ENGINES}
    return made
