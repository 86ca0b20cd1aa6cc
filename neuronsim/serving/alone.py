"""What one placed stage does with the machine to itself: its time, and the traffic that others may meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isa.target import Target
from isa.topology import Link, Topology

if TYPE_CHECKING:
    from isa.program import Stage
    from neuronsim.timing import Placed


@dataclass(frozen=True)
class Alone:
    """One run: its ticks, its instruction words, bytes of each chip's DRAM and over each link."""

    ticks: int
    words: int
    dram_bytes: Mapping[int, int] = field(default_factory=dict)
    link_bytes: Mapping[Link, int] = field(default_factory=dict)


class Bench:
    """Times placed stages one at a time; a stage is timed once for every kind of route its outputs take."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._topology = Topology(target)
        self._known: dict[tuple[int, int], tuple[int, int, int, int]] = {}
        self._kept: list[Stage] = []  # ids of stages are keys

    def alone(self, placed: Placed) -> Alone:
        """Raises: as `neuronsim.timing.Cores`."""
        from neuronsim.timing import LAST_TICK, Cores

        chip_of = self._topology.chip_of
        there = placed.core if placed.downstream < 0 else placed.downstream
        route = self._topology.route(placed.core, there)
        key = (id(placed.stage), len(route))
        if key not in self._known:
            cores = Cores([placed], self._target)
            cores.start(0, 0)
            ended = cores.advance(LAST_TICK)
            assert ended is not None
            here, away = int(cores.dram_bytes[chip_of(placed.core)]), int(cores.dram_bytes[chip_of(there)])
            sent = max((int(n) for n in cores.link_bytes.values()), default=0)
            self._known[key] = (ended[1], here, away if route else 0, sent)
            self._kept.append(placed.stage)
        ticks, here, away, sent = self._known[key]
        traffic = {chip_of(there): away, chip_of(placed.core): here} if route else {chip_of(placed.core): here}
        dram = {chip: n for chip, n in traffic.items() if n}
        words = sum(len(s) for s in placed.stage.streams.values())
        return Alone(ticks, words, dram, dict.fromkeys(route, sent) if sent else {})
