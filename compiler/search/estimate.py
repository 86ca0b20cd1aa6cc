"""What a compiled pipeline gives on an instance, by the schedule's own estimates: throughput, latency, cost.

Copies of the program fill the instance, core after core. A copy delivers at the rate of its slowest stage, and no
faster than the DRAM of a chip brings the weights that its cores do not hold, or than the host link of a chip moves
inputs and outputs. What segments on the CPU take is not part of it.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from isa.program import INPUT, OUTPUT, Program
from isa.target import Target

SECONDS_PER_HOUR = 3600
PER_MILLION = 1e6


@dataclass(frozen=True)
class StageFacts:
    """One stage: its core, its estimated time, and the bytes of a run.

    Attributes:
        dram_bytes: between the core and its chip's DRAM: weights that are not pinned, inputs and outputs of the host.
        host_bytes: over the host link.
    """

    core: int
    estimated_ns: float
    weights_bytes: int
    pinned_bytes: int
    streamed_bytes: int
    dram_bytes: int
    host_bytes: int


@dataclass(frozen=True)
class Facts:
    """What one compilation with `cores` asked for says; `error` is why there is no program."""

    cores: int
    stages: tuple[StageFacts, ...] = ()
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Facts:
        return cls(values["cores"], tuple(StageFacts(**s) for s in values["stages"]), values["error"])


@dataclass(frozen=True)
class Trial:
    """A number of cores, tried.

    Attributes:
        cores: asked for. used: cores of one copy. copies: on the instance.
        throughput_per_s: of the whole instance. latency_ms: of one inference through an empty pipeline.
        usd_per_million: per million inferences of a full instance; None where no price is published.
        imbalance: slowest stage over the mean. error: why there is no program; the rest is 0 then.
    """

    cores: int
    used: int = 0
    instance: str = ""
    copies: int = 0
    throughput_per_s: float = 0.0
    latency_ms: float = 0.0
    usd_per_million: float | None = None
    imbalance: float = 0.0
    pinned_bytes: int = 0
    streamed_bytes: int = 0
    error: str = ""


def facts_of(program: Program, cores: int) -> Facts:
    """The facts of a program that was compiled for pipelines of `cores`."""
    found = []
    for node in program.nodes:
        if node.kind == "cpu":
            continue
        stage = program.stages[node.stage]
        faces = ((INPUT, not node.upstream), (OUTPUT, program.downstream(node) is None))
        host = sum(v.size_bytes for kind, mine in faces if mine for v in stage.variables if v.kind == kind)
        info = {key: cast(int, stage.info.get(key, 0)) for key in ("weights_bytes", "pinned_bytes", "streamed_bytes")}
        time = cast(float, stage.info["estimated_ns"])
        found.append(StageFacts(node.core, time, **info, dram_bytes=info["streamed_bytes"] + host, host_bytes=host))
    return Facts(cores, tuple(found))


def trial_of(facts: Facts, target: Target) -> Trial:
    """What the program gives on `target`, which has at least its cores."""
    if facts.error or not facts.stages:
        return Trial(facts.cores, error=facts.error or "nothing runs on the device")
    used = 1 + max(s.core for s in facts.stages)
    copies = target.cores // used
    interval = max(_interval_ns(facts, target, used, copies), 1e-9)
    throughput = copies * 1e9 / interval
    price = target.usd_per_hour
    times = [s.estimated_ns for s in facts.stages]
    moved = sum(s.host_bytes for s in facts.stages) / target.host_bytes_per_ns
    credits_ns = (len(times) - 1) * target.semaphore_latency_ns
    return Trial(
        facts.cores, used, target.name, copies, throughput, (sum(times) + moved + credits_ns) / 1e6,
        None if price is None else price * PER_MILLION / (throughput * SECONDS_PER_HOUR),
        max(times) * len(times) / max(sum(times), 1e-9),
        sum(s.pinned_bytes for s in facts.stages), sum(s.streamed_bytes for s in facts.stages),
    )


def _interval_ns(facts: Facts, target: Target, used: int, copies: int) -> float:
    """Time between two results of one copy while all copies run."""
    dram: Counter[int] = Counter()
    link: Counter[int] = Counter()
    for copy in range(copies):
        for stage in facts.stages:
            chip = (copy * used + stage.core) // target.cores_per_chip
            dram[chip] += stage.dram_bytes
            link[chip] += stage.host_bytes
    return max(
        max(s.estimated_ns for s in facts.stages),
        max(dram.values()) / target.dram_bytes_per_ns,
        max(link.values()) / target.host_bytes_per_ns,
    )
