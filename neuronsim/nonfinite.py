"""Where NaNs come from: the layer that first reads one, or the word that first makes one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from isa.program import INPUT, Stage
from isa.spec import SPEC
from isa.word import ENGINES
from neuronsim.timing import Timeline

if TYPE_CHECKING:
    from neuronsim.values import Core


def has_nan(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether any of the arrays holds a NaN."""
    return any(_holds(np.isnan, array) for array in arrays.values())


def explain(
    core: Core, timeline: Timeline, given: Mapping[str, np.ndarray], made: Mapping[str, np.ndarray]
) -> Iterator[str]:
    """Where NaNs come from: the first layer that reads a NaN input, or the first word that makes a non-finite number.

    The second is looked for only when an output holds NaN, by running the stage once more on one thread.
    """
    stage = core.stage
    bad = [name for name, array in made.items() if _holds(np.isnan, array)]
    suspect = _not_finite if bad else np.isnan  # an infinity alone is a fair input, for instance in a mask
    poisoned = [v for v in stage.variables if v.kind == INPUT and _holds(suspect, given[v.name])]
    for variable in poisoned:
        what = "NaN" if _holds(np.isnan, given[variable.name]) else "infinities"
        yield f"input {variable.name!r} holds {what}; first read by layer {_first_reader(stage, variable.id)!r}"
    if not bad or poisoned:
        return
    core.run(timeline, given, find_nonfinite=True)
    op = core.first_nonfinite
    if op is not None:
        engine = ENGINES[int(timeline.engine[op])]
        index = int(timeline.index[op])
        layer = stage.debug[int(stage.stream(engine)[index]["debug"])].layer
        yield f"output {bad[0]!r} holds NaN; first NaN or infinity made in layer {layer!r} by {engine}[{index}]"


def _holds(test: Callable[[np.ndarray], np.ndarray], array: np.ndarray) -> bool:
    """Whether any element of a float array (bf16 and fp8 included) meets the test."""
    return array.dtype.kind not in "iub" and bool(test(array).any())


def _not_finite(array: np.ndarray) -> np.ndarray:
    return ~np.isfinite(array)


def _first_reader(stage: Stage, variable: int) -> str:
    """Layer whose transfer comes first, in engine order, among those that read a DRAM variable."""
    trigger = SPEC.by_name["dma_trigger"].opcode
    for engine in ENGINES:
        stream = stage.stream(engine)
        for word in stream[stream["opcode"] == trigger]:
            first, count = int(word["arg"]), int(word["count"])
            if (stage.descriptors["src_var"][first : first + count] == variable).any():
                return stage.debug[int(stage.descriptors["debug"][first]) or int(word["debug"])].layer
    return ""
