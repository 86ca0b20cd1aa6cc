"""The event queue: everything that must happen in one order across engines, slots and DMA engines."""
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
    DONE = 5  # a run has ended


Event = tuple[int, Phase, int, int, int]  # tick, phase, slot, engine, op id: also the order of ties


class EventQueue:
    """Events by (tick, phase, slot, engine, op)."""

    def __init__(self) -> None:
        self._heap: list[Event] = []

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, tick: int, phase: Phase, slot: int = 0, engine: int = 0, op: int = 0) -> None:
        heapq.heappush(self._heap, (tick, phase, slot, engine, op))

    def pop(self) -> Event:
        return heapq.heappop(self._heap)

    @property
    def first(self) -> int:
        """Tick of the next event."""
        return self._heap[0][0]

    def drop(self, slot: int) -> None:
        """Forget all events of a slot."""
        self._heap = [event for event in self._heap if event[2] != slot]
        heapq.heapify(self._heap)
