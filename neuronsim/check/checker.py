"""The whole check of one stage."""
from __future__ import annotations

import numpy as np

from isa.program import Stage
from isa.target import Target
from neuronsim._core.check_order import Clocks
from neuronsim.check import bounds, deadlock, initialised, pinned, races, regions
from neuronsim.check.flat import Flat, flatten
from neuronsim.check.happens_before import Execution, execute, happens_before
from neuronsim.check.report import Finding, Reporter

LIMIT = 100  # findings of one analysis


def check(stage: Stage, target: Target, *, limit: int = LIMIT) -> list[Finding]:
    """Return every fault found in one core's program, what it does at load included; an empty list means none.

    A program that deadlocks is judged as far as it runs. At most `limit` findings per analysis are returned.
    """
    return Checker(stage, target).findings(limit)


class Checker:
    """A prepared check. Attributes: flat, execution, accesses (those in range), clocks of the program as it is.

    `loading` is the same for what runs once when the stage is loaded, or None; its engines are called `init.sync` ...
    """

    def __init__(self, stage: Stage, target: Target, prefix: str = "") -> None:
        self.stage, self.target = stage, target
        loads = any(len(stream) for stream in stage.init.values())
        self.loading = Checker(stage.loading, target, "init.") if loads else None
        self.flat: Flat = flatten(stage, target.dma.engines, prefix)
        self.reporter = Reporter(stage, self.flat)
        self.execution: Execution = execute(self.flat)
        self.memory_bytes = bounds.memory_bytes(stage, target)
        self.range_findings, self.accesses = bounds.find(
            stage, self.flat, target, regions.accesses(stage, self.flat), self.reporter)
        self.board = races.board(self.flat, self.accesses, self.memory_bytes)
        self.clocks: Clocks = happens_before(self.flat, self.execution)

    def findings(self, limit: int = LIMIT) -> list[Finding]:
        """All findings: of loading, deadlock, range, races, unwritten reads and PSUM groups, writes to what stays."""
        order = self.execution.order
        loaded = self.loading.accesses.written_sbuf() if self.loading else None
        states = initialised.find(self.stage, self.accesses, self.memory_bytes, order, self.reporter, limit, loaded)
        early = {(self.flat.op(f.engine, f.index), f.memory) for f in states if f.kind == "uninitialised"}
        return [
            *(self.loading.findings(limit) if self.loading else []),
            *deadlock.find(self.flat, self.execution, self.reporter),
            *self.range_findings[:limit],
            *races.find(self.flat, self.board, order, self.clocks, self.reporter, limit, early),
            *states,
            *(pinned.find(self.accesses, loaded, self.reporter, self.loading.reporter, limit)
              if self.loading and loaded else []),
        ]

    def waits(self) -> list[tuple[int, int]]:
        """All waits as (op, slot)."""
        return [(int(op), int(slot)) for op, slot in zip(*self.flat.wait_sem.nonzero())]

    def races_without(self, op: int, slot: int, limit: int = 1) -> list[Finding]:
        """Races of the program with one wait dropped; [] when other posts already imply it where it matters.

        Fewer waits only add executions, so the execution at hand still is one of them and everything but the clocks
        is reused.
        """
        flat = self.flat.without_wait(op, slot)
        clocks = happens_before(flat, self.execution)
        return races.find(flat, self.board, self.execution.order, clocks, self.reporter, limit)

    def implied(self, op: int, slot: int) -> bool:
        """Is a wait implied by others: is every pair of conflicting accesses ordered without it too?

        Proved without the shortcuts of `races_without`: either no clock changes, or all pairs are visited.
        """
        flat = self.flat.without_wait(op, slot)
        clocks = happens_before(flat, self.execution)
        if all(np.array_equal(getattr(clocks, c), getattr(self.clocks, c)) for c in ("retired", "complete")):
            return True
        return not races.pairs(flat, self.board, self.execution.order, clocks, 1, prune=False)
