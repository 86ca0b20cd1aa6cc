"""What an event loop takes and gives: placed stages as flat arrays, and the times of every word and transfer.

Shared by the compiled loop (`neuronsim._core.timing`) and its plain twin (`neuronsim.units.machine`).
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isa.program import Stage
from isa.word import ENGINES

DMA_ENGINES = 16  # engines per core that a transfer is spread over; source: nki/get-started/about/nki-dma-overview.rst
NORMAL, LOAD, MATMUL, TRIGGER = 0, 1, 2, 3  # values of `Problem.kinds`
SRC1_WRITTEN, DST_READ = 1, 2  # bits of `Problem.roles`
IDLE, RUNNING, ENDING = 0, 1, 2  # of a slot; ENDING: nothing can change any more, the end is in the future
NOTHING, BLOCKED = -1, -2  # what a loop's `advance` returns instead of a slot


@dataclass(frozen=True)
class Placed:
    """One stage on one core of the instance.

    Attributes:
        core: physical core of the target; it decides the chip and so the DRAM.
        downstream: core to which the stage hands its OUTPUT variables; -1: they stay on its own, for the host.
    """

    stage: Stage
    core: int = 0
    downstream: int = -1


@dataclass(frozen=True)
class Use:
    """Shared bandwidth that the descriptors of a stage take.

    Attributes:
        resources: every one of these is taken.
        ticks: [m, 16] int64, for how long, by the share of each DMA engine.
        moved: [m] int64 bytes.
    """

    resources: tuple[int, ...]
    ticks: np.ndarray
    moved: np.ndarray


@dataclass(frozen=True)
class Problem:
    """Placed stages on one machine; a slot is an index into them. Stream s belongs to slot s // 5, engine s % 5.

    Attributes:
        slots: how many.
        words: per stream, [n_s] WORD.
        begin: [streams + 1] int64, op id of each stream's first word.
        cost: [n] int64 ticks, start to start.
        latency: [streams] int64 ticks from the end of issue to the result.
        ports: [streams, 3] uint8, bits of the exclusive ports the engine needs per operand space.
        kinds, roles: [256] uint8 by opcode, as the constants above.
        post_latency, dma_latency: ticks from a post to its sight, from a trigger's start to its queue.
        semaphores, queues: per slot.
        service: per slot, [m, 16] int64 ticks each DMA engine needs for a descriptor.
        uses: per slot, what its descriptors take of the resources 0 .. resources - 1.
        chips: resources below this are the DRAM of chips, the others links.
        trigger: [x] int64, op ids of all dma_triggers, ascending.
    """

    slots: int
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
    resources: int
    chips: int
    service: list[np.ndarray]
    uses: list[tuple[Use, ...]]
    trigger: np.ndarray

    @property
    def stream_of_trigger(self) -> np.ndarray:
        """[x] int32 stream index of each trigger."""
        return (np.searchsorted(self.begin, self.trigger, side="right") - 1).astype(np.int32)

    def words_of(self, slot: int) -> slice:
        """Op ids of a slot."""
        return slice(int(self.begin[slot * len(ENGINES)]), int(self.begin[(slot + 1) * len(ENGINES)]))

    def transfers_of(self, slot: int) -> slice:
        """Transfer ids of a slot."""
        words = self.words_of(slot)
        first, last = np.searchsorted(self.trigger, [words.start, words.stop])
        return slice(int(first), int(last))


@dataclass
class Solution:
    """Times in ticks; arrays are filled by an event loop, those of a slot anew in each of its runs.

    Attributes:
        start, end, retire, wait_start: [n] int64; cause [n] uint8, cause_id and cause_op [n] int32, as `isa.trace`.
        enqueued, first, last: [x] int64 per transfer.
        waited: [x, 2] int64, ticks that its shares on one DMA engine took beyond their service, because DRAM was
            through last, because a link was; the most of any engine.
        engine_busy: [slots, 5] int64; dma_busy: [slots, 16] int64.
        pc: [streams] int64 op id of the next word when the loop found itself blocked.
        blocked_wait: [streams] int8 which of its waits was not met then, -1: none.
        values: [slots, semaphores] int64.
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
    waited: np.ndarray
    engine_busy: np.ndarray
    dma_busy: np.ndarray
    pc: np.ndarray
    blocked_wait: np.ndarray
    values: np.ndarray

    @classmethod
    def empty(cls, problem: Problem) -> Solution:
        n, x, slots = len(problem.cost), len(problem.trigger), problem.slots

        def ticks(*shape: int, fill: int = 0) -> np.ndarray:
            return np.full(shape, fill, dtype=np.int64)

        return cls(
            ticks(n, fill=-1), ticks(n, fill=-1), ticks(n, fill=-1), ticks(n, fill=-1),
            np.zeros(n, np.uint8), np.full(n, -1, np.int32), np.full(n, -1, np.int32),
            ticks(x, fill=-1), ticks(x, fill=-1), ticks(x, fill=-1), ticks(x, 2),
            ticks(slots, len(ENGINES)), ticks(slots, DMA_ENGINES),
            problem.begin[:-1].copy(), np.full(slots * len(ENGINES), -1, np.int8), ticks(slots, problem.semaphores),
        )
