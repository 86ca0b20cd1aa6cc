"""Prices of the instructions of a tile program in ticks, from `isa.cost`. The schedule is judged by these numbers."""

from __future__ import annotations

import numpy as np

from isa import cost
from isa.spec import SPEC
from isa.target import Target
from isa.word import ENGINES

TRIGGER = SPEC.by_name["dma_trigger"].opcode


class Prices:
    """Ticks of each instruction, program order.

    Attributes:
        issue: [n] engine occupied. latency: result latency per engine. semaphore: a post becoming visible.
        start: trigger to first byte of a transfer. shares: [n] of lists, per DMA engine, or None for compute.
        dram: [n] device memory busy with a transfer's bytes.
    """

    def __init__(self, words: np.ndarray, descriptors: np.ndarray, engines: np.ndarray, target: Target) -> None:
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
        self.dma_engines = target.dma.engines
        if len(descriptors):
            self._transfers(words, descriptors, target)

    def _transfers(self, words: np.ndarray, descriptors: np.ndarray, target: Target) -> None:
        each = cost.dma_ticks(descriptors, target)
        service = np.vstack([np.zeros_like(each[:1]), each]).cumsum(axis=0)
        read, written, _ = cost.dma_bytes(descriptors)
        moved = np.append(0, (read + written).cumsum())
        ticks_per_byte = target.tick_hz / 1e9 / target.dram_bytes_per_ns
        for at in np.flatnonzero(words["opcode"] == TRIGGER).tolist():
            first, end = int(words["arg"][at]), int(words["arg"][at]) + int(words["count"][at])
            self.shares[at] = (service[end] - service[first]).tolist()
            self.dram[at] = int((moved[end] - moved[first]) * ticks_per_byte)
