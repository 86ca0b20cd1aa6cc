"""Prices of the instructions of a tile program in ticks, from `isa.cost`. The schedule is judged by these numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isa import cost
from isa.spec import SPEC
from isa.target import Target
from isa.word import ENGINES

TRIGGER = SPEC.by_name["dma_trigger"].opcode
_LOAD = SPEC.by_name["load_stationary"].opcode
_TENSOR = ENGINES.index("tensor")


class Prices:
    """Ticks of each instruction, program order.

    Attributes:
        issue: [n] engine occupied. latency: result latency per engine. semaphore: a post becoming visible.
        start: trigger to first byte of a transfer. shares: [n] of lists, per DMA engine, or None for compute.
        dram: [n] device memory busy with a transfer's bytes. load: [n] is a load_stationary.
    """

    def __init__(
        self,
        words: np.ndarray,
        descriptors: np.ndarray,
        engines: np.ndarray,
        target: Target,
        handed: Sequence[int] = (),
    ) -> None:
        """`handed`: ids of the variables in SBUF, which take no device memory's time."""
        n = len(words)
        issue = np.zeros(n, dtype=np.int64)
        for code, name in enumerate(ENGINES):
            rows = np.flatnonzero(engines == code)
            if len(rows):
                issue[rows] = cost.ticks(words[rows], name, target)
        params = [target.engines[e] for e in ENGINES]
        self.issue: list[int] = issue.tolist()
        self.latency: list[int] = [e.latency_cycles * e.ticks_per_cycle for e in params]
        self.semaphore = target.ns_to_ticks(target.semaphore_latency_ns)
        self.start = target.ns_to_ticks(target.dma.start_latency_ns)
        self.shares: list[list[int] | None] = [None] * n
        self.dram: list[int] = [0] * n
        self.load: list[bool] = (words["opcode"] == _LOAD).tolist()
        self.dma_engines = target.dma.engines
        if len(descriptors):
            self._transfers(words, descriptors, target, handed)

    def _transfers(
        self, words: np.ndarray, descriptors: np.ndarray, target: Target, handed: Sequence[int]
    ) -> None:
        each = cost.dma_ticks(descriptors, target)
        service = np.vstack([np.zeros_like(each[:1]), each]).cumsum(axis=0)
        read, written, _ = cost.dma_bytes(descriptors, handed)
        moved = np.append(0, (read + written).cumsum())
        ticks_per_byte = target.tick_hz / 1e9 / target.dram_bytes_per_ns
        for at in np.flatnonzero(words["opcode"] == TRIGGER).tolist():
            first, end = int(words["arg"][at]), int(words["arg"][at]) + int(words["count"][at])
            self.shares[at] = (service[end] - service[first]).tolist()
            self.dram[at] = int((moved[end] - moved[first]) * ticks_per_byte)


class Clock:
    """When instructions start and end if issued one after the other: engines in order, transfers served in order.

    The tensor engine loads the next stationary matrix while the present one is in use (docs/architecture.md, "Time").
    `free[e]` is the tick at which engine e can issue.
    """

    def __init__(self, prices: Prices) -> None:
        self.prices = prices
        self.free = [0] * len(ENGINES)
        self._lanes = [0] * prices.dma_engines
        self._dram = 0
        self._loaded = self._in_use = 0  # end of the last load; start of the last matmul

    def issue(self, i: int, engine: int, ready: int) -> tuple[int, int]:
        """Issue instruction i, whose needs are met at `ready`; return the ticks at which a dependent instruction
        (of the same engine, of another engine) can start."""
        prices = self.prices
        shares, cost = prices.shares[i], prices.issue[i]
        if shares is not None:
            start = max(self.free[engine], ready)
            self.free[engine] = start + cost
            visible = self._transfer(start + prices.start, shares, prices.dram[i]) + prices.semaphore
            return visible, visible
        if engine != _TENSOR:
            start = max(self.free[engine], ready)
            self.free[engine] = start + cost
            end = start + cost + prices.latency[engine]
            return end, end + prices.semaphore
        if prices.load[i]:
            start = max(self._in_use, self._loaded, ready)
            self._loaded = start + cost
        else:
            start = max(self.free[engine], self._loaded, ready)
            self.free[engine], self._in_use = start + cost, start
        return start, start + cost + prices.latency[engine] + prices.semaphore

    def _transfer(self, begin: int, shares: list[int], dram: int) -> int:
        end, lanes = begin, self._lanes
        for k, service in enumerate(shares):
            if service:
                lanes[k] = t = (lanes[k] if lanes[k] > begin else begin) + service
                end = t if t > end else end
        self._dram = max(self._dram, begin) + dram
        return max(end, self._dram)
