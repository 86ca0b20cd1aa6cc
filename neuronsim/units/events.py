"""The event queue: everything that must happen in one order across engines, cores and DMA engines."""
from __future__ import annotations

import heapq
from enum import IntEnum


class Phase(IntEnum):
    """What comes first inside one tick."""

    POST = 0  # a word's semaphore post is seen
    DMA_POST = 1  # posts of DMA engines are seen
    SHARE = 2  # a DMA engine is done with a descriptor share
    ENQUEUE = 3  # a transfer enters its queue
    PORT = 4  # a word asks for exclusive ports


Event = tuple[int, Phase, int, int, int]  # tick, phase, core, engine, op id: also the order of ties


class EventQueue:
    """Events by (tick, phase, core, engine, op)."""

    def __init__(self) -> None:
        self._heap: list[Event] = []

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, tick: int, phase: Phase, core: int = 0, engine: int = 0, op: int = 0) -> None:
        heapq.heappush(self._heap, (tick, phase, core, engine, op))

    def pop(self) -> Event:
        return heapq.heappop(self._heap)
