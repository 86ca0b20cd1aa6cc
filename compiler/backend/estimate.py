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
        self.dma_engines = target.dma.engines
        if len(descriptors):
            total = np.vstack(
                [np.zeros((1, target.dma.engines), np.int64), cost.dma_ticks(descriptors, target)]
            ).cumsum(axis=0)
            for at in np.flatnonzero(words["opcode"] == TRIGGER).tolist():
                first, count = int(words["arg"][at]), int(words["count"][at])
                self.shares[at] = (total[first + count] - total[first]).tolist()
