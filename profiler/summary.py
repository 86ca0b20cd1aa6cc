"""The first page of a profile: metrics, the longest layers, how sure the numbers are. Pure functions over a trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from isa.program import Program
from isa.target import Target
from isa.trace import Trace
from isa.word import ENGINES
from profiler.analyses.layers import Layer, layers
from profiler.metrics import metrics
from profiler.sensitivity import Sensitivity, sensitivity
from profiler.table import Table
from profiler.text import bytes_text, seconds_text

TOP_LAYERS = 10


@dataclass(frozen=True)
class Summary:
    """What `summarise` found. `metrics` holds plain JSON values under Neuron's names; times in seconds."""

    metrics: dict[str, Any]
    layers: list[Layer]
    inferred: Sensitivity | None

    def as_json(self) -> dict[str, Any]:
        """Metrics with the layers."""
        return {**self.metrics, "layers": [asdict(layer) for layer in self.layers]}

    def tables(self, top: int = TOP_LAYERS) -> list[Table]:
        """The summary for people: engines, longest layers, inferred share."""
        return [_engine_table(self.metrics), _layer_table(self.layers, top, self.inferred)]


def summarise(
    trace: Trace, programs: Sequence[Program], target: Target, simulate: Callable[[Target], float] | None = None
) -> Summary:
    """Summary of a trace.

    Args:
        trace: of one or more runs.
        programs: its models, in order.
        target: the machine it ran on.
        simulate: device seconds of the same program on another target; None leaves the inferred share out.
    """
    values = metrics(trace, programs, target)
    inferred = None if simulate is None else sensitivity(target, values["total_time"], simulate)
    if inferred is not None:
        values["inferred_share"] = inferred.inferred_share
        values["inferred_parameters"] = inferred.parameters
        values["total_time_inferred_costs"] = {
            "x0.75": inferred.cheaper,
            "x1.25": inferred.costlier,
            "removed": inferred.removed,
        }
    return Summary(values, layers(trace, programs, target).layers, inferred)


def _engine_table(m: dict[str, Any]) -> Table:
    table = Table(f"Device time {seconds_text(m['total_time'])}", ["unit", ">instructions", ">active", ">of total"])
    for name in ENGINES:
        if m[f"{name}_engine_instruction_count"]:
            table.rows.append(
                [
                    f"{name} engine",
                    f"{m[f'{name}_engine_instruction_count']}",
                    seconds_text(m[f"{name}_engine_active_time"]),
                    f"{m[f'{name}_engine_active_time_percent']:.1f} %",
                ]
            )
    table.rows.append(
        [
            "DMA",
            f"{m['dma_transfer_count']}",
            seconds_text(m["dma_active_time"]),
            f"{m['dma_active_time_percent']:.1f} %",
        ]
    )
    table.notes.append(
        f"MFU {m['mfu_estimated_percent']:.1f} %, HFU {m['hfu_estimated_percent']:.1f} % "
        "of the PE's peak for its operand types"
    )
    table.notes.append(
        f"DRAM {bytes_text(m['hbm_read_bytes'])} read, {bytes_text(m['hbm_write_bytes'])} written, "
        f"{m['mbu_estimated_percent']:.1f} % of its bandwidth"
    )
    return table


def _layer_table(found: list[Layer], top: int, inferred: Sensitivity | None) -> Table:
    table = Table(
        f"Longest {min(top, len(found))} of {len(found)} layers",
        ["layer", "operator", ">time", ">share", ">MACs", ">DMA bytes", ">MFU"],
    )
    for layer in found[:top]:
        table.rows.append(
            [
                layer.name,
                layer.op_type,
                seconds_text(layer.time),
                f"{layer.time_percent:.1f} %",
                f"{layer.macs:.3g}" if layer.macs else "-",
                bytes_text(layer.bytes),
                f"{layer.mfu_percent:.1f} %" if layer.macs else "-",
            ]
        )
    if inferred is not None:
        table.notes.append(
            f"{100 * inferred.inferred_share:.0f} % of the device time rests on {inferred.parameters} "
            "machine parameters no document states;"
        )
        table.notes.append(
            f"with those costs x0.75: {inferred.change_percent(inferred.cheaper):+.1f} %, "
            f"x1.25: {inferred.change_percent(inferred.costlier):+.1f} %, "
            f"removed: {inferred.change_percent(inferred.removed):+.1f} %"
        )
    return table
