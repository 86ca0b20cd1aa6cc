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
from isa.trace import TABLES, Trace
from isa.word import ENGINES
from profiler import work
from profiler.intervals import covered
from profiler.ran import Ran, device_ticks, stages

_ACTIVATE = ("activation", "activation_reduce")
# Clock that defines the unit of `neuroncore_cycle_count`. Source: tools/neuron-explorer/profile-schema-reference.rst
BASE_CLOCK_GHZ = {"v1": 1.0, "v2": 1.4, "v3": 1.2}


def metrics(trace: Trace, programs: Sequence[Program], target: Target) -> dict[str, Any]:
    """All metrics of a trace. `programs`: its models, in order."""
    total = device_ticks(trace) / trace.tick_hz
    ran, _ = stages(trace, programs)
    values: dict[str, Any] = {
        "total_time": total,
        "neuroncore_cycle_count": round(total * BASE_CLOCK_GHZ[target.generation] * 1e9),
        "trace_count": sum(len(getattr(trace, table)["start"]) for table in TABLES),
    }
    values |= _engine_metrics(trace, ran, total)
    values |= _dma_metrics(trace, ran, target, total)
    values |= _size_metrics(ran)
    values |= _read_metrics(values, ran, target, total, trace)
    values |= _flop_metrics(ran, target, total, values, len(_cores(trace)))
    return values


def _cores(trace: Trace) -> np.ndarray:
    """Cores that ran something."""
    return np.unique(trace.runs["core"])


def _active(trace: Trace, *parts: tuple[dict[str, np.ndarray], np.ndarray | None]) -> float:
    """Seconds with a row of some tables (and of some of their rows) at work: the mean of the cores."""
    cores = _cores(trace)
    ticks = 0
    for core in cores:
        here = [(t, t["core"] == core if mine is None else (t["core"] == core) & mine) for t, mine in parts]
        ticks += covered(*(np.concatenate([t[c][rows] for t, rows in here]) for c in ("start", "end")))
    return ticks / max(len(cores), 1) / trace.tick_hz


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
        active = _active(trace, (table, mine))
        values[f"{name}_engine_instruction_count"] = int(mine.sum())
        values[f"{name}_engine_instruction_time"] = float((end - start).sum()) / trace.tick_hz
        values[f"{name}_engine_active_time"] = active
        values[f"{name}_engine_active_time_percent"] = percent(active, total)
    values["matmul_instruction_count"] = sum(r.runs * work.count(r.stage, "tensor", "matmul") for r in ran)
    values["activate_instruction_count"] = sum(
        r.runs * work.count(r.stage, "scalar", *_ACTIVATE) for r in ran
    )
    activations = np.isin(table["opcode"], [work.opcode(name) for name in _ACTIVATE])
    activations &= table["engine"] == ENGINES.index("scalar")
    values["activate_instruction_time"] = float((table["end"] - table["start"])[activations].sum()) / trace.tick_hz
    first = min((int(t["start"].min()) for t in (table, trace.transfers) if len(t["start"])), default=0)
    last = max((int(t["end"].max()) for t in (table, trace.transfers) if len(t["start"])), default=0)
    values["total_exec_time"] = (last - first) / trace.tick_hz
    values["total_active_time"] = _active(trace, (table, None), (trace.transfers, None))
    values["total_active_time_percent"] = percent(values["total_active_time"], values["total_exec_time"])
    return values


def _dma_metrics(trace: Trace, ran: Sequence[Ran], target: Target, total: float) -> dict[str, Any]:
    """All descriptors are made when a model is loaded: static. Packets and their times follow from the descriptors."""
    start, end = trace.transfers["start"], trace.transfers["end"]
    active = _active(trace, (trace.transfers, None))
    moved, read, written = (int(trace.transfers[c].sum()) for c in ("bytes", "read", "written"))
    transfers = len(start)
    found = [(r.runs, *work.packets(r.stage, target)) for r in ran]
    packets, packet_ticks = (sum(runs * each[k] for runs, *each in found) for k in (0, 1))
    queues = np.unique(np.stack([trace.transfers["core"], trace.transfers["queue"]], axis=1), axis=0)
    return {
        "dma_active_time": active,
        "dma_active_time_percent": percent(active, total),
        "dma_active_cycles": round(active * BASE_CLOCK_GHZ[target.generation] * 1e9),
        "dma_transfer_count": transfers,
        "dma_transfer_time": float((end - start).sum()) / trace.tick_hz,
        "dma_transfer_total_bytes": moved,
        "dma_transfer_average_bytes": moved / transfers if transfers else 0.0,
        "dma_packet_time": packet_ticks / target.tick_hz,
        "dma_queue_count": len(queues),
        "static_dma_active_time": active,
        "static_dma_active_time_percent": percent(active, active),
        "static_dma_packet_count": packets,
        "static_dma_packet_percent": percent(packets, packets),
        "static_dma_size": moved,
        "static_dma_size_percent": percent(moved, moved),
        "dynamic_dma_active_time_percent": 0.0,
        "dynamic_dma_packet_percent": 0.0,
        "dynamic_dma_size_percent": 0.0,
        "hbm_read_bytes": read,
        "hbm_write_bytes": written,
        **_purpose_bytes(ran),
    }


