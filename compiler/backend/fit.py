"""A program's instructions with their dependences, spilled as far as its own order needs to fit SBUF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.backend.allocate import Failure, allocate
from compiler.backend.dependencies import Access, of_program
from compiler.backend.schedule import lives
from compiler.backend.spill import Spiller, choose
from compiler.errors import AllocationError
from isa.lang import DramTensor, Instr, Tile
from isa.program import DebugEntry
from isa.target import Target
from isa.word import SBUF, SPACE_NAMES

SPILL_SHARES = (
    1.0,
    0.95,
    0.9,
    0.8,
    0.7,
    0.6,
)  # of SBUF that may stay alive; less where tiles of mixed sizes fragment it


@dataclass
class Code:
    """A program's instructions and what later passes need of them.

    Attributes:
        resident: tiles that hold their values before the program starts; they have addresses already, and no access to
            them is in `accesses` or `before`.
    """

    instrs: Sequence[Instr]
    tiles: Sequence[Tile]
    tensors: Sequence[DramTensor]
    debug: Sequence[DebugEntry]
    resident: frozenset[Tile]
    accesses: list[Access]
    before: list[list[int]]


def analysed(
    instrs: Sequence[Instr],
    tiles: Sequence[Tile],
    tensors: Sequence[DramTensor],
    debug: Sequence[DebugEntry],
    resident: frozenset[Tile] = frozenset(),
) -> Code:
    """The code of these instructions."""
    return Code(instrs, tiles, tensors, debug, resident, *of_program(instrs, resident))


def fitted(code: Code, target: Target) -> tuple[Code, int]:
    """(the code, with tiles spilled where its own order does not fit; bytes spilled). Raises: AllocationError."""
    failure = misfit(code, target)
    if failure is None:
        return code, 0
    for share in SPILL_SHARES if failure.space == SBUF else ():
        gaps, stuck = choose(code.accesses, code.tiles, int(target.sbuf_partition_bytes * share))
        if stuck >= 0 and share == 1:
            break
        spiller = Spiller(code.instrs, code.tiles, code.tensors, code.debug, code.accesses)
        spiller.apply(gaps)
        spilled = analysed(spiller.instrs, spiller.tiles, spiller.tensors, spiller.debug, code.resident)
        if misfit(spilled, target) is None:
            return spilled, spiller.spilled_bytes
    layer = code.debug[code.instrs[failure.position].debug].layer
    raise AllocationError(SPACE_NAMES[failure.space], failure.need, failure.have, layer)


def misfit(code: Code, target: Target) -> Failure | None:
    """Where the code's own order overflows a memory, if it does."""
    n = len(code.instrs)
    return allocate(code.tiles, lives(range(n), code.accesses, len(code.tiles)), n, target).failure
