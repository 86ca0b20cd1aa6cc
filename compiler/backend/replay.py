"""How long a synchronised order takes when every DMA engine serves its shares on its own.

`Clock` serves a transfer as a whole, which is fast enough to schedule by. Where DRAM is short that is too kind: a DMA
engine whose share is small waits for its turn behind the large shares of the others. Here each engine takes one
descriptor share at a time, from its queues round robin, and DRAM in order of arrival (docs/architecture.md, "Time").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np

from compiler.backend.encode import Encoded
from compiler.backend.estimate import TRIGGER, Clock, Prices
from isa import cost
from isa.target import Target
from isa.word import ENGINES

Share = tuple[int, int]  # ticks of the DMA engine, ticks of DRAM
_SHARE, _ENQUEUE = 0, 1  # what comes first in a tick


class Transfers:
    """The shares of every transfer of a program.

    Attributes:
        queue: [n] of each instruction, 0 for compute. shares: per transfer, the descriptor shares of each DMA engine.
    """

    def __init__(self, encoded: Encoded, target: Target, handed: Sequence[int]) -> None:
        words, descriptors = encoded.words, encoded.descriptors
        self.queue: list[int] = words["op0"].tolist()
        self.engines = target.dma.engines
        self.shares: dict[int, list[list[Share]]] = {}
        if not len(descriptors):
            return
        service = cost.dma_ticks(descriptors, target)
        moved = cost.dma_shares(descriptors, target)[1]
        part = moved / np.maximum(moved.sum(axis=1, keepdims=True), 1)
        read, written, _ = cost.dma_bytes(descriptors, handed)
        each = part * ((read + written) * (target.tick_hz / 1e9 / target.dram_bytes_per_ns))[:, None]
        dram = np.ceil(each - 1e-6).astype(np.int64)
        for at in np.flatnonzero(words["opcode"] == TRIGGER).tolist():
            first, end = int(words["arg"][at]), int(words["arg"][at]) + int(words["count"][at])
            pairs = np.stack([service[first:end], dram[first:end]], axis=2)
            self.shares[at] = [[(s, d) for s, d in pairs[:, k].tolist() if s or d] for k in range(self.engines)]


@dataclass
class _Lane:
    """One DMA engine: per queue, the transfers in it with the shares they still need."""

    number: int
    queues: dict[int, deque[tuple[int, deque[Share]]]] = field(default_factory=dict)
    serving: int = -1  # queue served last
    busy: bool = False


class Replay:
    """One run of a program in a given order.

    Args:
        order: instruction at each position. engines: engine of each instruction.
        follows: positions that each position has to follow.
    """

    def __init__(
        self, order: Sequence[int], engines: Sequence[int], follows: Sequence[Collection[int]], prices: Prices,
        transfers: Transfers,
    ) -> None:  # fmt: skip
        self.order, self.transfers, self.prices = order, transfers, prices
        self.engine = [engines[i] for i in order]
        self.clock = Clock(prices)
        self.streams: list[deque[int]] = [deque() for _ in ENGINES]
        for at, e in enumerate(self.engine):
            self.streams[e].append(at)
        self.missing = [len(f) for f in follows]
        self.after: list[list[int]] = [[] for _ in order]
        for at, earlier in enumerate(follows):
            for p in sorted(earlier):
                self.after[p].append(at)
        self.ready = [0] * len(order)
        self.lanes = [_Lane(k) for k in range(transfers.engines)]
        self.left = dict.fromkeys(transfers.shares, transfers.engines)  # DMA engines not done with an instruction
        self.events: list[tuple[int, int, int]] = []  # tick, kind, lane or position
        self.dram = self.end = 0

    def run(self) -> int:
        """Ticks until all is done."""
        for e in range(len(ENGINES)):
            self._issue(e)
        while self.events:
            tick, kind, number = heappop(self.events)
            if kind == _SHARE:
                self._share_done(tick, number)
            else:
                self._enqueue(tick, number)
        assert not any(self.streams), "an order follows itself"
        return self.end

    # ---- engines
    def _issue(self, engine: int) -> None:
        """Issue what the engine can, and what that lets others issue."""
        open_ = [engine]
        while open_:
            e = open_.pop()
            stream = self.streams[e]
            while stream and not self.missing[stream[0]]:
                at = stream.popleft()
                i = self.order[at]
                if i in self.transfers.shares:
                    start = max(self.clock.free[e], self.ready[at])
                    self.clock.free[e] = start + self.prices.issue[i]
                    heappush(self.events, (start + self.prices.start, _ENQUEUE, at))
                else:
                    same, other = self.clock.issue(i, e, self.ready[at])
                    open_ += self._done(at, same, other)

    def _done(self, at: int, same: int, other: int) -> list[int]:
        """Engines of those that follow the instruction, which is done for its own engine and for others."""
        self.end = max(self.end, other)
        for j in self.after[at]:
            interlocked = self.engine[j] == self.engine[at] and self.order[j] not in self.transfers.shares
            self.ready[j] = max(self.ready[j], same if interlocked else other)
            self.missing[j] -= 1
        return [self.engine[j] for j in self.after[at] if not self.missing[j]]

    # ---- DMA
    def _enqueue(self, tick: int, at: int) -> None:
        i = self.order[at]
        q = self.transfers.queue[i]
        for lane, shares in zip(self.lanes, self.transfers.shares[i]):
            queue = lane.queues.setdefault(q, deque())
            queue.append((at, deque(shares)))
            if len(queue) == 1:
                self._advance(tick, queue)
                self._serve(tick, lane)

    def _share_done(self, tick: int, number: int) -> None:
        lane = self.lanes[number]
        lane.busy = False
        queue = lane.queues[lane.serving]
        queue[0][1].popleft()
        self._advance(tick, queue)
        self._serve(tick, lane)

    def _advance(self, tick: int, queue: deque[tuple[int, deque[Share]]]) -> None:
        """Take the transfers without further shares off the queue."""
        while queue and not queue[0][1]:
            at = queue.popleft()[0]
            self.left[self.order[at]] -= 1
            if not self.left[self.order[at]]:
                seen = tick + self.prices.semaphore
                for e in self._done(at, seen, seen):
                    self._issue(e)

    def _serve(self, tick: int, lane: _Lane) -> None:
        """Start the next share: of the first queue after the one served last."""
        if lane.busy:
            return
        waiting = [q for q, queue in lane.queues.items() if queue]
        if not waiting:
            return
        lane.busy = True
        lane.serving = min(waiting, key=lambda q: (q <= lane.serving, q))
        service, dram = lane.queues[lane.serving][0][1][0]
        end = tick + service
        if dram:
            self.dram = max(self.dram, tick) + dram
            end = max(end, self.dram)
        heappush(self.events, (end, _SHARE, lane.number))
