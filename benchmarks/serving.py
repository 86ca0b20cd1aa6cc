"""Host time of serving a million requests, and how close the request-level model is to the machine on a thousand.

Run with `python benchmarks/serving.py`. Nothing in the tests depends on the host times; the tests check the errors.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import models

import neuronsim
from isa import target as targets
from neuronsim.serving import Load, ModelPlan, Step, closed, poisson, serve
from neuronsim.serving.planning import plan

MILLION, THOUSAND = 1_000_000, 1_000
LOAD = 0.7  # of what the cores can do when all are kept busy
STAGE_TICKS = (45_000, 50_000)  # on inf1, a nanosecond each: stages of a pipeline that is a little out of balance


def pipeline(cores: int) -> ModelPlan:
    """A pipeline of stages that share nothing."""
    steps = [Step("core", core, STAGE_TICKS[core % 2], upstream=core > 0) for core in range(cores)]
    return ModelPlan(f"{cores} stages", ((Step("link", 0, 1000), *steps, Step("link", 3, 500)),))


def programs(folder: Path, target: targets.Target) -> Iterator[tuple[str, ModelPlan]]:
    """BERT-base on one chip, bound by its memory: copies that fetch all weights, a pipeline that fetches a part."""
    bert = models.bert(folder, 1)
    for cores, copies in ((None, [[0], [1], [2], [3]]), (4, [[0, 1, 2, 3]])):
        program = neuronsim.compile(bert, target=target.name, neuroncore_pipeline_cores=cores).program
        what = f"{len(copies)} copies" if cores is None else f"a pipeline of {cores} cores"
        yield f"BERT-base on {target.name}, {what}", plan(program, target, copies)


def million(folder: Path) -> Iterator[tuple[str, str, float]]:
    """What is served a million requests, by which method, and the host's seconds, for every method."""
    large, xlarge = targets.load("inf1.6xlarge"), targets.load("inf1.xlarge")
    stages, what = pipeline(16), "16 stages that share nothing"
    rate = LOAD * large.tick_hz / STAGE_TICKS[1]
    yield (f"{what}, closed loop", *timed(stages, closed(MILLION, 32), large))
    yield (f"{what}, Poisson arrivals", *timed(stages, poisson(MILLION, rate), large))
    for what, model in programs(folder, xlarge):
        yield (f"{what}, closed loop", *timed(model, closed(MILLION, 8), xlarge))
        yield (f"{what}, Poisson arrivals", *timed(model, poisson(MILLION, LOAD * highest(model, xlarge)), xlarge))


def timed(model: ModelPlan, load: Load, target: targets.Target) -> tuple[str, float]:
    began = time.perf_counter()
    served = serve([model], [load], target)
    return served.method, time.perf_counter() - began


def highest(model: ModelPlan, target: targets.Target) -> float:
    """Requests per second with all cores kept busy."""
    return serve([model], [closed(200, 8)], target, "machine").loads[0].steady_per_s


def errors(model: ModelPlan, target: targets.Target) -> list[str]:
    """Of the request-level model, on a thousand requests."""
    few = [poisson(THOUSAND, LOAD * highest(model, target), seed=1)]
    exact, close = (serve([model], few, target, method).loads[0] for method in ("machine", "approximate"))
    return [f"p{p} {close.percentile_s(p) / exact.percentile_s(p) - 1:+.2%}" for p in (50, 99)]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print("Host time of a million requests")
        for what, method, seconds in million(Path(folder)):
            print(f"   {what}: {seconds:.2f} s ({method})")
        print("Request-level model against the machine, a thousand requests")
        for what, model in programs(Path(folder), target := targets.load("inf1.xlarge")):
            print(f"   {what}: {', '.join(errors(model, target))}")


if __name__ == "__main__":
    main()
