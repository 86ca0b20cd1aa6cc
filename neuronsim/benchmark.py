"""NeuronPerf's figures of models on a simulated instance, with what explains them: cores, stages, contention.

Keys are NeuronPerf's where it has them (archive/neuronperf/, `neuronperf.reporting` of the public SDK). Times are
simulated. An inference is one row of a batch, as there.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isa.errors import NeuronError
from neuronsim.runtime.contention import contention
from neuronsim.runtime.environment import GROUP_SIZES, LOGICAL_NC_CONFIG, NUM_CORES, VISIBLE_CORES
from neuronsim.runtime.instance import Instance
from neuronsim.serving import Load, Requests, Served, StepUse, closed, parse
from neuronsim.serving.planning import batch_of

if TYPE_CHECKING:
    from isa.target import Target
    from neuronsim.api import Neff
    from neuronsim.runtime.model import LoadedModel

PRINTED = ("throughput_avg", "latency_ms_p50", "latency_ms_p99", "n_models", "pipeline_size", "workers_per_model",
           "batch_size", "model_filename")  # fmt: skip
PERCENTILES = (0, 50, 90, 95, 99, 100)
RUNS_PER_CORE = 2  # in flight by default: one that runs, one that is handed over meanwhile
REQUESTS = 1000  # by default
_TRIAL = 100  # requests of each closed loop, to learn how fast they are next to each other
_WINDOWS = 10  # of equal length, the busiest of which is `throughput_peak`


Progress = Callable[[int, int], None]  # requests done, of how many


class BenchError(NeuronError):
    """A benchmark that the instance cannot run."""

    code = "BENCH"


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        n_models: copies of each model; None: as many as there is room for of one, and one of each of several.
        in_flight: requests in flight for each copy, when `arrivals` is None; None: `RUNS_PER_CORE` for each core.
        requests: how many in all for each model; None: `REQUESTS`, or all that a file of arrivals has. Closed loops of
            several models get fewer where they are slower, so that all of them are under load until the end.
        arrivals: "poisson:RATE", "constant:RATE" or a file of seconds; None: a closed loop.
        rows: of each request; 0: a whole batch.
        usd_per_hour: price; None: the target file's.
        groups: sizes of NeuronCore groups, which models share when there are more of them; None: those of
            NEURONCORE_GROUP_SIZES, or one for each copy.
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
    groups: str | None = None


def run(
    neffs: Neff | Sequence[Neff], target: Target, question: Question = Question(),
    state_dir: str | Path | None = None, on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Load the copies of each model, serve the requests of all at once, and report.

    Args:
        state_dir: claim the cores on the simulated instance that runtimes share through that folder; None: a machine
            of its own. `neuronsim top` sees both.
    Returns: JSON values; see `docs/tools.md`.
    Raises: BenchError, NrtError, ServingError, InputError.
    """
    neffs = list(neffs) if isinstance(neffs, Sequence) else [neffs]
    groups = question.groups or os.environ.get(GROUP_SIZES, "").strip()
    copies = None if groups else _copies(question, neffs, target)
    sizes = groups or ",".join(str(neff.program.cores) for neff in neffs for _ in range(copies or 0))
    with Instance(target, _environ(sizes), state_dir, private=state_dir is None) as instance:
        models = _placed(instance, neffs, question.n_models if groups else copies, bool(groups))
        loads = [(m, _load(question, m, number)) for number, m in enumerate(models)]
        if len(loads) > 1 and question.arrivals is None:
            loads = _ending_together(loads, instance, question.method)
        served = instance.serve(loads, question.method, on_progress)
    rows = [_perf(m, target, question, requests, served) for m, requests in zip(models, served.loads)]
    figures = _priced(rows[0], target, question) if len(rows) == 1 else _together(rows, models, target, question)
    return {**figures, **_details(served, models, target)}


