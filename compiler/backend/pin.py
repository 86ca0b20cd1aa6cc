"""Weights that stay in SBUF: their loads run once, when a stage is loaded, and its runs only read them.

A tile can stay when nothing but loads from weights writes it and none of them overwrites what has been read. Tiles that
are filled alike are one weight. Not responsible for how much room there is: that is `compiler/backend/room.py`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod

from compiler.backend.fit import Code, analysed
from compiler.backend.schedule import footprint
from compiler.backend.spill import replaced
from isa.lang import DramTensor, Instr, Tile
from isa.program import WEIGHT


@dataclass(frozen=True)
class Weight:
    """A weight that can stay in SBUF.

    Attributes:
        tiles: all that are filled with it; the first is the one that stays.
        loads: positions of the loads that fill the first; all_loads: those that fill any of the tiles.
        size: bytes of every SBUF partition it takes.
        fetched: bytes from DRAM that a run saves.
    """

    tiles: tuple[Tile, ...]
    loads: tuple[int, ...]
    all_loads: tuple[int, ...]
    size: int
    fetched: int


@dataclass(frozen=True)
class Split:
    """A program whose chosen weights stay.

    Attributes:
        loads: instructions that bring them, to be run once. rest: the others.
        offsets: tile id -> SBUF byte of each tile that stays, from 0 on without gaps.
        size: bytes of every partition below which they lie.
    """

    loads: list[Instr]
    rest: Code
    offsets: dict[int, int]
    size: int


def weights(code: Code) -> list[Weight]:
    """All weights that can stay, in order of their first load."""
    alike: dict[Hashable, list[Tile]] = {}
    filled = _filled(code)
    for tile, loads in filled.items():
        key = tile.shape, tile.bytes, tuple(_key(code.instrs[at]) for at in loads)
        alike.setdefault(key, []).append(tile)
    out = []
    for tiles in alike.values():
        every = tuple(at for t in tiles for at in filled[t])
        fetched = sum(_fetched(code.instrs[at]) for at in every)
        out.append(Weight(tuple(tiles), tuple(filled[tiles[0]]), every, footprint(tiles[0], 1), fetched))
    return out


def choose(found: Sequence[Weight], room: int) -> list[Weight]:
    """Weights of at most `room` bytes per partition, in their order.

    Those that save most DRAM traffic for their bytes come first. Of equals too many to fit some are taken all over the
    program, so that those in between have the time to arrive.
    """
    taken: set[Weight] = set()
    for _, group in groupby(sorted(found, key=_worth), _worth):
        equals = list(group)
        total, due, used = sum(w.size for w in equals), 0.0, 0
        share = min(1.0, room / total)
        for w in equals:
            due += w.size * share
            if used < due and used + w.size <= room:
                taken.add(w)
                used += w.size
        room -= used
    return [w for w in found if w in taken]


def split(code: Code, chosen: Iterable[Weight]) -> Split:
    """The program with these weights in place before it starts."""
    offsets: dict[int, int] = {}
    resident: set[Tile] = set()
    instead: dict[Tile, Tile] = {}
    loads: list[int] = []
    gone: set[int] = set()
    size = 0
    for w in chosen:
        offsets[w.tiles[0].id] = size
        size += w.size
        resident.add(w.tiles[0])
        instead |= dict.fromkeys(w.tiles[1:], w.tiles[0])
        loads += w.loads
        gone |= set(w.all_loads)
    rest = [_reading(i, code, at, instead) for at, i in enumerate(code.instrs) if at not in gone]
    kept = analysed(rest, code.tiles, code.tensors, code.debug, frozenset(resident))
    return Split([code.instrs[at] for at in sorted(loads)], kept, offsets, size)


def _worth(w: Weight) -> float:
    return -w.fetched / w.size


def _filled(code: Code) -> dict[Tile, list[int]]:
    """Tiles that can stay, with their loads, in order of the first one."""
    written = {r.place for _, writes in code.accesses for r in writes}
    filled: dict[Tile, list[int]] = {}
    others: set[Tile] = set()
    for at, (instr, (reads, writes)) in enumerate(zip(code.instrs, code.accesses)):
        constant = instr.copies is not None and all(
            isinstance(r.place, DramTensor) and r.place.kind == WEIGHT and r.place not in written for r in reads
        )
        for r in writes:
            if not isinstance(r.place, Tile):
                continue
            earlier = filled.setdefault(r.place, [])
            if constant and set(code.before[at]) <= set(earlier):
                earlier.append(at)
            else:
                others.add(r.place)
    return {t: loads for t, loads in filled.items() if t not in others}


def _key(load: Instr) -> Hashable:
    """What a load puts where in its tile."""
    assert load.copies is not None
    return tuple(
        (c.op, load.arg, _source(load).id, c.src.dtype.code, c.dst.dtype.code, c.src_off, c.dst_off, c.sizes,
         c.src_steps, c.dst_steps)
        for c in load.copies
    )  # fmt: skip


def _source(load: Instr) -> DramTensor:
    assert load.copies is not None and not isinstance(load.copies[0].src, Tile)
    source: DramTensor = load.copies[0].src.tensor  # type: ignore[union-attr]
    return source


def _fetched(load: Instr) -> int:
    return sum(prod(c.sizes) * c.src.dtype.size for c in load.copies or ())


def _reading(instr: Instr, code: Code, at: int, instead: dict[Tile, Tile]) -> Instr:
    """The instruction, reading the tiles that stay instead of those filled alike."""
    for tile in {r.place: None for r in code.accesses[at][0] if r.place in instead}:
        assert isinstance(tile, Tile)
        instr = replaced(instr, tile, instead[tile])
    return instr
