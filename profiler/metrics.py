"""Neuron's summary metrics of a trace, as far as they have a meaning on this machine. Seconds, bytes, flops, percent.

Names and meanings: tools/neuron-explorer/profile-schema-reference.rst. Utilisations are against the PE's peak for the
operand types really used, so that 100 % is reachable in fp32 too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isa.program import INPUT, OUTPUT, WEIGHT, Stage
from isa.target import Target
from isa.trace import Trace
from isa.word import ENGINES
from profiler import work
from profiler.intervals import covered

# Clock that defines the unit of `neuroncore_cycle_count`. Source: tools/neuron-explorer/profile-schema-reference.rst
BASE_CLOCK_GHZ = {"v1": 1.0, "v2": 1.4, "v3": 1.2}


def metrics(trace: Trace, stages: Sequence[Stage], target: Target) -> dict[str, Any]:
    """All metrics of one run. `stages`: in the order of the trace's rows."""
    total = trace.total_ticks / trace.tick_hz
    values: dict[str, Any] = {
        "total_time": total,
        "neuroncore_cycle_count": round(total * BASE_CLOCK_GHZ[target.generation] * 1e9),
    }
    values |= _engine_metrics(trace, stages, total)
    values |= _dma_metrics(trace, stages, target, total)
    values |= _size_metrics(stages)
    values |= _flop_metrics(stages, target, total, values)
    return values


def peak_seconds(stages: Sequence[Stage], target: Target) -> float:
    """Time the PE would need for all its work at peak rate, each operand type at its own."""
    return sum(flops / target.peak_flops(dtype) for s in stages for dtype, flops in work.matmul_flops(s).items())


def percent(part: float, whole: float) -> float:
    """Share in percent; 0 of nothing is 0."""
    return 100.0 * part / whole if whole else 0.0


def _engine_metrics(trace: Trace, stages: Sequence[Stage], total: float) -> dict[str, Any]:
    table = trace.instructions
    values: dict[str, Any] = {}
    for number, name in enumerate(ENGINES):
        mine = table["engine"] == number
        start, end = table["start"][mine], table["end"][mine]
        active = covered(start, end) / trace.tick_hz
        values[f"{name}_engine_instruction_count"] = int(mine.sum())
        values[f"{name}_engine_instruction_time"] = float((end - start).sum()) / trace.tick_hz
        values[f"{name}_engine_active_time"] = active
        values[f"{name}_engine_active_time_percent"] = percent(active, total)
    values["matmul_instruction_count"] = sum(work.count(s, "tensor", "matmul") for s in stages)
    values["activate_instruction_count"] = sum(
        work.count(s, "scalar", "activation", "activation_reduce") for s in stages
    )
    both = [np.concatenate([table[c], trace.transfers[c]]) for c in ("start", "end")]
    values["total_active_time"] = covered(*both) / trace.tick_hz
    values["total_active_time_percent"] = percent(values["total_active_time"], total)
    return values


def _dma_metrics(trace: Trace, stages: Sequence[Stage], target: Target, total: float) -> dict[str, Any]:
    start, end = trace.transfers["start"], trace.transfers["end"]
    active = covered(start, end) / trace.tick_hz
    triggers = [work.triggers(s) for s in stages]
    moved, read, written = (sum(int(getattr(t, k).sum()) for t in triggers) for k in ("moved", "read", "written"))
    transfers = len(start)
    return {
        "dma_active_time": active,
        "dma_active_time_percent": percent(active, total),
        "dma_transfer_count": transfers,
        "dma_transfer_time": float((end - start).sum()) / trace.tick_hz,
        "dma_transfer_total_bytes": moved,
        "dma_transfer_average_bytes": moved / transfers if transfers else 0.0,
        "hbm_read_bytes": read,
        "hbm_write_bytes": written,
        "mbu_estimated_percent": percent((read + written) / (target.dram_bytes_per_ns * 1e9), total),
        **_purpose_bytes(stages, triggers),
    }


def _purpose_bytes(stages: Sequence[Stage], triggers: Sequence[work.Triggers]) -> dict[str, int]:
    names = {"spill": "spill_save_bytes", "reload": "spill_reload_bytes"}
    totals = dict.fromkeys(names.values(), 0)
    for stage, found in zip(stages, triggers, strict=True):
        purposes = np.array([d.purpose for d in stage.debug])[found.debug]
        for purpose, name in names.items():
            totals[name] += int(found.moved[purposes == purpose].sum())
    return totals


def _size_metrics(stages: Sequence[Stage]) -> dict[str, int]:
    values: dict[str, int] = {}
    for stage in stages:
        for name, size in work.memory_bytes(stage).items():
            values[name] = values.get(name, 0) + size
    sizes = [work.variable_bytes(s) for s in stages]
    inputs, outputs, weights = (sum(s[kind] for s in sizes) for kind in (INPUT, OUTPUT, WEIGHT))
    values["weight_size_bytes"] = weights
    values["inputs_and_weights_size_bytes"] = inputs + weights
    values["inputs_outputs_weights_size_bytes"] = inputs + outputs + weights
    return values


def _flop_metrics(stages: Sequence[Stage], target: Target, total: float, so_far: dict[str, Any]) -> dict[str, Any]:
    hardware = sum(sum(work.matmul_flops(s).values()) for s in stages)
    model = 2 * sum(work.model_macs(s) for s in stages)
    transposes = sum(work.transpose_flops(s) for s in stages)
    at_peak = peak_seconds(stages, target)
    traffic = so_far["hbm_read_bytes"] + so_far["hbm_write_bytes"]
    mean_peak = hardware / at_peak if at_peak else 0.0
    return {
        "model_flops": model,
        "hardware_flops": hardware,
        "transpose_flops": transposes,
        "mfu_estimated_percent": percent(model / mean_peak if mean_peak else 0.0, total),
        "hfu_estimated_percent": percent(at_peak, total),
        "mm_arithmetic_intensity": (hardware - transposes) / traffic if traffic else 0.0,
        "peak_flops_bandwidth_ratio": mean_peak / (target.dram_bytes_per_ns * 1e9),
    }
