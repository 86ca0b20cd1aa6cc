"""How far each layer, and the whole, is from what the machine could do: operations per byte of DRAM, and the two roofs.

A roof is the peak of the PE for an operand type, or the bandwidth of DRAM times the intensity. Both are those of one
core: a core's part of its chip's DRAM is the chip's over the cores that ran something there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from isa.program import Program
from isa.target import Target
from isa.trace import Trace
from profiler import work
from profiler.analyses.layers import Layers, layers
from profiler.metrics import percent
from profiler.ran import stages
from profiler.table import Table


@dataclass(frozen=True)
class Point:
    """One layer, or the whole (model -1).

    Attributes:
        flops: 2 x useful multiply-accumulates; dram_bytes: read and written; core_time: seconds.
        intensity: flops per byte; None without DRAM traffic.
        attained: flops per second of core time; roof: the most that intensity allows, with the mean peak of the types.
        attained_percent: of the roof.
        limited_by: "compute" or "memory": which roof is the lower one.
    """

    model: int
    name: str
    op_type: str
    flops: int
    dram_bytes: int
    core_time: float
    intensity: float | None
    attained: float
    roof: float
    attained_percent: float
    limited_by: str


@dataclass(frozen=True)
class Roofline:
    """Peaks in FLOP/s of one core by operand type (`used`: those of this trace), bandwidth in bytes/s of one core."""

    peaks: dict[str, float]
    used: list[str]
    mean_peak: float
    dram_bytes_per_s: float
    ridge: float
    whole: Point
    layers: list[Point]

    def as_json(self) -> dict[str, Any]:
        """The attributes."""
        return asdict(self)

    def tables(self) -> list[Table]:
        """The whole, and the layers with most work."""
        table = Table("Roofline", ["layer", ">FLOP/byte", ">GFLOP/s", ">of its roof", "roof"])
        for point in [self.whole, *self.layers[:10]]:
            intensity = "-" if point.intensity is None else f"{point.intensity:.1f}"
            table.rows.append([point.name or "all", intensity, f"{point.attained / 1e9:.1f}",
                               f"{point.attained_percent:.1f} %", point.limited_by])  # fmt: skip
        return [table]


def roofline(trace: Trace, programs: Sequence[Program], target: Target, found: Layers | None = None) -> Roofline:
    """The roofline of a trace; `found`: its layers, where they are known already."""
    rows = (found or layers(trace, programs, target)).layers
    used: dict[str, int] = {}
    for r in stages(trace, programs)[0]:
        for dtype, flops in work.matmul_flops(r.stage).items():
            used[dtype] = used.get(dtype, 0) + r.runs * flops
    peaks = {dtype: target.peak_flops(dtype) for dtype in target.matmul_dtypes}
    seconds = sum(flops / peaks[dtype] for dtype, flops in used.items())
    mean = sum(used.values()) / seconds if seconds else max(peaks.values())
    chips = np.unique(trace.runs["core"]) // target.cores_per_chip
    sharing = float(np.bincount(chips).max()) if len(chips) else 1.0
    bandwidth = target.dram_bytes_per_ns * 1e9 / sharing

    def point(model: int, name: str, op_type: str, macs: int, moved: int, time: float) -> Point:
        intensity = 2 * macs / moved if moved else None
        roof = mean if intensity is None else min(mean, intensity * bandwidth)
        attained = 2 * macs / time if time else 0.0
        return Point(model, name, op_type, 2 * macs, moved, time, intensity, attained, roof, percent(attained, roof),
                     "memory" if roof < mean else "compute")  # fmt: skip

    time = float((trace.runs["end"] - trace.runs["start"]).sum()) / trace.tick_hz
    moved = int((trace.transfers["read"] + trace.transfers["written"]).sum())
    points = [point(r.model, r.name, r.op_type, r.macs, r.dram_bytes, r.core_time) for r in rows if r.macs]
    points.sort(key=lambda p: (-p.flops, p.model, p.name))
    whole = point(-1, "", "", sum(r.macs for r in rows), moved, time)
    return Roofline(peaks, sorted(used), mean, bandwidth, mean / bandwidth, whole, points)
