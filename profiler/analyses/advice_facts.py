"""What the rules of the advice look at, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from isa import cost
from isa.program import WEIGHT, Program, Stage
from isa.target import Target
from isa.trace import Trace
from profiler import work
from profiler.analyses import layers as layer_time
from profiler.analyses import source
from profiler.analyses.layers import Layers
from profiler.analyses.pipeline import Pipeline, pipeline
from profiler.analyses.resources import Resources, resources
from profiler.analyses.run_paths import Reason, Steps, run_paths
from profiler.analyses.source import Source
from profiler.metrics import metrics

NAMED = 3  # layers or tensors a finding lists


@dataclass(frozen=True)
class Finding:
    """One piece of advice.

    Attributes:
        rule: stable name.
        share_percent: of the time at stake: what the cause takes of the critical paths, or of an engine's time.
        value, threshold, unit: of the rule.
        finding: what was measured; change: what to do, an option or command where there is one.
        where: layers or tensors with most of it.
        source: "Neuron" for a documented rule, else "neuronsim".
    """

    rule: str
    share_percent: float
    value: float
    threshold: float
    unit: str
    finding: str
    change: str
    where: tuple[str, ...] = ()
    source: str = "neuronsim"


class Facts:
    """A trace and what the analyses say about it, worked out when first asked for."""

    def __init__(self, trace: Trace, programs: Sequence[Program], target: Target) -> None:
        self.trace, self.programs, self.target = trace, programs, target

    @cached_property
    def paths(self) -> Steps:
        return run_paths(self.trace, self.target)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        return metrics(self.trace, self.programs, self.target)

    @cached_property
    def layers(self) -> Layers:
        return layer_time.layers(self.trace, self.programs, self.target, self.paths)

    @cached_property
    def source(self) -> Source:
        return source.read(self.trace, self.programs)

    @cached_property
    def pipeline(self) -> Pipeline:
        return pipeline(self.trace, self.programs, self.target)

    @cached_property
    def resources(self) -> Resources:
        return resources(self.trace, self.programs, self.target, self.paths)

    @cached_property
    def path_percent(self) -> np.ndarray:
        """[Reason] of the critical paths of all runs."""
        steps = self.paths
        ticks = np.bincount(steps.reason, weights=steps.end - steps.start, minlength=len(Reason))
        found: np.ndarray = 100.0 * ticks / max(float(ticks.sum()), 1.0)
        return found

    @property
    def memory_percent(self) -> float:
        """Of the critical paths of all runs: time in which DMA brings or takes data."""
        reasons = (Reason.DMA_START, Reason.DMA_QUEUE, Reason.DMA_SERVICE, Reason.DRAM, Reason.LINK)
        return float(self.path_percent[list(reasons)].sum())


def most(f: Facts, key: Callable[[layer_time.Layer], float]) -> tuple[str, ...]:
    """Names of the layers with most of something."""
    found = sorted((row for row in f.layers.layers if key(row)), key=lambda row: (-key(row), row.name))
    return tuple(dict.fromkeys(row.name for row in found))[:NAMED]


def weight_bytes(stage: Stage) -> int:
    """Bytes of weights that a run fetches from DRAM."""
    _, used = work.started(stage)
    weights = [v.id for v in stage.variables if v.kind == WEIGHT]
    d = stage.descriptors[used]
    return int(cost.dma_bytes(d)[0][np.isin(d["src_var"], weights)].sum())
