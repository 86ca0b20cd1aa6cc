"""Running the stages of a cut graph one after another, with values and times: for the sharding tests."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compiler.backend.build import build
from compiler.ir import Graph
from compiler.lower import lower_graph
from compiler.lowering.wish import wishes
from compiler.nonfinite import nonfinite
from compiler.options import CompileOptions, from_keywords
from compiler.precision import Precision
from compiler.sharding.cut import Cut
from compiler.verify import verify
from isa.program import IN_SBUF, INPUT, OUTPUT, Stage
from isa.target import load
from neuronsim.timing import simulate
from neuronsim.values import Core

TARGET = "trn1.2xlarge"


@dataclass(frozen=True)
class Ran:
    """Outputs of the last stage by name, ticks of every stage, and the stages."""

    outputs: dict[str, np.ndarray]
    ticks: list[int]
    stages: list[Stage]


def compile_stages(whole: Graph, parts: Cut, target: str = TARGET, auto_cast: str = "none",
                   pin: bool = False) -> list[Stage]:
    """Lower and build every stage with what is known of the whole graph."""
    options: CompileOptions = from_keywords({"target": target})
    machine = load(target)
    precision = Precision(whole, machine, auto_cast)
    precision.adopt(parts.copies)
    spoilt, wanted = nonfinite(whole), wishes(whole)
    wanted |= {name: wanted[value] for name, value in parts.copies.items() if value in wanted}
    stages = []
    for number, part in enumerate(parts.stages):
        verify(part)
        faces = [*(part.inputs if number else ()), *(part.outputs if number < len(parts.stages) - 1 else ())]
        known = frozenset(v for v in part.values if parts.copies.get(v, v) in spoilt)
        program, _ = lower_graph(part, machine, precision, options, part.outputs, known,
                                 spaces=dict.fromkeys(faces, IN_SBUF), known_wishes=wanted)
        stages.append(build(program, options, pin))
    return stages


def run_stages(stages: Sequence[Stage], feeds: Mapping[str, np.ndarray], target: str = TARGET,
               values: bool = True) -> Ran:
    """Run stages in order; each is given exactly what the one before has made."""
    machine = load(target)
    given, ticks = dict(feeds), []
    for number, stage in enumerate(stages):
        wanted = {v.name: v for v in stage.variables if v.kind == INPUT}
        if number:
            handed = {v.name: v for v in stages[number - 1].variables if v.kind == OUTPUT}
            assert wanted.keys() == handed.keys()
            for name, there in handed.items():
                assert (there.shape, there.dtype) == (wanted[name].shape, wanted[name].dtype), name
        timeline = simulate(stage, machine)
        ticks.append(timeline.total_ticks)
        if values:
            arrays = {n: np.asarray(given[n]).astype(v.dtype.numpy).reshape(v.shape) for n, v in wanted.items()}
            given = dict(Core(stage, machine).run(timeline, arrays, threads=1))
    return Ran(given, ticks, list(stages))