def _read_metrics(
    so_far: dict[str, Any], ran: Sequence[Ran], target: Target, total: float, trace: Trace
) -> dict[str, Any]:
    """Shares of the bandwidth of the chips that ran something, and what is read by kind of variable."""
    chips = len(np.unique(_cores(trace) // target.cores_per_chip))
    bandwidth = target.dram_bytes_per_ns * 1e9 * max(chips, 1)
    read, written = so_far["hbm_read_bytes"], so_far["hbm_write_bytes"]
    least = sum(r.runs * work.least_read_bytes(r.stage) for r in ran)
    queues = {"input_queue_bytes": INPUT, "output_queue_bytes": OUTPUT, "weight_queue_bytes": WEIGHT}
    return {
        "mbu_estimated_percent": percent((read + written) / bandwidth, total),
        "mbu_min_read_util_percent": percent(least / bandwidth, total),
        "useful_read_percent": percent(read - so_far["spill_reload_bytes"], read),
        **{name: sum(r.runs * work.queue_bytes(r.stage, kind) for r in ran) for name, kind in queues.items()},
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
    moved = [work.evacuations(r.stage) for r in ran]
    for name, column in zip(("psum_read_sbuf_write_count", "psum_read_sbuf_write_bytes"), (0, 1), strict=True):
        values[name] = sum(r.runs * m[column] for r, m in zip(ran, moved, strict=True))
    sizes = [work.variable_bytes(r.stage) for r in ran]
    inputs, outputs, weights = (sum(s[kind] for s in sizes) for kind in (INPUT, OUTPUT, WEIGHT))
    values["weight_size_bytes"] = weights
    values["inputs_and_weights_size_bytes"] = inputs + weights
    values["inputs_outputs_weights_size_bytes"] = inputs + outputs + weights
    return values


def _flop_metrics(
    ran: Sequence[Ran], target: Target, total: float, so_far: dict[str, Any], cores: int
) -> dict[str, Any]:
    """Work of the PE; utilisations are of all cores that ran something."""
    hardware = sum(r.runs * sum(work.matmul_flops(r.stage).values()) for r in ran)
    model = 2 * sum(r.runs * work.model_macs(r.stage) for r in ran)
    transposes = sum(r.runs * work.transpose_flops(r.stage) for r in ran)
    at_peak = peak_seconds(ran, target)
    traffic = so_far["hbm_read_bytes"] + so_far["hbm_write_bytes"]
    mean_peak = hardware / at_peak if at_peak else 0.0
    balance = mean_peak / (target.dram_bytes_per_ns * 1e9)
    time = total * max(cores, 1)

    def of_peak(flops: float) -> float:
        return percent(flops / mean_peak if mean_peak else 0.0, time)

    def at_most(flops: float) -> float:
        """The share of the peak that DRAM allows for so many operations."""
        return min(100.0, percent(flops / traffic, balance)) if traffic and flops else 100.0 if flops else 0.0

    adjusted = adjusted_flops(ran, target)
    return {
        "model_flops": model,
        "hardware_flops": hardware,
        "transpose_flops": transposes,
        "adjusted_hardware_flops": adjusted[0],
        "adjusted_transpose_flops": adjusted[1],
        "active_flops": mean_peak * so_far["tensor_engine_active_time"] * max(cores, 1),
        "mfu_estimated_percent": of_peak(model),
        "mfu_max_achievable_estimated_percent": at_most(model),
        "mfu_inst_estimated_percent": of_peak(hardware - transposes),
        "mfu_inst_max_achievable_estimated_percent": at_most(hardware - transposes),
        "hfu_estimated_percent": percent(at_peak, time),
        "mm_arithmetic_intensity": (hardware - transposes) / traffic if traffic else 0.0,
        "peak_flops_bandwidth_ratio": balance,
    }


def adjusted_flops(ran: Sequence[Ran], target: Target) -> tuple[float, float]:
    """Operations in equivalents of 16-bit floats, all of them and transposes: by the PE's cycles per row."""
    base = target.cycles_per_row.get("bf16", 1.0)
    factors = {dtype: cycles / base for dtype, cycles in target.cycles_per_row.items()}
    whole = sum(r.runs * flops * factors.get(dtype, 1.0)
                for r in ran for dtype, flops in work.matmul_flops(r.stage).items())  # fmt: skip
    transposes = sum(r.runs * flops * factors.get(dtype, 1.0)
                     for r in ran for dtype, flops in work.matmul_flops(r.stage, transposes=True).items())  # fmt: skip
    return whole, transposes
