"""Neuron's summary metrics of a trace, as far as they have a meaning on this machine. Seconds, bytes, flops, percent.

Names and meanings: tools/neuron-explorer/profile-schema-reference.rst. Utilisations are against the PE's peak for the
operand types really used, so that 100 % is reachable in fp32 too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isa.program import INPUT, OUTPUT, WEIGHT, Program
from isa.target import Target
from isa.trace import Trace
from isa.word import ENGINES
from profiler import work
from profiler.intervals import covered
from profiler.ran import Ran, device_ticks, stages

# Clock that defines the unit of `neuroncore_cycle_count`. Source: tools/neuron-explorer/profile-schema-reference.rst
BASE_CLOCK_GHZ = {"v1": 1.0, "v2": 1.4, "v3": 1.2}


def metrics(trace: Trace, programs: Sequence[Program], target: Target) -> dict[str, Any]:
    """All metrics of a trace. `programs`: its models, in order."""
    total = device_ticks(trace) / trace.tick_hz
    ran, _ = stages(trace, programs)
    values: dict[str, Any] = {
        "total_time": total,
        "neuroncore_cycle_count": round(total * BASE_CLOCK_GHZ[target.generation] * 1e9),
    }
    values |= _engine_metrics(trace, ran, total)
    values |= _dma_metrics(trace, ran, target, total)
    values |= _size_metrics(ran)
    values |= _flop_metrics(ran, target, total, values)
    return values


def peak_seconds(ran: Sequence[Ran], target: Target) -> float:
    """Time the PE would need for all its work at peak rate, each operand type at its own."""
    return sum(r.runs * flops / target.peak_flops(dtype)
               for r in ran for dtype, flops in work.matmul_flops(r.stage).items())  # fmt: skip


def percent(part: float, whole: float) -> float:
    """Share in percent; 0 of nothing is 0."""
    return 100.0 * part / whole if whole else 0.0


def _engine_metrics(trace: Trace, ran: Sequence[Ran], total: float) -> dict[str, Any]:
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
    values["matmul_instruction_count"] = sum(r.runs * work.count(r.stage, "tensor", "matmul") for r in ran)
    values["activate_instruction_count"] = sum(
        r.runs * work.count(r.stage, "scalar", "activation", "activation_reduce") for r in ran
    )
    both = [np.concatenate([table[c], trace.transfers[c]]) for c in ("start", "end")]
    values["total_active_time"] = covered(*both) / trace.tick_hz
    values["total_active_time_percent"] = percent(values["total_active_time"], total)
    return values


def _dma_metrics(trace: Trace, ran: Sequence[Ran], target: Target, total: float) -> dict[str, Any]:
    start, end = trace.transfers["start"], trace.transfers["end"]
    active = covered(start, end) / trace.tick_hz
    moved, read, written = (int(trace.transfers[c].sum()) for c in ("bytes", "read", "written"))
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
        **_purpose_bytes(ran),
    }


def _purpose_bytes(ran: Sequence[Ran]) -> dict[str, int]:
    names = {"spill": "spill_save_bytes", "reload": "spill_reload_bytes"}
    totals = dict.fromkeys(names.values(), 0)
    for r in ran:
        found = work.triggers(r.stage)
        purposes = np.array([d.purpose for d in r.stage.debug])[found.debug]
        for purpose, name in names.items():
            totals[name] += r.runs * int(found.moved[purposes == purpose].sum())
    return totals


def _size_metrics(ran: Sequence[Ran]) -> dict[str, int]:
    values: dict[str, int] = {}
    for r in ran:
        for name, size in work.memory_bytes(r.stage).items():
            values[name] = values.get(name, 0) + r.runs * size
    sizes = [work.variable_bytes(r.stage) for r in ran]
    inputs, outputs, weights = (sum(s[kind] for s in sizes) for kind in (INPUT, OUTPUT, WEIGHT))
    values["weight_size_bytes"] = weights
    values["inputs_and_weights_size_bytes"] = inputs + weights
    values["inputs_outputs_weights_size_bytes"] = inputs + outputs + weights
    return values


def _flop_metrics(ran: Sequence[Ran], target: Target, total: float, so_far: dict[str, Any]) -> dict[str, Any]:
    hardware = sum(r.runs * sum(work.matmul_flops(r.stage).values()) for r in ran)
    model = 2 * sum(r.runs * work.model_macs(r.stage) for r in ran)
    transposes = sum(r.runs * work.transpose_flops(r.stage) for r in ran)
    at_peak = peak_seconds(ran, target)
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
