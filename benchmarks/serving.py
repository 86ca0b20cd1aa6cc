"""Host time of serving a million requests, and how close the request-level model is to the machine on a thousand.

Run with `python benchmarks/serving.py`. Nothing in the tests depends on the host times; the tests check the errors.
"""

from __future__ import annotations

import sys
import tempfile
import time
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


def timed(model: ModelPlan, load: Load, target: targets.Target, method: str = "auto") -> str:
    began = time.perf_counter()
    served = serve([model], [load], target, method)
    seconds = time.perf_counter() - began
    return f"{served.method:12} {len(served.loads[0].end):9,} requests  {seconds:6.2f} s of the host"


def main() -> None:
    large, xlarge = targets.load("inf1.6xlarge"), targets.load("inf1.xlarge")
    stages = pipeline(16)
    print("16 stages that share nothing")
    for load in (closed(MILLION, 32), poisson(MILLION, LOAD * large.tick_hz / STAGE_TICKS[1])):
        print("  ", timed(stages, load, large))
    print("  ", timed(stages, poisson(MILLION, LOAD * large.tick_hz / STAGE_TICKS[1]), large, "approximate"))
    with tempfile.TemporaryDirectory() as folder:
        bert = models.bert(Path(folder), 1)
        for cores, copies in ((None, [[0], [1], [2], [3]]), (4, [[0, 1, 2, 3]])):
            program = neuronsim.compile(bert, target=xlarge.name, neuroncore_pipeline_cores=cores).program
            print(f"BERT-base on {xlarge.name}, {len(copies)} copies of {program.cores} core(s)")
            report(plan(program, xlarge, copies), xlarge)


def report(model: ModelPlan, target: targets.Target) -> None:
    """Errors on a thousand requests, host time of a million."""
    most = serve([model], [closed(200, 8)], target, "machine").loads[0].steady_per_s
    few = [poisson(THOUSAND, LOAD * most, seed=1)]
    exact, close = (serve([model], few, target, method).loads[0] for method in ("machine", "approximate"))
    errors = [f"p{p} {close.percentile_s(p) / exact.percentile_s(p) - 1:+.2%}" for p in (50, 99)]
    print("   request-level model against the machine:", ", ".join(errors))
    for load in (closed(MILLION, 8), poisson(MILLION, LOAD * most)):
        print("  ", timed(model, load, target))


if __name__ == "__main__":
    main()
