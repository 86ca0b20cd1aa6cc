"""The DMA engines of one core: every transfer is spread over all 16, each serves its queues round robin.

In order inside a queue, one descriptor share at a time. A share takes its service ticks, and longer when the DRAM
bandwidth of the chip, reserved in order of arrival, is not free. Source: nki/get-started/about/nki-dma-overview.rst.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from neuronsim.units.events import EventQueue, Phase
from neuronsim.units.model import DMA_ENGINES


class Dram:
    """Bandwidth of one chip's device memory as a FIFO reservation."""

    def __init__(self) -> None:
        self._free = 0

    def reserve(self, tick: int, ticks: int) -> int:
        """Take the bandwidth for `ticks` from `tick` or when it is free; return when that ends."""
        self._free = max(tick, self._free) + ticks
        return self._free


@dataclass
class Transfer:
    """A dma_trigger at work: descriptors first .. first + count - 1; `left` engines are not done with it."""

    number: int
    first: int
    count: int
    queue: int
    left: int = DMA_ENGINES


@dataclass
class _Engine:
    """One DMA engine: its queues, and per queue the next descriptor of the transfer at the head."""

    queues: list[deque[Transfer]]
    share: list[int]
    queue: int  # being served, or served last
    ready: set[int] = field(default_factory=set)  # queues with a share to serve
    busy: bool = False
    started: int = 0


class Dma:
    """DMA of one core. `done(tick, transfer)` is called once per transfer and engine, when its share is done."""

    def __init__(self, core: int, queues: int, service: np.ndarray, dram_ticks: np.ndarray, dram: Dram,
                 events: EventQueue, first: np.ndarray, busy: np.ndarray,
                 done: Callable[[int, Transfer], None]) -> None:
        self._core, self._service, self._dram_ticks = core, service, dram_ticks
        self._dram, self._events, self._done = dram, events, done
        self._first, self._busy = first, busy
        self._engines = [
            _Engine([deque() for _ in range(queues)], [0] * queues, queues - 1) for _ in range(DMA_ENGINES)
        ]

    def enqueue(self, tick: int, transfer: Transfer) -> None:
        """Put the transfer at the end of its queue on every engine."""
        for number, engine in enumerate(self._engines):
            queue = engine.queues[transfer.queue]
            queue.append(transfer)
            if len(queue) > 1:
                continue
            self._advance(tick, number, transfer.queue)
            if not engine.busy:
                self._serve(tick, number)

    def share_done(self, tick: int, number: int) -> None:
        """The engine has finished a descriptor share: go on with the next queue."""
        engine = self._engines[number]
        self._busy[number] += tick - engine.started
        engine.share[engine.queue] += 1
        self._advance(tick, number, engine.queue)
        self._serve(tick, number)

    def _advance(self, tick: int, number: int, q: int) -> None:
        """Move the head of a queue past empty shares; transfers that end there are done for this engine at once."""
        engine = self._engines[number]
        queue = engine.queues[q]
        while queue:
            transfer = queue[0]
            while engine.share[q] < transfer.count:
                descriptor = transfer.first + engine.share[q]
                if self._service[descriptor, number] or self._dram_ticks[descriptor, number]:
                    engine.ready.add(q)
                    return
                engine.share[q] += 1
            queue.popleft()
            engine.share[q] = 0
            transfer.left -= 1
            if transfer.left == 0 and self._first[transfer.number] < 0:
                self._first[transfer.number] = tick  # nothing was moved at all
            self._done(tick, transfer)
        engine.ready.discard(q)

    def _serve(self, tick: int, number: int) -> None:
        """Start the next share: from the first ready queue after the one served last."""
        engine = self._engines[number]
        engine.busy = bool(engine.ready)
        if not engine.busy:
            return
        engine.queue = min(engine.ready, key=lambda q: (q <= engine.queue, q))
        transfer = engine.queues[engine.queue][0]
        descriptor = transfer.first + engine.share[engine.queue]
        done = tick + int(self._service[descriptor, number])
        dram_ticks = int(self._dram_ticks[descriptor, number])
        if dram_ticks:
            done = max(done, self._dram.reserve(tick, dram_ticks))
        if self._first[transfer.number] < 0:
            self._first[transfer.number] = tick
        engine.started = tick
        self._events.push(done, Phase.SHARE, self._core, number)
