"""From a finished loop to a `Served`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from isa.target import Target
from isa.topology import Link
from neuronsim._core import serving_state
from neuronsim._core.serving import Loop
from neuronsim.serving.layout import Layout
from neuronsim.serving.model import CORE, ModelPlan
from neuronsim.serving.served import CoreUse, Requests, Served, StepUse


def summarise(
    loop: Loop, layout: Layout, models: Sequence[ModelPlan], target: Target, method: str, exact: bool, reason: str
) -> Served:
    """Everything a `Served` tells. Args: exact: the method gives the machine's answer."""
    counters, area = serving_state.station_counters(loop)
    ticks = int(loop.end.max(initial=0))
    return Served(
        method, exact, reason, _loads(loop, layout, models, target), _cores(loop, layout, target, ticks),
        _steps(layout, models, counters, area, target, ticks), ticks, target.tick_hz,
        *_traffic(layout, models, counters, target),
    )


def _loads(loop: Loop, layout: Layout, models: Sequence[ModelPlan], target: Target) -> tuple[Requests, ...]:
    out = []
    for m, model in enumerate(models):
        rows = slice(int(layout.requests[m]), int(layout.requests[m + 1]))
        out.append(Requests(model.name, loop.arrival[rows], loop.start[rows], loop.end[rows],
                            int(layout.pieces[rows].sum()), int(layout.padding[m]), target.tick_hz))
    return tuple(out)


def _cores(loop: Loop, layout: Layout, target: Target, ticks: int) -> tuple[CoreUse, ...]:
    counters = serving_state.core_counters(loop)
    used = sorted({s.step.where for s in layout.stations if s.step.kind == CORE})
    return tuple(
        CoreUse(c, busy / ticks if ticks else 0.0, target.ticks_to_ns(busy), switches, target.ticks_to_ns(switching))
        for c in used for busy, switches, switching in [counters[c].tolist()]
    )


def _steps(
    layout: Layout, models: Sequence[ModelPlan], counters: np.ndarray, area: np.ndarray, target: Target, ticks: int
) -> tuple[StepUse, ...]:
    alone = [a for m in models for a in m.alone]
    out = []
    for station, row, waited in zip(layout.stations, counters.tolist(), area.tolist(), strict=True):
        runs, busy, most, first, last, switches = row
        step, span = station.step, last - first
        traffic = sum(alone[station.slot].dram_bytes.values()) if station.slot >= 0 else 0
        out.append(StepUse(
            station.model, station.copy, station.position, step.kind, step.where, runs, target.ticks_to_ns(busy),
            target.ticks_to_ns(step.ticks), target.ticks_to_ns(busy) / runs if runs else 0.0,
            1 - busy / span if span and step.kind == CORE else 0.0, waited / ticks if ticks else 0.0, most,
            runs * traffic, switches, switches * target.ticks_to_ns(step.switch_ticks),
        ))
    return tuple(out)


def _traffic(
    layout: Layout, models: Sequence[ModelPlan], counters: np.ndarray, target: Target
) -> tuple[np.ndarray, dict[Link, int]]:
    """[chips] int64 bytes of DRAM, and bytes by link: every run moves the same."""
    alone = [a for m in models for a in m.alone]
    dram = np.zeros(target.chips, dtype=np.int64)
    links: Counter[Link] = Counter()
    for station, runs in zip(layout.stations, counters[:, 0].tolist(), strict=True):
        if station.slot < 0:
            continue
        for chip, size in alone[station.slot].dram_bytes.items():
            dram[chip] += runs * size
        for link, size in alone[station.slot].link_bytes.items():
            links[link] += runs * size
    return dram, dict(links)
