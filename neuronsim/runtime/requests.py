"""Requests through the models of an instance: what is loaded where becomes what `neuronsim.serving` simulates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from neuronsim.runtime.status import NrtError, NrtStatus
from neuronsim.serving import Load, ModelPlan, Served, serve
from neuronsim.serving.alone import Bench
from neuronsim.serving.planning import plan

if TYPE_CHECKING:
    from neuronsim.runtime.instance import Instance
    from neuronsim.runtime.model import LoadedModel
    from neuronsim.tracing import Recorder

Progress = Callable[[int, int], None]


class Server:
    """Serves loads on one instance; times each stage alone once."""

    def __init__(self, instance: Instance) -> None:
        self._target, self._cores, self._activity = instance.target, instance.cores, instance.activity
        self._bench = Bench(instance.target)

    def serve(
        self, models: Sequence[Sequence[LoadedModel]], loads: Sequence[Load], method: str, on_progress: Progress | None,
        recorder: Recorder | None = None,
    ) -> Served:
        """Put each load on its models; `on_progress` is called a few times a second, `recorder` given every run."""
        done_before = 0

        def progress(done: int, total: int, utilization: np.ndarray) -> None:
            nonlocal done_before
            self._activity.ended(NrtStatus.NRT_SUCCESS, done - done_before)
            self._activity.at_work({core: float(utilization[core]) for core in self._cores})
            done_before = done
            self._activity.show()
            if on_progress is not None:
                on_progress(done, total)

        plans = [self._plan(group) for group in models]
        served = serve(plans, loads, self._target, method, progress, recorder=recorder)
        self._activity.ended(NrtStatus.NRT_SUCCESS, sum(len(r.end) for r in served.loads) - done_before)
        self._count(models, served)
        return served

    def _plan(self, models: Sequence[LoadedModel]) -> ModelPlan:
        """All copies of loads of one NEFF."""
        first = models[0]
        if any(m.identity != first.identity for m in models):
            raise NrtError(NrtStatus.NRT_INVALID, "requests go to one model, or to several loads of the same NEFF",
                           where=", ".join(m.name for m in models), help="give each model its own load")
        replicas = [cores for m in models for cores in m.replicas]
        return plan(first.neff.program, self._target, replicas, name=first.name, bench=self._bench)

    def _count(self, models: Sequence[Sequence[LoadedModel]], served: Served) -> None:
        flops: Counter[int] = Counter()
        of_core = [
            {core: count for m in group for cores in m.replicas for core, count in zip(cores, m.flops)}
            for group in models
        ]
        runs = {(step.model, step.where): step.runs for step in served.stages}
        for (number, core), count in runs.items():
            flops[core] += count * of_core[number][core]
        latencies = np.concatenate([r.latency_s for r in served.loads]).tolist()
        busy_ns = {core.index: core.busy_ns for core in served.cores}
        self._activity.worked(busy_ns, flops, served.seconds * 1e9, latencies)
