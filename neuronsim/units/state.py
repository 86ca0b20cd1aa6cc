"""The state of a machine as numbers: all that decides what happens from now on, relative to now, and nothing else.

Equal states have equal futures: a time that has passed is 0, whatever it was. Events are not listed: each follows from
the state of what it belongs to. Twin of `neuronsim/_core/state.c`, number for number.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from neuronsim.units.dma import Bandwidth, Dma
from neuronsim.units.engine import Engine
from neuronsim.units.events import Phase
from neuronsim.units.model import ENDING, IDLE, LOAD, MATMUL, RUNNING, Problem
from neuronsim.units.prepare import MAX_PORTS
from neuronsim.units.run import Run


def of(problem: Problem, now: int, resources: Sequence[Bandwidth], runs: Mapping[int, Run]) -> bytes:
    """The state at tick `now` as little-endian int64."""
    out = [max(r.free - now, 0) for r in resources]
    for slot in range(problem.slots):
        run = runs.get(slot)
        if run is None:
            out += [IDLE]
        elif run.end is not None:
            out += [ENDING, run.end - now]
        else:
            out += [RUNNING, *_run(run, now)]
    return np.array(out, dtype=np.int64).tobytes()


def _run(run: Run, now: int) -> Iterator[int]:
    for number, engine in enumerate(run.engines):
        yield from _engine(run, number, engine, now)
    for semaphore in np.flatnonzero(run.semaphores.values):
        yield from (int(semaphore), int(run.semaphores.values[semaphore]))
    yield -1
    yield from (max(run.ports.get(bit, (0, -1))[0] - now, 0) for bit in range(MAX_PORTS))
    first = run.problem.transfers_of(run.slot).start
    yield from _dma(run.dma, first, now)
    for tick, transfer in run.dma_posts:
        yield from (tick - now, transfer - first)
    yield -1


def _engine(run: Run, number: int, engine: Engine, now: int) -> Iterator[int]:
    """Where the stream is, and what earlier words have yet to do: a result to read, a post, a transfer."""
    yield engine.pc - engine.begin
    yield max(engine.retired - now, 0)
    unfinished = engine.pc
    if engine.pc < engine.end:
        yield engine.wait
        times = (engine.tick, engine.unit_free[LOAD], engine.unit_free[MATMUL], engine.load_end)
        yield from (max(tick - now, 0) for tick in times)
        while unfinished > engine.begin and run.solution.end[unfinished - 1] > now:
            unfinished -= 1
    pending = {op: run.due(Phase.POST, op) for op in run.posts[number]}
    pending |= {op: run.due(Phase.ENQUEUE, op) for op in run.triggers[number]}
    first = min([unfinished, *pending])
    yield engine.pc - first
    for op in range(first, engine.pc):
        yield 0 if op < unfinished else int(run.solution.end[op]) - now
        yield pending[op] - now if op in pending else -1


def _dma(dma: Dma, first: int, now: int) -> Iterator[int]:
    """What every DMA engine serves; per queue the transfers some engine is not done with, and where each engine is."""
    for engine in dma.engines:
        yield engine.queue
        yield engine.ends - now if engine.busy else -1
    for q in range(len(dma.engines[0].queues)):
        pending = max((e.queues[q] for e in dma.engines), key=len)
        yield len(pending)
        if pending:
            yield from (transfer.number - first for transfer in pending)
            for engine in dma.engines:
                yield from (len(engine.queues[q]), engine.share[q])
