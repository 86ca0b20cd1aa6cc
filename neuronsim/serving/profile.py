"""What a stage asks of its chip's DRAM while it runs, for the request-level model (`_core/serving_shared.pyx`)."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass

import numpy as np

from isa import cost
from isa.program import OUTPUT, Stage
from isa.target import Target
from isa.word import ENGINES
from neuronsim.serving.waits import Waits
from neuronsim.timing import Placed, Timeline, simulate

_NEVER = 2**62
RELEASE, DUE, GATE, GAP, WORK, SERVICE, CHAIN, NEXT = range(8)


@dataclass(frozen=True)
class Profile:
    """A stage without its instructions: ticks of a run alone, and what its DMA engines move, descriptor by descriptor.

    Attributes:
        release: [d] when a descriptor enters its queue, on the clock of a run alone; queue: [d].
        due, gate: [d, engines] of the share of each engine, as `Waits`. gap: [d].
        work, service: [d, engines] ticks of DRAM time (0: within SBUF), and of the DMA engine (0: it has no share).
    """

    ticks: int
    release: np.ndarray
    queue: np.ndarray
    due: np.ndarray
    gate: np.ndarray
    gap: np.ndarray
    work: np.ndarray
    service: np.ndarray

    @classmethod
    def of(cls, placed: Placed, target: Target, away: bool) -> Profile:
        """From the timeline of a run alone. Args: away: outputs go to another chip, whose DRAM is not this one's."""
        stage, timeline = placed.stage, simulate(placed.stage, target, placed.core, placed.downstream)
        transfer, work, service = _descriptors(stage, timeline, target, away)
        waits, queue, has_share = Waits.of(stage, timeline, target), timeline.transfer_queue[transfer], service > 0
        due, gate = (_in_queues(has_share, queue, column[transfer]) for column in (waits.due, waits.gate))
        return cls(timeline.total_ticks, timeline.transfer_enqueue[transfer], queue, due, gate,
                   _once(waits.gap, transfer), work, service)

    @property
    def count(self) -> int:
        """Shares, each of which is a lump."""
        return int((self.service > 0).sum())

    def joined(self, engines: int, descriptors: int) -> Profile:
        """With so many neighbouring DMA engines, and descriptors, as one."""
        if not len(self.work):
            return self
        rows = np.arange(0, len(self.work), descriptors)
        columns = np.arange(0, self.work.shape[1], engines)

        def both(ufunc: np.ufunc, table: np.ndarray, along: np.ufunc) -> np.ndarray:
            return along.reduceat(ufunc.reduceat(table, columns, axis=1), rows)

        return Profile(
            self.ticks, self.release[rows], self.queue[rows], both(np.minimum, self.due, np.minimum),
            both(np.minimum, self.gate, np.minimum), np.add.reduceat(self.gap, rows), both(np.add, self.work, np.add),
            both(np.maximum, self.service, np.add),
        )

    def lumps(self) -> np.ndarray:
        """[n, 8] int64 as the columns of `Shared`."""
        row, chain = np.nonzero(self.service > 0)
        asked = [self.release[row], self.due[row, chain], self.gate[row, chain], _once(self.gap, row),
                 self.work[row, chain], self.service[row, chain], chain]
        return _with_order(np.column_stack(asked), self.queue[row], self.ticks)


def _once(values: np.ndarray, row: np.ndarray) -> np.ndarray:
    """values[row] where a row comes for the first time, else 0."""
    found = np.zeros(len(row), dtype=np.int64)
    first = np.unique(row, return_index=True)[1]
    found[first] = values[row[first]]
    return found


def _descriptors(
    stage: Stage, timeline: Timeline, target: Target, away: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Descriptors in the order they are enqueued: [d] transfer, [d, engines] DRAM ticks, ticks of the DMA engines."""
    trigger = np.concatenate([stage.stream(e) for e in ENGINES])[timeline.transfer_op]
    order = np.argsort(timeline.transfer_enqueue, kind="stable")
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


def _in_queues(used: np.ndarray, queue: np.ndarray, times: np.ndarray) -> np.ndarray:
    """[d, engines] int64 the least time of what waits for the share of each engine in each descriptor, `_NEVER` where
    it has none.

    An engine posts for a transfer when it comes to its end in the queue, also where it has no share in it: who waits
    for that transfer then waits for what the engine moves before.
    Args: used: [d, engines] bool, has a share. queue: [d]. times: [d] of the descriptor's transfer.
    """
    found = np.full(used.shape, _NEVER)
    for q in np.unique(queue).tolist():
        rows = np.flatnonzero(queue == q)
        for engine in range(used.shape[1]):
            shares = np.flatnonzero(used[rows, engine])
            if len(shares):
                found[rows[shares], engine] = np.minimum.reduceat(times[rows], shares)
    return found


def _with_order(asked: np.ndarray, queue: np.ndarray, total: int) -> np.ndarray:
    """Lumps with what their engine moves next, alone; due no earlier than they have been moved then, with gates behind.

    An engine takes its queues in turn. Args: asked: [n, 7], all but the last column of the lumps. queue: [n]. Both in
    the order in which they enter their queues.
    """
    lumps = np.column_stack([asked, np.full(len(asked), -1)]).astype(np.int64)
    rows, done, free = lumps.tolist(), [0] * len(lumps), 0
    engines: dict[int, dict[int, deque[int]]] = {}
    for i, (row, q) in enumerate(zip(rows, queue.tolist())):
        engines.setdefault(row[CHAIN], {}).setdefault(q, deque()).append(i)
    last = dict.fromkeys(engines, (-1, -1))  # lump and queue
    heap = [(0, engine) for engine in sorted(engines)]
    while heap:
        now, engine = heapq.heappop(heap)
        queues, (before, turn) = engines[engine], last[engine]
        if not queues:
            continue
        began = min(rows[waiting[0]][RELEASE] for waiting in queues.values())
        if began > now:
            heapq.heappush(heap, (began, engine))
            continue
        q = min((q for q, waiting in queues.items() if rows[waiting[0]][RELEASE] <= now), key=lambda q: (q <= turn, q))
        i = queues[q].popleft()
        if not queues[q]:
            del queues[q]
        if before >= 0:
            lumps[before, NEXT] = i
        done[i] = now + rows[i][SERVICE]
        if rows[i][WORK]:
            free = max(free, now) + rows[i][WORK]
            done[i] = max(free, done[i])
        last[engine] = i, q
        heapq.heappush(heap, (done[i], engine))
    lumps[:, DUE] = np.minimum(np.maximum(lumps[:, DUE], done), total)
    lumps[:, GATE] = np.minimum(np.maximum(lumps[:, GATE], lumps[:, DUE]), total)
    return lumps
