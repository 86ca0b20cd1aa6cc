"""The DMA engines of one run: every transfer is spread over all 16, each serves its queues round robin.

In order inside a queue, one descriptor share at a time. A share takes its service ticks, and longer when bandwidth that
it shares with others, reserved in order of arrival, is not free: DRAM, and every link on its way to another chip. What
it takes beyond its service, it has waited for the one that was through last (for DRAM unless a link was later).
Source: nki/get-started/about/nki-dma-overview.rst.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter

import numpy as np

from neuronsim.units.events import EventQueue, Phase
from neuronsim.units.model import DMA_ENGINES, Problem


class Bandwidth:
    """A shared resource, the DRAM of a chip or a link, as a FIFO reservation; `free` is the tick it is taken up to."""

    def __init__(self) -> None:
        self.free = 0

    def reserve(self, tick: int, ticks: int) -> int:
        """Take the bandwidth for `ticks` from `tick` or when it is free; return when that ends."""
        self.free = max(tick, self.free) + ticks
        return self.free


@dataclass
class Transfer:
    """A dma_trigger at work: descriptors first .. first + count - 1; `left` engines are not done with it."""

    number: int
    first: int
    count: int
    queue: int
    left: int = DMA_ENGINES


@dataclass
class DmaEngine:
    """One DMA engine: its queues, and per queue the next descriptor of the transfer at the head."""

    queues: list[deque[Transfer]]
    share: list[int]
    waited: list[list[int]]  # per queue, by the shares of that transfer: for DRAM, for links
    queue: int  # being served, or served last
    ready: set[int] = field(default_factory=set)  # queues with a share to serve
    busy: bool = False
    started: int = 0  # of the share being served
    ends: int = 0


class Dma:
    """DMA of one run. `done(tick, transfer)` is called once per transfer and engine, when its share is done."""

    def __init__(self, problem: Problem, slot: int, resources: list[Bandwidth], events: EventQueue, first: np.ndarray,
                 waited: np.ndarray, busy: np.ndarray, done: Callable[[int, Transfer], None]) -> None:
        self._slot, self._service, self._uses = slot, problem.service[slot], problem.uses[slot]
        self._resources, self._events, self._done = resources, events, done
        self._first, self._waited, self._busy = first, waited, busy
        self._chips = problem.chips
        self._busy[:] = 0
        queues = problem.queues
        self.engines = [
            DmaEngine([deque() for _ in range(queues)], [0] * queues, [[0, 0] for _ in range(queues)], queues - 1)
            for _ in range(DMA_ENGINES)
        ]

    def enqueue(self, tick: int, transfer: Transfer) -> None:
        """Put the transfer at the end of its queue on every engine."""
        for number, engine in enumerate(self.engines):
            queue = engine.queues[transfer.queue]
            queue.append(transfer)
            if len(queue) > 1:
                continue
            self._advance(tick, number, transfer.queue)
            if not engine.busy:
                self._serve(tick, number)

    def share_done(self, tick: int, number: int) -> None:
        """The engine has finished a descriptor share: go on with the next queue."""
        engine = self.engines[number]
        self._busy[number] += tick - engine.started
        engine.share[engine.queue] += 1
        self._advance(tick, number, engine.queue)
        self._serve(tick, number)

    def _advance(self, tick: int, number: int, q: int) -> None:
        """Move the head of a queue past empty shares; transfers that end there are done for this engine at once."""
        engine = self.engines[number]
        queue = engine.queues[q]
        while queue:
            transfer = queue[0]
            while engine.share[q] < transfer.count:
                descriptor = transfer.first + engine.share[q]
                if self._service[descriptor, number] or any(u.ticks[descriptor, number] for u in self._uses):
                    engine.ready.add(q)
                    return
                engine.share[q] += 1
            queue.popleft()
            engine.share[q] = 0
            np.maximum(self._waited[transfer.number], engine.waited[q], out=self._waited[transfer.number])
            engine.waited[q] = [0, 0]
            transfer.left -= 1
            if transfer.left == 0 and self._first[transfer.number] < 0:
                self._first[transfer.number] = tick  # nothing was moved at all
            self._done(tick, transfer)
        engine.ready.discard(q)

    def _serve(self, tick: int, number: int) -> None:
        """Start the next share: from the first ready queue after the one served last."""
        engine = self.engines[number]
        engine.busy = bool(engine.ready)
        if not engine.busy:
            return
        engine.queue = min(engine.ready, key=lambda q: (q <= engine.queue, q))
        transfer = engine.queues[engine.queue][0]
        descriptor = transfer.first + engine.share[engine.queue]
        served = tick + int(self._service[descriptor, number])
        through, resource = max(self._reserve(tick, descriptor, number), key=itemgetter(0), default=(served, 0))
        engine.ends = max(served, through)
        engine.waited[engine.queue][resource >= self._chips] += engine.ends - served
        if self._first[transfer.number] < 0:
            self._first[transfer.number] = tick
        engine.started = tick
        self._events.push(engine.ends, Phase.SHARE, self._slot, number)

    def _reserve(self, tick: int, descriptor: int, number: int) -> Iterator[tuple[int, int]]:
        """Take the shared bandwidth the share needs, all of it from now on: when each resource is through."""
        for use in self._uses:
            ticks = int(use.ticks[descriptor, number])
            if ticks:
                yield from ((self._resources[r].reserve(tick, ticks), r) for r in use.resources)
