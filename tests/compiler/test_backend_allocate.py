"""Addresses: tiles alive together never share a byte, PSUM banks are respected."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.backend.allocate import allocate
from compiler.backend.schedule import Lives
from isa import dtypes
from isa.lang import Tile
from isa.word import PSUM, SBUF
from tests.compiler.backend_programs import small_target

BYTE = dtypes.dtype("uint8")
tile = st.tuples(st.sampled_from([SBUF, PSUM]), st.integers(1, 2500), st.integers(0, 60), st.integers(0, 20))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(tile, min_size=1, max_size=40))
def test_allocation_never_overlaps(wanted: list[tuple[int, int, int, int]]) -> None:
    machine = small_target(16384)
    tiles = [Tile(k, "", space, (128, size), BYTE) for k, (space, size, _, _) in enumerate(wanted)]
    first = np.array([w[2] for w in wanted])
    life = Lives(first, first + np.array([w[3] for w in wanted]))
    result = allocate(tiles, life, 100, machine)
    if result.failure is not None:
        space = result.failure.space
        assert result.failure.need > result.failure.have
        assert sum(t.bytes for t in tiles if t.space == space) > result.failure.have // 4
        return
    for a in tiles:
        lo = result.offsets[a.id]
        limit = machine.sbuf_partition_bytes if a.space == SBUF else machine.psum_partition_bytes
        assert 0 <= lo <= lo + a.bytes <= limit
        if a.space == PSUM:
            assert lo % 2048 == 0 if a.bytes > 2048 else lo // 2048 == (lo + a.bytes - 1) // 2048
        for b in tiles[: a.id]:
            together = life.first[a.id] <= life.last[b.id] and life.first[b.id] <= life.last[a.id]
            if a.space == b.space and together:
                assert lo + a.bytes <= result.offsets[b.id] or result.offsets[b.id] + b.bytes <= lo


def test_freed_bytes_rest_while_there_is_other_room() -> None:
    machine = small_target(16384)
    tiles = [Tile(k, "", SBUF, (128, 2048), BYTE) for k in range(8)]
    life = Lives(np.arange(8) * 10, np.arange(8) * 10 + 9)
    offsets = allocate(tiles, life, 80, machine).offsets
    assert sorted(offsets.tolist()) == list(range(0, 16384, 2048))


def test_psum_banks_rotate() -> None:
    tiles = [Tile(k, "", PSUM, (128, 2048), BYTE) for k in range(10)]
    life = Lives(np.arange(10), np.arange(10))
    offsets = allocate(tiles, life, 10, small_target()).offsets // 2048
    assert offsets.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]
