"""NeuronPerf's figures of a model on a simulated instance, with what explains them: cores, stages, contention.

Keys are NeuronPerf's where it has them (archive/neuronperf/, `neuronperf.reporting` of the public SDK). Times are
simulated. An inference is one row of a batch, as there.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isa.errors import NeuronError
from neuronsim.runtime.contention import contention
from neuronsim.runtime.environment import GROUP_SIZES, LOGICAL_NC_CONFIG, NUM_CORES, VISIBLE_CORES
from neuronsim.runtime.instance import Instance
from neuronsim.runtime.memory import Usage
from neuronsim.serving import Load, Requests, Served, StepUse, closed, parse
from neuronsim.serving.planning import batch_of

if TYPE_CHECKING:
    from isa.target import Target
    from neuronsim.api import Neff

PRINTED = ("throughput_avg", "latency_ms_p50", "latency_ms_p99", "n_models", "pipeline_size", "workers_per_model",
           "batch_size", "model_filename")  # fmt: skip
PERCENTILES = (0, 50, 90, 95, 99, 100)
RUNS_PER_CORE = 2  # in flight by default: one that runs, one that is handed over meanwhile
REQUESTS = 1000  # by default
_WINDOWS = 10  # of equal length, the busiest of which is `throughput_peak`


Progress = Callable[[int, int], None]  # requests done, of how many


class BenchError(NeuronError):
    """A benchmark that the instance cannot run."""

    code = "BENCH"


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        n_models: copies; None: as many as the instance has cores for.
        in_flight: requests in flight for each copy, when `arrivals` is None; None: `RUNS_PER_CORE` for each core.
        requests: how many in all; None: `REQUESTS`, or all that a file of arrivals has.
        arrivals: "poisson:RATE", "constant:RATE" or a file of seconds; None: a closed loop.
        rows: of each request; 0: a whole batch.
        usd_per_hour: price; None: the target file's.
    """

    n_models: int | None = None
    in_flight: int | None = None
    requests: int | None = None
    arrivals: str | None = None
    seed: int = 0
    policy: str = "round_robin"
    rows: int = 0
    method: str = "auto"
    usd_per_hour: float | None = None


