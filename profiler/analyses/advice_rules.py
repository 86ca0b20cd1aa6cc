"""Our own rules: what limits the rate, balance of stages, weights, waits, the host, and the recording itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from isa.program import WEIGHT
from profiler import work
from profiler.analyses import layers as layer_time
from profiler.analyses.advice_facts import Facts, Finding, most, weight_bytes
from profiler.analyses.resources import STAGES
from profiler.analyses.run_paths import Reason
from profiler.metrics import percent
from profiler.text import bytes_text

BALANCE, STREAMED, CONTENTION, STARVED, HOST_CPU, START = 10.0, 10.0, 10.0, 10.0, 10.0, 10.0
OVERHEAD, SWITCHES, EARLY = 25.0, 5.0, 50.0
_BESIDE = 1.25  # of the room that weights take, for what is kept beside them
_RELIEF = {
    "tensor engine": "more cores (--neuroncore-pipeline-cores N)",
    "vector engine": "operators that fuse into products (do not set --no-fusion), 16-bit activations (--auto-cast "
                     "all), or more cores (--neuroncore-pipeline-cores N)",
    "scalar engine": "cheaper activation functions, or more cores (--neuroncore-pipeline-cores N)",
    "gpsimd engine": "replace the operators it runs, or more cores (--neuroncore-pipeline-cores N)",
    "DMA engines": "fewer and longer descriptors; weights kept on chip (--neuroncore-pipeline-cores auto)",
    "DRAM bandwidth": "weights kept on chip (--neuroncore-pipeline-cores auto --require-pinned), 16-bit weights "
                      "(--auto-cast all), or copies on other chips (--copies with --groups)",
    "DMA start latency": "larger transfers, and prefetch (do not set --no-double-buffer)",
    "semaphore latency": "larger tiles, so that engines hand over less often: larger --batch",
    "result latency": "more independent work between dependent instructions: larger --batch, -O 3",
    "chip-to-chip link": "fewer stages, so that neighbours stay on one chip: a smaller --neuroncore-pipeline-cores",
    "host link": "smaller inputs and outputs (integers or 16-bit floats), or copies on other chips (--copies)",
}  # fmt: skip


def limits(f: Facts) -> Iterator[Finding]:
    """The resources that set the rate."""
    models = len({c.model for c in f.resources.copies})
    for c in f.resources.copies:
        if c.copy or STAGES in c.limited_by or not c.shares:
            continue
        share = c.shares[c.limited_by[0]]
        names = " and ".join(c.limited_by)
        many = len(c.limited_by) > 1
        stages = next(len(x.stages) for x in f.pipeline.chains if (x.model, x.copy) == (c.model, c.copy))
        place = " of ".join([f"stage {c.stage}"] * (stages > 1) + [f"model {c.model}"] * (stages == 1 or models > 1))
        change = "; ".join(_RELIEF[name] for name in c.limited_by)
        if "tensor engine" in c.limited_by and _slow_operands(f):
            change = f"faster operands (--auto-cast matmult --auto-cast-type bf16); {change}"
        yield Finding(
            "limited_by", share, share, 0.0, "%",
            f"{place} is limited by the {names}: {'each is ' if many else ''}{share:.0f} % of its time"
            + ("; relieving one alone gains little" if many else ""),
            f"{change}; `neuronsim whatif NEFF` shows what relief is worth", tuple(c.limited_by),
        )  # fmt: skip


def imbalance(f: Facts) -> Iterator[Finding]:
    """A slowest stage that costs a tenth of the rate."""
    for chain in f.pipeline.chains:
        value = 100 * (chain.speedup - 1)
        if chain.copy == 0 and value >= BALANCE:
            yield Finding(
                "stage_balance", 100 * (1 - 1 / chain.speedup), value, BALANCE, "%",
                f"{chain.bottleneck} takes {chain.speedup:.2f} times as long as stages would on average",
                "another number of stages cuts elsewhere: --neuroncore-pipeline-cores auto --optimize-for throughput",
                (chain.bottleneck,),
            )  # fmt: skip


def streamed_weights(f: Facts) -> Iterator[Finding]:
    """Weights that every run fetches again."""
    traffic = max(f.metrics["hbm_read_bytes"] + f.metrics["hbm_write_bytes"], 1)
    for model in sorted({r.model for r in f.source.ran}):
        ran = [r for r in f.source.ran if r.model == model]
        streamed = sum(r.runs * weight_bytes(r.stage) for r in ran)
        share = f.memory_percent * streamed / traffic
        if share <= STREAMED:
            continue
        room = f.target.partitions * f.target.sbuf_partition_bytes
        cores = max(2, math.ceil(_BESIDE * sum(work.variable_bytes(r.stage)[WEIGHT] for r in ran) / room))
        requests = max(int((f.trace.requests["model"] == model).sum()), 1)
        yield Finding(
            "streamed_weights", share, share, STREAMED, "%",
            f"every request of model {model} fetches {bytes_text(streamed / requests)} of weights from DRAM",
            f"keep them on chip: --neuroncore-pipeline-cores {min(cores, f.target.cores)}"
            + ("" if cores <= f.target.cores else f" holds a part; all of them need about {cores} cores"),
        )  # fmt: skip


def dram_contention(f: Facts) -> Iterator[Finding]:
    """Transfers that wait for DRAM because others use it."""
    share = float(f.path_percent[Reason.DRAM])
    if share > CONTENTION:
        yield Finding(
            "dram_contention", share, share, CONTENTION, "%",
            f"runs wait {share:.0f} % of their time for DRAM bandwidth",
            "put copies on other chips, or pin weights (--neuroncore-pipeline-cores auto)",
            most(f, lambda row: row.dram_bytes),
        )  # fmt: skip


def fixed_costs(f: Facts) -> Iterator[Finding]:
    """Layers whose time is fixed costs of instructions, signals and transfers."""
    rows = [row for row in f.layers.layers if row.bound == layer_time.OVERHEAD]
    share = sum(row.path_percent for row in rows)
    if share > OVERHEAD:
        yield Finding(
            "fixed_costs", share, share, OVERHEAD, "%",
            f"{len(rows)} layers with {share:.0f} % of the time do too little per instruction",
            "larger --batch, so that instructions work on more elements",
            most(f, lambda row: row.path_percent if row.bound == layer_time.OVERHEAD else 0),
        )  # fmt: skip


def start_latency(f: Facts) -> Iterator[Finding]:
    """Start latency of DMA that nothing hides."""
    share = float(f.path_percent[Reason.DMA_START])
    if share > START:
        yield Finding(
            "dma_start_latency", share, share, START, "%", f"runs wait {share:.0f} % of their time for DMA to start",
            "prefetch hides it (do not set --no-double-buffer), and so does work of more copies (--copies)",
        )  # fmt: skip


def too_few_in_flight(f: Facts) -> Iterator[Finding]:
    """Stages that have nothing to do between their first and last run."""
    for chain in f.pipeline.chains:
        window = sum(f.trace.total_ticks - s.bubbles["fill"] - s.bubbles["drain"] for s in chain.stages)
        share = percent(sum(s.bubbles["starved"] for s in chain.stages), window)
        if chain.copy == 0 and share > STARVED:
            yield Finding(
                "too_few_in_flight", share, share, STARVED, "%",
                f"stages of model {chain.model} have no request to work on for {share:.0f} % of the time",
                f"--in-flight {2 * len(chain.stages)} or more keeps {len(chain.stages)} stages busy",
            )  # fmt: skip


def short_recording(f: Facts) -> Iterator[Finding]:
    """A recording that is mostly the filling and draining of a pipeline."""
    for chain in f.pipeline.chains:
        ends = sum(s.bubbles["fill"] + s.bubbles["drain"] for s in chain.stages)
        share = percent(ends, f.trace.total_ticks * len(chain.stages))
        if chain.copy == 0 and len(chain.stages) > 1 and share > EARLY:
            yield Finding(
                "short_recording", 0.0, share, EARLY, "%",
                f"{share:.0f} % of the recording is the pipeline filling and draining; shares of time are not typical",
                f"record more: --requests {8 * len(chain.stages)} --in-flight {2 * len(chain.stages)}",
            )  # fmt: skip


def host_cpu(f: Facts) -> Iterator[Finding]:
    """CPU segments."""
    share = percent(f.pipeline.host_cpu_ticks, f.trace.total_ticks)
    if share > HOST_CPU:
        yield Finding(
            "host_cpu", min(share, 100.0), share, HOST_CPU, "%",
            f"operators on the host's CPU take {share:.0f} % of the time",
            "`neuronsim analyze MODEL` tells why they are there; --no-fallback makes them errors",
        )  # fmt: skip


def switches(f: Facts) -> Iterator[Finding]:
    """Models that take turns on a core."""
    share = percent(int(f.trace.runs["switch"].sum()), f.trace.total_ticks * len(np.unique(f.trace.runs["core"])))
    if share > SWITCHES:
        yield Finding(
            "model_switches", share, share, SWITCHES, "%", f"cores switch between models for {share:.0f} % of the time",
            "give each model a NeuronCore group of its own (--groups)",
        )  # fmt: skip


def _slow_operands(f: Facts) -> bool:
    """Whether products have operands that the PE takes at a lower rate than bf16."""
    cast = f.target.peak_flops("bf16")
    return any(f.target.peak_flops(dtype) < cast for r in f.source.ran for dtype in work.matmul_flops(r.stage))


RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    limits, imbalance, streamed_weights, dram_contention, fixed_costs, start_latency, too_few_in_flight,
    short_recording, host_cpu, switches,
)  # fmt: skip