def _environ(sizes: str) -> dict[str, str]:
    """The variables of this process, but with these groups on all cores. Programs are for physical cores."""
    others = {name: value for name, value in os.environ.items() if name not in (VISIBLE_CORES, NUM_CORES)}
    return {**others, GROUP_SIZES: sizes, LOGICAL_NC_CONFIG: "1"}


def _copies(question: Question, neffs: Sequence[Neff], target: Target) -> int:
    """Copies of each model, all on cores of their own."""
    size = sum(neff.program.cores for neff in neffs)
    fit = target.cores // size
    copies = question.n_models or (1 if len(neffs) > 1 else max(fit, 1))
    if copies > fit:
        help = "take a larger instance (neuronsim ls), or compile for fewer cores"
        help = f"--n-models {fit} at most" if fit else help
        raise BenchError(
            f"{target.name} has too few cores", where=f"{copies} x {size} core(s)", limit=target.cores,
            actual=copies * size, help=help if len(neffs) == 1 else f"{help}; models share cores with --groups",
        )  # fmt: skip
    return copies


def _placed(instance: Instance, neffs: Sequence[Neff], copies: int | None, shared: bool) -> list[list[LoadedModel]]:
    """Each model's copies; without sharing, every group is for one copy, in this order."""
    if len(neffs) == 1 or not shared:
        return [[instance.data_parallel(neff, copies)] for neff in neffs]
    models = [[instance.load(neff) for _ in range(copies or 1)] for neff in neffs]
    for loaded in models:
        core, uses = Counter(core for model in loaded for core in model.cores).most_common(1)[0]
        if uses > 1:
            raise BenchError("copies of one model are on cores of their own", where=f"core {core}, {loaded[0].name}",
                             limit=1, actual=f"{uses} copies", help="ask for more groups, or for a smaller --n-models")
    return models


# ---- the loads
def _load(question: Question, model: Sequence[LoadedModel], number: int) -> Load:
    options: dict[str, Any] = {"rows": question.rows, "policy": question.policy}
    if question.arrivals is None:
        return closed(question.requests or REQUESTS, _replicas(model) * _workers(question, model), **options)
    if question.in_flight is not None:
        raise BenchError("--in-flight is for a closed loop, --arrivals for an open one", help="leave one of them out")
    is_file = not question.arrivals.startswith(("poisson:", "constant:"))
    requests = question.requests or (0 if is_file else REQUESTS)
    return parse(question.arrivals, requests, question.seed + number, **options)


def _workers(question: Question, model: Sequence[LoadedModel]) -> int:
    return question.in_flight or RUNS_PER_CORE * model[0].neff.program.cores


def _replicas(model: Sequence[LoadedModel]) -> int:
    return sum(len(loaded.replicas) for loaded in model)


Loads = list[tuple[list["LoadedModel"], Load]]


def _ending_together(loads: Loads, instance: Instance, method: str) -> Loads:
    """Fewer requests for slower models: what one did after the others had ended would not show what they share."""
    trial = [(model, replace(load, requests=min(load.requests, _TRIAL))) for model, load in loads]
    ends = [np.sort(requests.end) for requests in instance.serve(trial, method).loads]
    until = min(int(column[-1]) for column in ends)
    ended = [max(int(np.searchsorted(column, until, side="right")), 1) for column in ends]
    rates = [count / int(column[count - 1]) for count, column in zip(ended, ends)]
    return [
        (model, replace(load, requests=max(round(load.requests * rate / max(rates)), 1)))
        for (model, load), rate in zip(loads, rates)
    ]


