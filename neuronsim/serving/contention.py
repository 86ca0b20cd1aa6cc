"""The request-level model of runs that contend for DRAM, built from what their stages do alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isa.target import Target
from isa.topology import Topology
from neuronsim._core.serving_shared import Shared
from neuronsim.serving.layout import Layout
from neuronsim.serving.model import CORE, ModelPlan
from neuronsim.serving.profile import DUE, GATE, Profile

LUMPS = 50_000_000  # of all runs together: a few seconds of a host core


def shared_of(layout: Layout, models: Sequence[ModelPlan], target: Target) -> tuple[Shared | None, list[int]]:
    """The model, and for each slot its program or -1: stages that share no chip's DRAM with another core take the time
    they take alone. None where that is all of them. Raises: as `neuronsim.timing.simulate`."""
    placed = [p for m in models for p in m.placed]
    runs = _runs(layout, models, _contended(layout, models, target))
    profiles: list[Profile] = []
    counts: list[int] = []  # runs of each
    known: dict[tuple[int, int], int] = {}
    programs = [-1] * len(placed)
    chip_of = Topology(target).chip_of
    for slot, count in sorted(runs.items()):
        far = placed[slot].downstream >= 0 and chip_of(placed[slot].downstream) != chip_of(placed[slot].core)
        key = (id(placed[slot].stage), placed[slot].downstream if far else -1)
        if key not in known:
            known[key] = len(profiles)
            profiles.append(Profile.of(placed[slot], target, far))
            counts.append(0)
        counts[known[key]] += count
        programs[slot] = known[key] if profiles[known[key]].count else -1
    if not any(p >= 0 for p in programs):
        return None, programs
    return _shared(_few(profiles, counts, target), target), programs


def _few(profiles: Sequence[Profile], runs: Sequence[int], target: Target) -> list[Profile]:
    """The profiles with as many shares joined as it takes to have `LUMPS` at most; first those of neighbouring engines.

    All in the same way: who asks for more at once gets more of the DRAM.
    """
    engines = descriptors = 1
    while True:
        found = [p.joined(engines, descriptors) for p in profiles]
        if sum(p.count * n for p, n in zip(found, runs)) <= LUMPS or all(p.count <= 1 for p in found):
            return found
        if engines < target.dma.engines:
            engines *= 2
        else:
            descriptors *= 2


def _contended(layout: Layout, models: Sequence[ModelPlan], target: Target) -> set[int]:
    """Slots that use the DRAM of their chip, where another core does too."""
    alone = [a for m in models for a in m.alone]
    topology = Topology(target)
    cores: dict[int, set[int]] = {}
    for s in layout.stations:
        if s.step.kind == CORE and s.slot >= 0:
            for chip in alone[s.slot].dram_bytes:
                cores.setdefault(chip, set()).add(s.step.where)
    return {s.slot for s in layout.stations if s.step.kind == CORE and s.slot >= 0
            and len(cores.get(topology.chip_of(s.step.where), ())) > 1}


def _runs(layout: Layout, models: Sequence[ModelPlan], slots: set[int]) -> dict[int, int]:
    """Runs of each of these slots, when copies share their model's evenly."""
    pieces = [int(layout.pieces[a:b].sum()) for a, b in zip(layout.requests[:-1], layout.requests[1:])]
    return {s.slot: -(-pieces[s.model] // len(models[s.model].replicas)) for s in layout.stations if s.slot in slots}


def _shared(profiles: Sequence[Profile], target: Target) -> Shared:
    lumps = [p.lumps() for p in profiles]
    return Shared(
        np.concatenate([[0], np.cumsum([len(rows) for rows in lumps])]).astype(np.int32),
        np.array([p.ticks for p in profiles], dtype=np.int64), np.concatenate(lumps),
        np.concatenate([np.lexsort((rows[:, DUE], rows[:, GATE])) for rows in lumps]).astype(np.int32),
        cores=target.cores, cores_per_chip=target.cores_per_chip,
    )
