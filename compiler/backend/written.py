"""Whether a tile has been written all over before it is spilled, and the fill that makes it so.

A tensor may leave partitions of its tiles unused for good, or get them from later instructions. The store of a spill
reads whole tiles, and no instruction may read what nothing has written.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from isa.lang import Instr, Tile, View
from isa.spec import SPEC
from isa.word import ENGINES

_MEMSET = SPEC.by_name["memset"].opcode
_VECTOR = ENGINES.index("vector")
#: elements an access may span; source: nki/guides/architecture/trainium_inferentia2_arch.rst
MOST = 65535


def covered(tile: Tile, instrs: Sequence[Instr]) -> bool:
    """Whether these instructions together write every byte of the tile."""
    mark = np.zeros((tile.partitions, tile.bytes), dtype=bool)
    for instr in instrs:
        for view in _destinations(instr):
            if view.tile is tile:
                _set(mark, view)
    return bool(mark.all())


def _destinations(instr: Instr) -> Iterator[View]:
    found = [instr.dst, instr.dst1, *(c.dst for c in (instr.copies or ())[:1])]
    return (v for v in found if isinstance(v, View))


def _set(mark: np.ndarray, view: View) -> None:
    size = view.dtype.size
    rows = mark[view.partition : view.partition + view.partitions, view.start :]
    steps = (rows.strides[0], *(s * size for s in view.steps), 1)
    np.lib.stride_tricks.as_strided(rows, (view.partitions, *view.sizes, size), steps)[...] = True


def fill(tile: Tile, row: int) -> list[Instr]:
    """Instructions that set a tile to zero; `row` is their debug entry."""
    count = tile.bytes // tile.dtype.size
    cuts = [(at, min(MOST, count - at)) for at in range(0, count, MOST)]
    views = [View(tile, 0, tile.partitions, at * tile.dtype.size, (1,), (n,), tile.dtype) for at, n in cuts]
    return [Instr(_MEMSET, _VECTOR, row, v, imm0=0.0) for v in views]
