"""What an event loop takes and gives: one program per core as flat arrays, and the times of every word and transfer.

Shared by the compiled loop (`neuronsim._core.timing`) and its plain twin (`neuronsim.units.machine`).
"""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from isa.word import ENGINES

DMA_ENGINES = 16  # engines per core that a transfer is spread over; source: nki/get-started/about/nki-dma-overview.rst
NORMAL, LOAD, MATMUL, TRIGGER = 0, 1, 2, 3  # values of `Problem.kinds`
SRC1_WRITTEN, DST_READ = 1, 2  # bits of `Problem.roles`


@dataclass(frozen=True)
class Problem:
    """A program per core on one machine. Stream s belongs to core s // 5, engine s % 5.

    Attributes:
        cores: how many.
        words: per stream, [n_s] WORD.
        begin: [streams + 1] int64, op id of each stream's first word.
        cost: [n] int64 ticks, start to start.
        latency: [streams] int64 ticks from the end of issue to the result.
        ports: [streams, 3] uint8, bits of the exclusive ports the engine needs per operand space.
        kinds, roles: [256] uint8 by opcode, as the constants above.
        post_latency, dma_latency: ticks from a post to its sight, from a trigger's start to its queue.
        semaphores, queues: per core.
        service, dram: per core, [m, 16] int64 ticks each DMA engine / the DRAM needs for a descriptor.
        chip: [cores] int32, whose DRAM bandwidth is shared.
        trigger: [x] int64, op ids of all dma_triggers, ascending.
    """

    cores: int
    words: list[np.ndarray]
    begin: np.ndarray
    cost: np.ndarray
    latency: np.ndarray
    ports: np.ndarray
    kinds: np.ndarray
    roles: np.ndarray
    post_latency: int
    dma_latency: int
    semaphores: int
    queues: int
    service: list[np.ndarray]
    dram: list[np.ndarray]
    chip: np.ndarray
    trigger: np.ndarray

    @property
    def stream_of_trigger(self) -> np.ndarray:
        """[x] int32 stream index of each trigger."""
        return (np.searchsorted(self.begin, self.trigger, side="right") - 1).astype(np.int32)


@dataclass
class Solution:
    """Times in ticks; arrays are filled by an event loop.

    Attributes:
        start, end, retire, wait_start: [n] int64; cause [n] uint8, cause_id and cause_op [n] int32, as `isa.trace`.
        enqueued, first, last: [x] int64 per transfer.
        engine_busy: [cores, 5] int64; dma_busy: [cores, 16] int64.
        pc: [streams] int64 op id of the next word; a stream that stopped before its end is blocked.
        blocked_wait: [streams] int8 which of its waits is not met, -1: none.
        values: [cores, semaphores] int64 at the end.
    """

    start: np.ndarray
    end: np.ndarray
    retire: np.ndarray
    wait_start: np.ndarray
    cause: np.ndarray
    cause_id: np.ndarray
    cause_op: np.ndarray
    enqueued: np.ndarray
    first: np.ndarray
    last: np.ndarray
    engine_busy: np.ndarray
    dma_busy: np.ndarray
    pc: np.ndarray
    blocked_wait: np.ndarray
    values: np.ndarray
    deadlock: bool = field(default=False)

    @classmethod
    def empty(cls, problem: Problem) -> Solution:
        n, x, cores = len(problem.cost), len(problem.trigger), problem.cores

        def ticks(*shape: int, fill: int = 0) -> np.ndarray:
            return np.full(shape, fill, dtype=np.int64)

        return cls(
            ticks(n, fill=-1), ticks(n, fill=-1), ticks(n, fill=-1), ticks(n, fill=-1),
            np.zeros(n, np.uint8), np.full(n, -1, np.int32), np.full(n, -1, np.int32),
            ticks(x, fill=-1), ticks(x, fill=-1), ticks(x, fill=-1),
            ticks(cores, len(ENGINES)), ticks(cores, DMA_ENGINES),
            problem.begin[:-1].copy(), np.full(cores * len(ENGINES), -1, np.int8), ticks(cores, problem.semaphores),
        )
