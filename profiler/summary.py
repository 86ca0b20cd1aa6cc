"""A profile in full: metrics, layers, every analysis, how sure the numbers are; its first page, and summary.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from isa.program import Program
from isa.target import Target
from isa.trace import Trace
from isa.word import ENGINES
from profiler.analyses.advice import Advice, advice
from profiler.analyses.advice_facts import Facts
from profiler.analyses.critical_path import CriticalPath, critical_path
from profiler.analyses.layers import Layer, Layers
from profiler.analyses.occupancy import Occupancy, occupancy
from profiler.analyses.pipeline import Pipeline
from profiler.analyses.resources import Resources
from profiler.analyses.roofline import Roofline, roofline
from profiler.analyses.stalls import Stalls, stalls
from profiler.metrics import metrics
from profiler.sensitivity import Sensitivity, sensitivity
from profiler.table import Table
from profiler.text import bytes_text, seconds_text

__all__ = ["SCHEMA", "TOP_LAYERS", "Summary", "bytes_text", "seconds_text", "summarise"]

SCHEMA = 1  # of summary.json; rises when a name or meaning changes, not when one is added
TOP_LAYERS = 10


@dataclass(frozen=True, eq=False)
class Summary:
    """What `summarise` found; each analysis is made when first asked for.

    Attributes:
        trace, programs, target: what it is of.
        metrics: plain JSON values under Neuron's names; times in seconds.
        inferred: None when it was not asked for.
    """

    trace: Trace
    programs: Sequence[Program]
    target: Target
    metrics: dict[str, Any]
    inferred: Sensitivity | None

    @cached_property
    def _facts(self) -> Facts:
        """What several analyses share; the metrics are known."""
        found = Facts(self.trace, self.programs, self.target)
        found.metrics = self.metrics
        return found

    @property
    def by_layer(self) -> Layers:
        return self._facts.layers

    @property
    def layers(self) -> list[Layer]:
        """All layers, the longest first."""
        return self.by_layer.layers

    @cached_property
    def stalls(self) -> Stalls:
        return stalls(self.trace, self.programs, self.target)

    @cached_property
    def critical_path(self) -> CriticalPath:
        return critical_path(self.trace, self.programs, self.target, self._facts.paths)

    @cached_property
    def roofline(self) -> Roofline:
        return roofline(self.trace, self.programs, self.target, self.by_layer)

    @cached_property
    def occupancy(self) -> Occupancy:
        return occupancy(self.trace, self.programs, self.target)

    @property
    def pipeline(self) -> Pipeline:
        return self._facts.pipeline

    @property
    def resources(self) -> Resources:
        return self._facts.resources

    @cached_property
    def advice(self) -> Advice:
        return advice(self.trace, self.programs, self.target, self._facts)

    @property
    def analyses(self) -> dict[str, Any]:
        """The results by name, as summary.json has them; layers, operators and kinds are in `by_layer`."""
        names = ("stalls", "critical_path", "roofline", "occupancy", "pipeline", "resources", "advice")
        return {name: getattr(self, name) for name in names}

    def as_json(self) -> dict[str, Any]:
        """The document of summary.json (docs/profile.md)."""
        return {
            "schema": SCHEMA,
            "models": [p.name for p in self.programs],
            "target": self.target.name,
            "notes": list(self.trace.notes),
            "dropped": {table: int(n) for table, n in self.trace.dropped.items()},
            **self.metrics,
            **self.by_layer.as_json(),
            **{name: found.as_json() for name, found in self.analyses.items()},
        }

    def tables(self, top: int = TOP_LAYERS) -> list[Table]:
        """The first page: engines, longest layers, inferred share."""
        return [_engine_table(self.metrics), _layer_table(self.by_layer, top, self.inferred)]

    def report(self, top: int = TOP_LAYERS) -> list[Table]:
        """All of it for a terminal: the first page, operators, what engines wait for, the pipeline, limits, advice."""
        _, operators, _ = self.by_layer.tables(top)
        path, _ = self.critical_path.tables()
        stages = self.pipeline.tables() if any(len(c.stages) > 1 for c in self.pipeline.chains) else []
        return [*self.tables(top), operators, *self.stalls.tables(), path, *stages, *self.resources.tables(),
                *self.advice.tables()]  # fmt: skip


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
    return Summary(trace, programs, target, values, inferred)


def _engine_table(m: dict[str, Any]) -> Table:
    table = Table(f"Device time {seconds_text(m['total_time'])}", ["unit", ">instructions", ">active", ">of total"])
    units = [(f"{name} engine", f"{name}_engine", f"{name}_engine_instruction_count") for name in ENGINES]
    for title, prefix, count in [*units, ("DMA", "dma", "dma_transfer_count")]:
        if m[count] or title == "DMA":
            active, share = m[f"{prefix}_active_time"], m[f"{prefix}_active_time_percent"]
            table.rows.append([title, f"{m[count]}", seconds_text(active), f"{share:.1f} %"])
    table.notes.append(
        f"MFU {m['mfu_estimated_percent']:.1f} %, HFU {m['hfu_estimated_percent']:.1f} % "
        "of the PE's peak for its operand types"
    )
    table.notes.append(
        f"DRAM {bytes_text(m['hbm_read_bytes'])} read, {bytes_text(m['hbm_write_bytes'])} written, "
        f"{m['mbu_estimated_percent']:.1f} % of its bandwidth"
    )
    return table


def _layer_table(found: Layers, top: int, inferred: Sensitivity | None) -> Table:
    table = found.tables(top)[0]
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
