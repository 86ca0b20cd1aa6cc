"""Which sequencer starts each transfer, and on which queue, where the program left it open.

Loads: the sync engine, so that they run ahead of everything. Stores and moves: gpsimd where it does not compute, so
that a store
waiting for its data holds up no load. A queue is served in order, so loads share one and arrive in order of first use;
stores have their own. What a pipeline stage only hands on goes behind the loads, in their queue: on its way over a
link to another chip it holds the DMA engines up.
"""

from __future__ import annotations

from collections.abc import Sequence

from isa.lang import AUTO, Instr, View
from isa.program import IN_SBUF
from isa.target import Target
from isa.word import ENGINES

LOAD_QUEUE, STORE_QUEUE, MOVE_QUEUE = 0, 1, 2


def assign(instrs: Sequence[Instr], target: Target) -> tuple[list[int], list[int]]:
    """(engine of each instruction, queue of each transfer or 0)."""
    sync, gpsimd = ENGINES.index("sync"), ENGINES.index("gpsimd")
    busy = any(i.engine == gpsimd and i.copies is None for i in instrs)
    other = gpsimd if target.engines["gpsimd"].present and not busy else sync
    queues = target.dma.queues
    engines: list[int] = []
    chosen: list[int] = []
    for i in instrs:
        if i.copies is None:
            engines.append(i.engine)
            chosen.append(0)
            continue
        dst, outward = i.copies[0].dst, isinstance(i.copies[0].src, View)
        if not outward and (isinstance(dst, View) or dst.tensor.space == IN_SBUF):
            engine, queue = sync, LOAD_QUEUE
        else:
            engine, queue = other, MOVE_QUEUE if isinstance(dst, View) else STORE_QUEUE
        engines.append(engine if i.engine == AUTO else i.engine)
        chosen.append(queue % queues if i.op0 == AUTO else i.op0)
    return engines, chosen
