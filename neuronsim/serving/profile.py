"""What a stage asks of its chip's DRAM while it runs, for the request-level model (`_core/serving_shared.pyx`)."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from isa import cost
from isa.program import OUTPUT, Stage
from isa.target import Target
from isa.word import ENGINES
from neuronsim.timing import Placed, Timeline, simulate

_NEVER = 2**62
RELEASE, DUE, WORK, SERVICE, CHAIN, NEXT = range(6)


@dataclass(frozen=True)
class Profile:
    """A stage without its instructions: ticks of a run alone, and the lumps it asks for, [n, 6] int64.

    A lump has a release and a time it is due on the clock of a run alone, ticks of DRAM time (0: it moves within SBUF),
    ticks of its DMA engine, that engine, and the lump it moves next (-1: none).
    """

    ticks: int
    lumps: np.ndarray

    @classmethod
    def of(cls, placed: Placed, target: Target, away: bool, most: int) -> Profile:
        """From the timeline of a run alone: a lump is the share of one DMA engine in one descriptor.

        Where that makes more than `most` lumps, DMA engines and then neighbouring descriptors are taken together.
        Args: away: outputs go to another chip, whose DRAM is not this one's.
        """
        stage, timeline = placed.stage, simulate(placed.stage, target, placed.core, placed.downstream)
        transfer, work, service = _descriptors(stage, timeline, target, away)
        times = np.stack([timeline.transfer_enqueue, _first_waits(stage, timeline, target)], axis=1)[transfer]
        while work.shape[1] > 1 and (service > 0).sum() > most:
            pairs = np.arange(0, work.shape[1], 2)
            work, service = np.add.reduceat(work, pairs, axis=1), np.maximum.reduceat(service, pairs, axis=1)
        joined = np.arange(0, len(work), -(-len(work) // most)) if len(work) else np.zeros(0, dtype=np.int64)
        if len(joined):
            work, service = np.add.reduceat(work, joined), np.add.reduceat(service, joined)
            times = np.stack([times[joined, 0], np.minimum.reduceat(times[:, 1], joined)], axis=1)
        row, chain = np.nonzero(service > 0)
        asked = np.column_stack([times[row], work[row, chain], service[row, chain], chain])
        return cls(timeline.total_ticks, _with_order(asked, timeline.total_ticks))


def _descriptors(
    stage: Stage, timeline: Timeline, target: Target, away: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Descriptors by the start of their transfers: [d] transfer, [d, engines] DRAM ticks, ticks of
    the DMA engines."""
    trigger = _words(stage)[timeline.transfer_op]
    order = np.argsort(timeline.transfer_start, kind="stable")
    counts = trigger["count"][order].astype(np.int64)
    transfer = np.repeat(order, counts)
    within = np.arange(len(transfer)) - np.repeat(np.cumsum(counts) - counts, counts)
    descriptor = trigger["arg"][transfer].astype(np.int64) + within
    elsewhere = [*cost.sbuf_variables(stage), *(v.id for v in stage.variables if away and v.kind == OUTPUT)]
    read, written, _ = cost.dma_bytes(stage.descriptors, elsewhere)
    _, moved = cost.dma_shares(stage.descriptors, target)
    part = moved / np.maximum(moved.sum(axis=1, keepdims=True), 1)
    ticks_per_byte = target.tick_hz / 1e9 / target.dram_bytes_per_ns
    work = np.ceil(part * ((read + written) * ticks_per_byte)[:, None] - 1e-6).astype(np.int64)
    service = np.maximum(cost.dma_ticks(stage.descriptors, target), work > 0)
    return transfer, work[descriptor], service[descriptor]


def _with_order(asked: np.ndarray, total: int) -> np.ndarray:
    """Lumps with what their engine moves next, due no earlier than a run alone has them.

    Args: asked: [n, 5] release, due, DRAM ticks, ticks of the DMA engine, which engine; in the order of each engine.
    """
    lumps = np.column_stack([asked, np.full(len(asked), -1)]).astype(np.int64)
    for chain in range(int(asked[:, CHAIN].max(initial=-1)) + 1):
        mine = np.flatnonzero(asked[:, CHAIN] == chain)
        lumps[mine[:-1], NEXT] = mine[1:]
    first = np.setdiff1d(np.arange(len(lumps)), lumps[:, NEXT])
    rows, done, free = lumps.tolist(), [0] * len(lumps), 0
    heap = [(rows[i][RELEASE], rows[i][CHAIN], i) for i in first.tolist()]
    heapq.heapify(heap)
    while heap:
        now, chain, i = heapq.heappop(heap)
        done[i] = now + rows[i][SERVICE]
        if rows[i][WORK]:
            free = max(free, now) + rows[i][WORK]
            done[i] = max(free, done[i])
        if (after := rows[i][NEXT]) >= 0:
            heapq.heappush(heap, (max(done[i], rows[after][RELEASE]), chain, after))
    lumps[:, DUE] = np.minimum(np.maximum(lumps[:, DUE], done), total)
    return lumps


def _words(stage: Stage) -> np.ndarray:
    return np.concatenate([stage.stream(e) for e in ENGINES])


def _first_waits(stage: Stage, timeline: Timeline, target: Target) -> np.ndarray:
    """[x] int64 when the result of each transfer is first waited for, less the semaphore's latency; the end of the run
    where no word waits for it."""
    words = _words(stage)
    posts = words["post_sem"][timeline.transfer_op]
    due = np.full(len(posts), timeline.total_ticks, dtype=np.int64)
    latency = target.ns_to_ticks(target.semaphore_latency_ns)
    for semaphore in np.unique(posts[posts > 0]).tolist():
        mine = np.flatnonzero(posts == semaphore)
        mine = mine[np.argsort(timeline.transfer_end[mine], kind="stable")]
        row, side = np.nonzero(words["wait_sem"] == semaphore)
        value = words["wait_val"][row, side].astype(np.int64)
        order = np.argsort(value, kind="stable")
        first = np.append(np.minimum.accumulate(timeline.start[row][order][::-1])[::-1], _NEVER)
        # each transfer posts once per DMA engine: a value above what those before it post needs this one
        before = np.arange(len(mine)) * target.dma.engines
        due[mine] = np.minimum(due[mine], first[np.searchsorted(value[order], before, side="right")] - latency)
    return due
