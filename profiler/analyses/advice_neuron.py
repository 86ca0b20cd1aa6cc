"""Neuron's documented rules: useful work of the PE below half, transposes above a tenth, reloads of spills above a
quarter of the reads, DMA below 512 and 2048 bytes, tensors loaded more than twice.

Source: tools/neuron-explorer (recommendations, summary, DMA and reload warnings).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from isa import cost
from isa.program import WEIGHT
from profiler import work
from profiler.analyses.advice_facts import NAMED, Facts, Finding, most
from profiler.analyses.run_paths import Reason
from profiler.metrics import percent

USEFUL, TRANSPOSES, RELOADS, LOADS = 50.0, 10.0, 25.0, 2.0
SMALL_DMA, TINY_DMA = 2048, 512


def useful_work(f: Facts) -> Iterator[Finding]:
    """Model flops below half of what the PE could do while it is active."""
    m = f.metrics
    if not m["model_flops"] or not m["hfu_estimated_percent"]:  # no work, or a PE without cost
        return
    value = percent(m["model_flops"], m["active_flops"])
    if value < USEFUL:
        yield Finding(
            "pe_useful_work", m["tensor_engine_active_time_percent"] * (1 - value / 100), value, USEFUL, "%",
            f"while the PE is active it does {value:.0f} % of the model's work that it could",
            "larger batches (--batch) or merged layers fill its rows and columns; --no-packing must not be set",
            most(f, lambda row: row.core_time if row.macs and row.mfu_percent < USEFUL else 0), "Neuron",
        )  # fmt: skip


def transposes(f: Facts) -> Iterator[Finding]:
    """Transposes above a tenth of what the PE does."""
    m = f.metrics
    value = percent(m["transpose_flops"], m["hardware_flops"])
    if value > TRANSPOSES:
        yield Finding(
            "transposes", m["tensor_engine_active_time_percent"] * value / 100, value, TRANSPOSES, "%",
            f"{value:.0f} % of the PE's work only transposes",
            "export the model channels first, and products with the weight as the second operand", (), "Neuron",
        )  # fmt: skip


def reloads(f: Facts) -> Iterator[Finding]:
    """Reloaded spills above a quarter of what is read from DRAM."""
    m = f.metrics
    value = percent(m["spill_reload_bytes"], m["hbm_read_bytes"])
    if value > RELOADS:
        yield Finding(
            "spill_reloads", f.memory_percent * value / 100, value, RELOADS, "%",
            f"{value:.0f} % of what is read from DRAM are intermediates that did not fit in SBUF",
            "a smaller --batch, 16-bit activations (--auto-cast all), or more cores (--neuroncore-pipeline-cores N)",
            (), "Neuron",
        )  # fmt: skip


def small_dma(f: Facts) -> Iterator[Finding]:
    """Mean packet below 2048 (512) bytes."""
    moved = packets = 0.0
    by_layer: dict[str, float] = {}
    for number, r in enumerate(f.source.ran):
        debug, used = work.started(r.stage)
        count, size = cost.dma_shares(r.stage.descriptors[used], f.target)
        moved += r.runs * float(size.sum())
        packets += r.runs * float(count.sum())
        small = np.where(size.sum(axis=1) < SMALL_DMA * count.sum(axis=1), count.sum(axis=1), 0)
        for layer, n in zip(f.source.layers_of(number)[debug].tolist(), small.tolist()):
            name = f.source.layers[layer].name
            by_layer[name] = by_layer.get(name, 0.0) + r.runs * n
    value = moved / packets if packets else math.inf
    if value < SMALL_DMA:
        worst = sorted((name for name in by_layer if name and by_layer[name]), key=lambda n: (-by_layer[n], n))
        limit = TINY_DMA if value < TINY_DMA else SMALL_DMA
        fixed = packets * f.target.dma.t0_ns
        part = percent(fixed, fixed + moved / f.target.dma.bytes_per_ns)
        share = part / 100 * float(f.path_percent[[Reason.DMA_SERVICE, Reason.DMA_QUEUE]].sum())
        yield Finding(
            "small_dma", share, value, limit, "B",
            f"DMA moves {value:.0f} bytes at a time on average; {part:.0f} % of its service is fixed cost of packets",
            "a long contiguous innermost dimension in inputs, outputs and weights: other layouts, larger tiles",
            tuple(worst[:NAMED]), "Neuron",
        )  # fmt: skip


def repeated_loads(f: Facts) -> Iterator[Finding]:
    """Weights read more than twice in a run."""
    again = read = 0.0
    worst: list[tuple[float, str]] = []
    for r in f.source.ran:
        _, used = work.started(r.stage)
        d = r.stage.descriptors[used]
        sizes = np.bincount(d["src_var"], cost.dma_bytes(d)[0], minlength=len(r.stage.variables) + 1)
        read += r.runs * float(sizes.sum())
        for v in r.stage.variables:
            factor = sizes[v.id] / v.size_bytes if v.size_bytes else 0.0
            if v.kind == WEIGHT and factor > LOADS:
                worst.append((float(factor), v.name))
                again += r.runs * float(sizes[v.id] - v.size_bytes)
    if worst:
        worst.sort(key=lambda item: (-item[0], item[1]))
        yield Finding(
            "tensor_reloads", f.memory_percent * again / read, worst[0][0], LOADS, "loads",
            f"{len(worst)} weights are loaded more than twice in a run, {worst[0][1]} {worst[0][0]:.1f} times",
            "more cores hold them on chip: --neuroncore-pipeline-cores auto; or a smaller --batch leaves them room",
            tuple(name for _, name in worst[:NAMED]), "Neuron",
        )  # fmt: skip


RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (useful_work, transposes, reloads, small_dma, repeated_loads)
