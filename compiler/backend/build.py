"""From a tile program to a `Stage`: schedule, allocate (spill), synchronise, emit. Each step is one file of this
folder."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from compiler.backend import emit, triggers
from compiler.backend.allocate import Allocation, Failure, allocate
from compiler.backend.dependencies import Access, of_program
from compiler.backend.encode import Encoded, encode
from compiler.backend.estimate import TRIGGER, Prices
from compiler.backend.schedule import Budget, ListScheduler, footprint, hoist_loads, lives, tiles_used
from compiler.backend.spill import Spiller, choose
from compiler.backend.synchronise import Synchroniser, Waits
from compiler.errors import AllocationError
from compiler.options import CompileOptions
from isa.lang import DramTensor, Instr, Tile, TileProgram, View
from isa.program import SCRATCH, WEIGHT, DebugEntry, Stage, Variable
from isa.target import Target
from isa.word import SBUF, SPACE_NAMES

WINDOW = 192  # instructions a list schedule may look ahead; beyond this the gain vanishes and lives grow
SHARES = (0.95, 0.8, 0.6, 0.4)  # of SBUF that reordering may fill; the next one when addresses do not fit
GAIN = 0.01  # a candidate that promises less is not followed up
PREFETCH = 0.9  # of that share for prefetch, which leaves the window room to move in
SPILL_SHARES = (
    1.0,
    0.95,
    0.9,
    0.8,
    0.7,
    0.6,
)  # of SBUF that may stay alive; less where tiles of mixed sizes fragment it


@dataclass
class _Code:
    """A program's instructions and what later passes need of them."""

    instrs: Sequence[Instr]
    tiles: Sequence[Tile]
    tensors: Sequence[DramTensor]
    debug: Sequence[DebugEntry]
    accesses: list[Access]
    before: list[list[int]]


@dataclass
class _Plan:
    """An order whose tiles have addresses."""

    order: list[int]
    ticks: int
    allocation: Allocation
    sync: Waits


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the search for cyclic garbage: the backend makes none, but millions of records that would be searched."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_collector_paused()
def build(program: TileProgram, options: CompileOptions | None = None) -> Stage:
    """Compile a tile program for its target.

    Options used: `double_buffer` (prefetch of loads), `opt_level` (0: program order as written).
    `Stage.info`: weights_bytes, spill_bytes, sbuf_peak_bytes, psum_peak_bytes (per partition), estimated_ns,
    instructions.

    Raises: AllocationError when the tiles do not fit even after spilling.
    """
    options = options or CompileOptions()
    target = program.target
    code, spilled = _fitting(program)
    after = {} if options.double_buffer else _single_buffered(code)
    engines, queues = triggers.assign(code.instrs, target)
    encoded = encode(code.instrs)
    _set_queues(encoded, queues)
    prices = Prices(encoded.words, encoded.descriptors, np.array(engines, dtype=np.int64), target)
    plan = _Planner(code, engines, prices, target, options, after).best()
    words, descriptors = encoded.place(plan.allocation.offsets)
    return _stage(code, emit.streams(words, plan.order, engines, plan.sync), descriptors, plan, spilled, target)


def _analysed(
    instrs: Sequence[Instr], tiles: Sequence[Tile], tensors: Sequence[DramTensor], debug: Sequence[DebugEntry]
) -> _Code:
    accesses, before = of_program(instrs)
    return _Code(instrs, tiles, tensors, debug, accesses, before)


def _set_queues(encoded: Encoded, queues: Sequence[int]) -> None:
    encoded.words = encoded.words.copy()
    rows = encoded.words["opcode"] == TRIGGER
    encoded.words["op0"][rows] = np.array(queues, dtype=np.uint8)[rows]


def _fitting(program: TileProgram) -> tuple[_Code, int]:
    """(the program, with tiles spilled where its own order does not fit; bytes spilled). Raises: AllocationError."""
    target = program.target
    code = _analysed(program.instrs, program.tiles, program.tensors, program.debug)
    failure = _failure(code, target)
    if failure is None:
        return code, 0
    for share in SPILL_SHARES if failure.space == SBUF else ():
        gaps, stuck = choose(code.accesses, code.tiles, int(target.sbuf_partition_bytes * share))
        if stuck >= 0 and share == 1:
            break
        spiller = Spiller(code.instrs, code.tiles, code.tensors, code.debug, code.accesses)
        spiller.apply(gaps)
        spilled = _analysed(spiller.instrs, spiller.tiles, spiller.tensors, spiller.debug)
        if _failure(spilled, target) is None:
            return spilled, spiller.spilled_bytes
    layer = code.debug[code.instrs[failure.position].debug].layer
    raise AllocationError(SPACE_NAMES[failure.space], failure.need, failure.have, layer)


def _failure(code: _Code, target: Target) -> Failure | None:
    n = len(code.instrs)
    return allocate(code.tiles, lives(range(n), code.accesses, len(code.tiles)), n, target).failure


def _single_buffered(code: _Code) -> dict[int, int]:
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


class _Planner:
    """Tries orders of one program and keeps the one that ends first, hazards of reused addresses included."""

    def __init__(
        self,
        code: _Code,
        engines: Sequence[int],
        prices: Prices,
        target: Target,
        options: CompileOptions,
        after: Mapping[int, int],
    ) -> None:
        self.code, self.engines, self.prices, self.target = code, engines, prices, target
        self.options, self.after = options, after
        bank = target.psum_bank_bytes
        self.sizes = [footprint(t, bank) for t in code.tiles]
        # whole banks, so that an order within the budget cannot fail for banks in pieces
        self.room_for = [s if t.space == SBUF else -(-s // bank) * bank for s, t in zip(self.sizes, code.tiles)]
        self.uses = tiles_used(code.accesses)
        self.own = list(range(len(code.instrs)))

    def best(self) -> _Plan:
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

    def _planned(self, order: list[int]) -> _Plan | None:
        """Addresses, waits and estimate of an order; None when addresses are not found."""
        code = self.code
        allocation = allocate(code.tiles, lives(order, code.accesses, len(code.tiles)), len(order), self.target)
        if allocation.failure is not None:
            return None
        synchroniser = Synchroniser(
            code.instrs, code.accesses, self.engines, allocation.offsets, self.target.semaphores
        )
        sync = synchroniser.run(order, self.after)
        before: list[list[int]] = [[] for _ in order]
        for at, follows in enumerate(sync.follows):
            before[order[at]] = [order[p] for p in follows]
        ticks = self._scheduler(order, before, Budget(0, 0), 0).run()[1]
        return _Plan(order, ticks, allocation, sync)


def _stage(
    code: _Code, streams: dict[str, np.ndarray], descriptors: np.ndarray, plan: _Plan, spilled: int, target: Target
) -> Stage:
    variables = [Variable(t.id, t.name, t.kind, t.dtype, t.shape, t.data) for t in code.tensors]
    peaks = plan.allocation.sbuf_peak, plan.allocation.psum_peak
    info: dict[str, object] = {
        "weights_bytes": sum(v.size_bytes for v in variables if v.kind == WEIGHT),
        "scratch_bytes": sum(v.size_bytes for v in variables if v.kind == SCRATCH),
        "spill_bytes": spilled,
        "sbuf_peak_bytes": peaks[0],
        "psum_peak_bytes": peaks[1],
        "estimated_ns": target.ticks_to_ns(plan.ticks),
        "instructions": sum(len(s) for s in streams.values()),
    }
    return Stage(streams, descriptors, variables, list(code.debug), peaks[0], peaks[1], info)
