"""Which earlier instructions each instruction must follow: read after write, write after read, write after write.

`Histories` remembers, per tile and tensor, the accesses that still matter; `of_program` runs it over program order on
virtual tiles. Not responsible for reuse of addresses: that is `compiler/backend/synchronise.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from compiler.backend.regions import Place, Region, accesses, meet
from isa.lang import Instr, Tile
from isa.spec import SPEC

LOAD = SPEC.by_name["load_stationary"].opcode
MATMUL = SPEC.by_name["matmul"].opcode

Record = tuple[int, Region]  # (position, region)
Access = tuple[list[Region], list[Region]]


class History:
    """Accesses of one tile or tensor not yet overwritten: newest last."""

    __slots__ = ("reads", "writes")

    def __init__(self) -> None:
        self.reads: list[Record] = []
        self.writes: list[Record] = []


class Histories:
    """Histories of all places, created on first access."""

    def __init__(self) -> None:
        self.of: dict[Place, History] = {}

    def step(self, at: int, access: Access) -> set[int]:
        """Record the access at position `at` and return the earlier positions it must follow."""
        reads, writes = access
        needs: set[int] = set()
        for region in reads:
            history = self.history(region.place)
            for j, other in history.writes:
                if meet(region, other):
                    needs.add(j)
        for region in writes:
            self._write(at, region, needs)
        for region in reads:
            self.of[region.place].reads.append((at, region))
        needs.discard(at)
        return needs

    def history(self, place: Place) -> History:
        found = self.of.get(place)
        if found is None:
            found = self.of[place] = History()
        return found

    def _write(self, at: int, region: Region, needs: set[int]) -> None:
        history = self.history(region.place)
        if history.writes:
            history.writes = _ordered(region, history.writes, needs)
        if history.reads:
            history.reads = _ordered(region, history.reads, needs)
        history.writes.append((at, region))


def _ordered(region: Region, records: list[Record], needs: set[int]) -> list[Record]:
    """Add the records that `region` meets to `needs`; return those that a later access may still have to follow."""
    kept: list[Record] = []
    for record in records:
        if meet(region, record[1]):
            needs.add(record[0])
            if region.covers(record[1]):
                continue
        kept.append(record)
    return kept


def of_program(
    instrs: Sequence[Instr], resident: Collection[Tile] = frozenset()
) -> tuple[list[Access], list[list[int]]]:
    """(accesses, predecessors in program order) of each instruction.

    The stationary matrix counts as a register: a matmul follows its load, a load the matmuls of the one before.
    `resident` tiles hold their values before the program starts and are never written: no access to them counts.
    """
    histories = Histories()
    all_accesses: list[Access] = []
    before: list[list[int]] = []
    load, users = -1, []  # type: int, list[int]
    for at, instr in enumerate(instrs):
        access = accesses(instr)
        if resident:
            access = _without(access, resident)
        needs = histories.step(at, access)
        if instr.opcode == LOAD:
            needs.update(users)
            if load >= 0:
                needs.add(load)
            load, users = at, []
        elif instr.opcode == MATMUL:
            needs.add(load)
            users.append(at)
        all_accesses.append(access)
        before.append(sorted(needs))
    return all_accesses, before


def _without(access: Access, resident: Collection[Tile]) -> Access:
    reads, writes = access
    assert not any(r.place in resident for r in writes), "what is resident is only read"
    return [r for r in reads if r.place not in resident], writes
