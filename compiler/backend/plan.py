"""The order of a program that is estimated to end first, with the addresses and waits that go with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compiler.backend import triggers
from compiler.backend.allocate import Allocation, allocate
from compiler.backend.encode import Encoded, encode
from compiler.backend.estimate import TRIGGER, Prices
from compiler.backend.fit import Code
from compiler.backend.replay import Replay, Transfers
from compiler.backend.schedule import Budget, ListScheduler, footprint, hoist_loads, lives, tiles_used
from compiler.backend.synchronise import Synchroniser, Waits
from compiler.options import CompileOptions
from isa.lang import Instr, View
from isa.program import IN_SBUF
from isa.target import Target
from isa.word import SBUF

WINDOW = 192  # instructions a list schedule may look ahead; beyond this the gain vanishes and lives grow
SHARES = (0.95, 0.8, 0.6, 0.4)  # of SBUF that reordering may fill; the next one when addresses do not fit
GAIN = 0.01  # a candidate that promises less is not followed up
PREFETCH = 0.9  # of that share for prefetch, which leaves the window room to move in


@dataclass
class Plan:
    """An order whose tiles have addresses."""

    order: list[int]
    ticks: int
    allocation: Allocation
    sync: Waits


@dataclass
class Scheduled:
    """A program ready to be written: rows without addresses, the engine of each, and the plan."""

    code: Code
    encoded: Encoded
    engines: list[int]
    plan: Plan


def schedule(code: Code, target: Target, options: CompileOptions, exact: bool = False) -> Scheduled:
    """Order, addresses and waits of a program whose own order fits the target.

    exact: judge orders with every DMA engine on its own, as stages of a pipeline have to be known to a few percent.
    """
    after = {} if options.double_buffer else _single_buffered(code)
    encoded, engines = encoded_for(code.instrs, target)
    handed = [t.id for t in code.tensors if t.space == IN_SBUF]
    prices = Prices(encoded.words, encoded.descriptors, np.array(engines, dtype=np.int64), target, handed)
    transfers = Transfers(encoded, target, handed) if exact else None
    return Scheduled(code, encoded, engines, Planner(code, engines, prices, target, options, after, transfers).best())


def encoded_for(instrs: Sequence[Instr], target: Target) -> tuple[Encoded, list[int]]:
    """(rows with their queues, engine of each instruction)."""
    engines, queues = triggers.assign(instrs, target)
    encoded = encode(instrs)
    encoded.words = encoded.words.copy()
    rows = encoded.words["opcode"] == TRIGGER
    encoded.words["op0"][rows] = np.array(queues, dtype=np.uint8)[rows]
    return encoded, engines


def _single_buffered(code: Code) -> dict[int, int]:
    """Without double buffering: each load follows the last compute instruction written before it."""
    after: dict[int, int] = {}
    compute = -1
    for at, instr in enumerate(code.instrs):
        if instr.copies is None:
            compute = at
        elif compute >= 0 and isinstance(instr.copies[0].dst, View):
            after[at] = compute
            code.before[at] = sorted({*code.before[at], compute})
    return after


class Planner:
    """Tries orders of one program and keeps the one that ends first, hazards of reused addresses included."""

    def __init__(
        self,
        code: Code,
        engines: Sequence[int],
        prices: Prices,
        target: Target,
        options: CompileOptions,
        after: Mapping[int, int],
        transfers: Transfers | None = None,
    ) -> None:
        """`transfers`: to estimate by; None: by whole transfers."""
        self.code, self.engines, self.prices, self.target = code, engines, prices, target
        self.options, self.after, self.transfers = options, after, transfers
        bank = target.psum_bank_bytes
        self.sizes = [footprint(t, bank) for t in code.tiles]
        # whole banks, so that an order within the budget cannot fail for banks in pieces
        self.room_for = [s if t.space == SBUF else -(-s // bank) * bank for s, t in zip(self.sizes, code.tiles)]
        self.uses = tiles_used(code.accesses)
        self.own = list(range(len(code.instrs)))

    def best(self) -> Plan:
        """The plan with the shortest estimate; the program's own order where `opt_level` is 0."""
        plan = self._planned(self.own)
        assert plan is not None, "the program's own order has been seen to fit"
        if self.options.opt_level == 0:
            return plan
        for candidate in self._candidates():
            for share in SHARES:  # the most memory with which addresses are found
                order, bound = candidate(int(self.target.sbuf_partition_bytes * share))
                if bound * (1 + GAIN) >= plan.ticks:
                    break
                other = self._planned(order)
                if other is not None:
                    plan = min(plan, other, key=lambda p: p.ticks)
                    break
        return plan

    def _candidates(self) -> list[Callable[[int], tuple[list[int], int]]]:
        """Functions from bytes of SBUF that may be alive to (order, its estimate without reuse of addresses)."""
        found = [lambda room: self._reordered(self.own, room)]
        if self.options.double_buffer:
            life = lives(self.own, self.code.accesses, len(self.code.tiles))
            sbuf = np.array([s if t.space == SBUF else 0 for s, t in zip(self.sizes, self.code.tiles)], dtype=np.int64)
            code = self.code
            found.append(
                lambda room: self._reordered(
                    hoist_loads(code.instrs, code.accesses, code.before, life, sbuf, int(room * PREFETCH)), room
                )
            )
        return found

    def _reordered(self, order: Sequence[int], room: int) -> tuple[list[int], int]:
        budget = Budget(room, self.target.psum_partition_bytes)
        return self._scheduler(order, self.code.before, budget, WINDOW).run()

    def _scheduler(
        self, order: Sequence[int], before: Sequence[Collection[int]], budget: Budget, window: int
    ) -> ListScheduler:
        return ListScheduler(order, self.uses, self.engines, before, self.prices, self.room_for, budget, window)

    def _planned(self, order: list[int]) -> Plan | None:
        """Addresses, waits and estimate of an order; None when addresses are not found."""
        code = self.code
        allocation = allocate(code.tiles, lives(order, code.accesses, len(code.tiles)), len(order), self.target)
        if allocation.failure is not None:
            return None
        synchroniser = Synchroniser(
            code.instrs, code.accesses, self.engines, allocation.offsets, self.target.semaphores
        )
        sync = synchroniser.run(order, self.after)
        return Plan(order, self._ticks(order, sync), allocation, sync)

    def _ticks(self, order: list[int], sync: Waits) -> int:
        """How long the order takes, reuse of addresses included."""
        if self.transfers is not None:
            return Replay(order, self.engines, sync.follows, self.prices, self.transfers).run()
        before: list[list[int]] = [[] for _ in order]
        for at, follows in enumerate(sync.follows):
            before[order[at]] = [order[p] for p in follows]
        return self._scheduler(order, before, Budget(0, 0), 0).run()[1]