# ---- NeuronPerf's keys
def _perf(
    model: Sequence[LoadedModel], target: Target, question: Question, requests: Requests, served: Served
) -> dict[str, Any]:
    """One model."""
    neff, copies = model[0].neff, _replicas(model)
    batch = batch_of(neff.program)
    rows = question.rows or batch
    latencies = {f"latency_ms_p{p}": 1e3 * requests.percentile_s(p) for p in PERCENTILES}
    return {
        "model_name": neff.program.name,
        "model_filename": Path(neff.path).name if neff.path else "",
        "device_type": "neuron",
        "instance_type": target.name,
        "n_models": copies,
        "workers_per_model": _workers(question, model) if question.arrivals is None else None,
        "pipeline_size": neff.program.cores,
        "n_devices": copies * neff.program.cores,
        "batch_size": batch,
        "throughput_avg": requests.steady_per_s * rows,
        "throughput_peak": peak(requests) * rows,
        **latencies,
        "e2e_avg_ms": 1e3 * float(requests.latency_s.mean()) if len(requests.end) else 0.0,
        "total_infs": len(requests.end) * rows,
        "total_s": served.seconds,
        "status": "finished",
    }


def _together(
    rows: Sequence[dict[str, Any]], models: Sequence[Sequence[LoadedModel]], target: Target, question: Question
) -> dict[str, Any]:
    """Several models: sums, the cost of an inference of whichever model, and each model's own figures."""
    first = rows[0]
    return _priced({
        **{key: first[key] for key in ("device_type", "instance_type")},
        "n_models": sum(row["n_models"] for row in rows),
        "n_devices": len({core for model in models for loaded in model for core in loaded.cores}),
        "throughput_avg": sum(row["throughput_avg"] for row in rows),
        "total_infs": sum(row["total_infs"] for row in rows),
        **{key: first[key] for key in ("total_s", "status")},
        "models": list(rows),
    }, target, question)


def _priced(row: dict[str, Any], target: Target, question: Question) -> dict[str, Any]:
    price, rate = target.usd_per_hour if question.usd_per_hour is None else question.usd_per_hour, row["throughput_avg"]
    cost = price * 1e6 / (3600 * rate) if price is not None and rate else None
    return {**row, "cost_per_hour": price, "cost_per_1m_inf": cost}


def peak(requests: Requests) -> float:
    """Requests per second in the busiest of some windows of equal length, which share the time of all requests."""
    if not len(requests.end):
        return 0.0
    first, last = int(requests.arrival.min()), int(requests.end.max())
    counts, edges = np.histogram(requests.end, bins=_WINDOWS, range=(first, max(last, first + 1)))
    return float(counts.max() / (edges[1] - edges[0]) * requests.tick_hz)


# ---- what explains them
def _details(served: Served, models: Sequence[Sequence[LoadedModel]], target: Target) -> dict[str, Any]:
    traffic: Counter[int] = Counter()
    for stage in served.stages:
        traffic[stage.where] += stage.dram_bytes
    weights = _weights(models)
    return {
        "cores": [
            {
                "index": core.index,
                "utilization": core.utilization,
                "weights_bytes": weights[core.index],
                "dram_bytes": traffic[core.index],
                "switches": core.switches,
            }
            for core in served.cores
        ],
        "stages": [_stage(stage) for stage in served.stages],
        "contention": contention(served, target).as_dict(),
        "method": served.method,
        "exact": served.exact,
        "reason": served.reason,
        "requests": sum(len(requests.end) for requests in served.loads),
        "runs": sum(requests.pieces for requests in served.loads),
        "padding_rows": sum(requests.padding for requests in served.loads),
        "dram_bytes": int(served.dram_bytes.sum()),
    }


def _weights(models: Sequence[Sequence[LoadedModel]]) -> Mapping[int, int]:
    """By core, bytes of the weights of all models on it, whether or not copies share them in device memory."""
    found: Counter[int] = Counter()
    for loaded in (loaded for model in models for loaded in model):
        for cores in loaded.replicas:
            for core, usage in zip(cores, loaded.usage, strict=True):
                found[core] += usage.constants
    return found


def _stage(stage: StepUse) -> dict[str, Any]:
    return {
        "core": stage.where,
        "model": stage.model,
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
