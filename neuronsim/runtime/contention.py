"""What models that were served together took from each other: device memory, host links, cores."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from isa.target import Target
from neuronsim.serving import Served
from neuronsim.serving.model import CORE, LINK


@dataclass(frozen=True)
class ModelContention:
    """One model; times are means of one run, in seconds.

    Attributes:
        device_alone, device_together: on its cores with the machine to itself, and as it was. The difference is what
            the memory of the chips and the links between them cost.
        link: on the host link; link_wait: queued for it, or for a free buffer behind it.
        switch: to bring it onto its cores in place of other models, pinned weights included.
        switches: how often it took another's place on a core, all runs together.
    """

    name: str
    device_alone: float
    device_together: float
    link: float
    link_wait: float
    switch: float
    switches: int

    @property
    def slowdown(self) -> float:
        """How much longer a run took on its cores than alone, as a share."""
        return self.device_together / self.device_alone - 1 if self.device_alone else 0.0


@dataclass(frozen=True)
class Contention:
    """All models served together.

    Attributes:
        dram_share, host_link_share: by chip, the part of the bandwidth and of the time that was used.
        switches, switch_seconds: models that took another's place on a core, and the time that took.
    """

    models: tuple[ModelContention, ...]
    dram_share: dict[int, float]
    host_link_share: dict[int, float]
    switches: int
    switch_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        models = [{**asdict(m), "slowdown": m.slowdown} for m in self.models]
        return {**asdict(self), "models": models}


def contention(served: Served, target: Target) -> Contention:
    """The report of a finished simulation on `target`."""
    span = served.seconds or 1.0
    dram = {chip: int(size) / (target.dram_bytes_per_ns * 1e9 * span) for chip, size in enumerate(served.dram_bytes)}
    link: Counter[int] = Counter()
    for step in served.steps:
        if step.kind == LINK:
            link[step.where] += step.busy_ns * 1e-9 / span  # type: ignore[assignment]
    return Contention(
        tuple(_of_model(served, number) for number in range(len(served.loads))),
        {chip: share for chip, share in dram.items() if share}, dict(sorted(link.items())),
        sum(core.switches for core in served.cores), sum(core.switch_ns for core in served.cores) * 1e-9,
    )


def _of_model(served: Served, number: int) -> ModelContention:
    steps = [step for step in served.steps if step.model == number]
    runs = sum(step.runs for step in steps if step.position == 0) or 1
    cores = [step for step in steps if step.kind == CORE]
    links = [step for step in steps if step.kind == LINK]
    return ModelContention(
        served.loads[number].name,
        sum(step.alone_ns * step.runs for step in cores) * 1e-9 / runs,
        sum(step.together_ns * step.runs for step in cores) * 1e-9 / runs,
        sum(step.busy_ns for step in links) * 1e-9 / runs,
        sum(step.queue_mean for step in links) * served.seconds / runs,  # Little's law
        sum(step.switch_ns for step in cores) * 1e-9 / runs, sum(step.switches for step in cores),
    )
