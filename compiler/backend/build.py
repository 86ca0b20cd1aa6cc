"""From a tile program to a `Stage`: schedule, allocate (spill), synchronise, emit. Each step is one file of this
folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from compiler.backend import emit, triggers
from compiler.backend.allocate import Allocation, Failure, allocate
from compiler.backend.dependencies import Access, of_program
from compiler.backend.encode import Encoded, encode
from compiler.backend.estimate import TRIGGER, Prices
from compiler.backend.schedule import Budget, ListScheduler, footprint, hoist_loads, lives
from compiler.backend.spill import Spiller, choose
from compiler.backend.synchronise import Synchroniser
from compiler.errors import AllocationError
from compiler.options import CompileOptions
from isa.lang import DramTensor, Instr, Tile, TileProgram, View
from isa.program import SCRATCH, WEIGHT, DebugEntry, Stage, Variable
from isa.target import Target
from isa.word import SBUF, SPACE_NAMES

WINDOW = 192  # instructions a list schedule may look ahead; beyond this the gain vanishes and lives grow
SHARES = (0.9, 0.7, 0.5)  # of SBUF that prefetch and reordering may fill; the next one when addresses do not fit
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
    plan = _plan(code, engines, prices, target, options)
    offsets = plan.allocation.offsets
    words, descriptors = encoded.place(offsets)
    sync = Synchroniser(code.instrs, code.accesses, engines, offsets, target.semaphores).run(plan.order, after)
    return _stage(code, emit.streams(words, plan.order, engines, sync), descriptors, plan, spilled, target)


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


def _plan(code: _Code, engines: Sequence[int], prices: Prices, target: Target, options: CompileOptions) -> _Plan:
    """The best order, by estimate, whose tiles fit."""
    for order, ticks in _orders(code, engines, prices, target, options):
        n = len(order)
        allocation = allocate(code.tiles, lives(order, code.accesses, len(code.tiles)), n, target)
        if allocation.failure is None:
            return _Plan(order, ticks, allocation)
    raise AssertionError("the program's own order has been seen to fit")


def _orders(
    code: _Code, engines: Sequence[int], prices: Prices, target: Target, options: CompileOptions
) -> Iterator[tuple[list[int], int]]:
    """Orders to try: the fastest by estimate first, then tighter ones, last the program's own."""
    own = list(range(len(code.instrs)))
    sizes = [footprint(t, target.psum_bank_bytes) for t in code.tiles]

    def scheduled(order: Sequence[int], room: int, window: int) -> tuple[list[int], int]:
        budget = Budget(room, target.psum_partition_bytes)
        return ListScheduler(
            order, code.instrs, engines, code.accesses, code.before, prices, sizes, budget, window
        ).run()

    plain = own, scheduled(own, 0, 0)[1]
    if options.opt_level > 0:
        life = lives(own, code.accesses, len(code.tiles))
        sbuf = np.array([s if t.space == SBUF else 0 for s, t in zip(sizes, code.tiles)], dtype=np.int64)
        for share in SHARES:
            room = int(target.sbuf_partition_bytes * share)
            found = [scheduled(own, room, WINDOW)]
            if options.double_buffer:
                early = hoist_loads(code.instrs, code.accesses, code.before, life, sbuf, room)
                found.append(scheduled(early, room, WINDOW))
            yield from sorted((f for f in found if f[1] < plain[1]), key=lambda f: f[1])
    yield plain


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