def run(
    neff: Neff, target: Target, question: Question = Question(), state_dir: str | Path | None = None,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Load the copies, each on a group of its own, serve the requests, and report.

    Args:
        state_dir: claim the cores on the simulated instance that runtimes share through that folder; None: a machine
            of its own. `neuronsim top` sees both.
    Returns: JSON values; see `docs/tools.md`.
    Raises: BenchError, NrtError, ServingError, InputError.
    """
    size = neff.program.cores
    copies = _copies(question, size, target)
    load = _load(question, copies * _workers(question, size))
    with Instance(target, _environ(size, copies), state_dir, private=state_dir is None) as instance:
        model = instance.data_parallel(neff, copies)
        served = instance.serve([(model, load)], question.method, on_progress)
        usage = instance.memory().cores
    return {**_perf(neff, target, question, copies, size, served), **_details(served, usage, target)}


def _environ(size: int, copies: int) -> dict[str, str]:
    """The variables of this process, but its cores are groups of one copy each. Programs are for physical cores."""
    others = {name: value for name, value in os.environ.items() if name not in (VISIBLE_CORES, NUM_CORES)}
    return {**others, GROUP_SIZES: ",".join([str(size)] * copies), LOGICAL_NC_CONFIG: "1"}


def _copies(question: Question, size: int, target: Target) -> int:
    fit = target.cores // size
    copies = fit if question.n_models is None else question.n_models
    if not 1 <= copies <= fit:
        raise BenchError(
            f"{target.name} has too few cores", where=f"{max(copies, 1)} x {size} core(s)", limit=target.cores,
            actual=max(copies, 1) * size,
            help=f"--n-models {fit} at most" if fit else "take a larger instance (neuronsim ls), or compile for fewer "
            "cores",
        )  # fmt: skip
    return copies


def _workers(question: Question, size: int) -> int:
    return question.in_flight or RUNS_PER_CORE * size


def _load(question: Question, in_flight: int) -> Load:
    options: dict[str, Any] = {"rows": question.rows, "policy": question.policy}
    if question.arrivals is None:
        return closed(question.requests or REQUESTS, in_flight, **options)
    if question.in_flight is not None:
        raise BenchError("--in-flight is for a closed loop, --arrivals for an open one", help="leave one of them out")
    is_file = not question.arrivals.startswith(("poisson:", "constant:"))
    return parse(question.arrivals, question.requests or (0 if is_file else REQUESTS), question.seed, **options)


# ---- NeuronPerf's keys
def _perf(
    neff: Neff, target: Target, question: Question, copies: int, size: int, served: Served
) -> dict[str, Any]:
    (requests,) = served.loads
    batch = batch_of(neff.program)
    rows = question.rows or batch
    throughput = requests.steady_per_s * rows
    price = target.usd_per_hour if question.usd_per_hour is None else question.usd_per_hour
    latencies = {f"latency_ms_p{p}": 1e3 * requests.percentile_s(p) for p in PERCENTILES}
    return {
        "model_name": neff.program.name,
        "model_filename": Path(neff.path).name if neff.path else "",
        "device_type": "neuron",
        "instance_type": target.name,
        "n_models": copies,
        "workers_per_model": _workers(question, size) if question.arrivals is None else None,
        "pipeline_size": size,
        "n_devices": copies * size,
        "batch_size": batch,
        "throughput_avg": throughput,
        "throughput_peak": peak(requests) * rows,
        **latencies,
        "e2e_avg_ms": 1e3 * float(requests.latency_s.mean()) if len(requests.end) else 0.0,
        "total_infs": len(requests.end) * rows,
        "total_s": served.seconds,
        "status": "finished",
        "cost_per_hour": price,
        "cost_per_1m_inf": price * 1e6 / (3600 * throughput) if price is not None and throughput else None,
    }


def peak(requests: Requests) -> float:
    """Requests per second in the busiest of some windows of equal length, which share the time of all requests."""
    if not len(requests.end):
        return 0.0
    first, last = int(requests.arrival.min()), int(requests.end.max())
    counts, edges = np.histogram(requests.end, bins=_WINDOWS, range=(first, max(last, first + 1)))
    return float(counts.max() / (edges[1] - edges[0]) * requests.tick_hz)


# ---- what explains them
def _details(served: Served, usage: Mapping[int, Usage], target: Target) -> dict[str, Any]:
    (requests,) = served.loads
    stages = served.stages
    traffic: Counter[int] = Counter()
    for stage in stages:
        traffic[stage.where] += stage.dram_bytes
    return {
        "cores": [
            {
                "index": core.index,
                "utilization": core.utilization,
                "weights_bytes": usage[core.index].constants,
                "dram_bytes": traffic[core.index],
                "switches": core.switches,
            }
            for core in served.cores
        ],
        "stages": [_stage(stage) for stage in stages],
        "contention": contention(served, target).as_dict(),
        "method": served.method,
        "exact": served.exact,
        "reason": served.reason,
        "requests": len(requests.end),
        "runs": requests.pieces,
        "padding_rows": requests.padding,
        "dram_bytes": int(served.dram_bytes.sum()),
    }


def _stage(stage: StepUse) -> dict[str, Any]:
    return {
        "core": stage.where,
        "copy": stage.copy,
        "runs": stage.runs,
        "busy_ns": stage.busy_ns,
        "bubble_share": stage.bubble_share,
        "alone_ns": stage.alone_ns,
        "together_ns": stage.together_ns,
        "contention": stage.contention,
        "dram_bytes": stage.dram_bytes,
        "queue_mean": stage.queue_mean,
        "queue_max": stage.queue_max,
    }
