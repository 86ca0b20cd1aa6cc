"""Regions: two that share a byte always meet, interleaved ones are told apart."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.backend.regions import Region, meet, of_transfer
from isa.lang import TileProgram

dims = st.lists(st.tuples(st.integers(1, 5), st.integers(-40, 40)), min_size=1, max_size=3)


def _bytes(r: Region) -> set[int]:
    steps = np.array(r.steps) * r.unit
    first = r.lo - sum(int(s) * (n - 1) for n, s in zip(r.sizes, steps) if s < 0)
    grid = np.indices(r.sizes).reshape(len(r.sizes), -1)
    return {int(a) + k for a in first + steps @ grid for k in range(r.width)}


@settings(max_examples=400, deadline=None, derandomize=True)
@given(dims, dims, st.integers(0, 60), st.booleans())
def test_regions_that_share_a_byte_meet(a: list, b: list, shift: int, cut: bool) -> None:
    x = TileProgram("trn1.2xlarge").scratch("x", (10000,), "uint8")
    views = [x.ap(2000 + at, [s for _, s in pattern], [n for n, _ in pattern]) for at, pattern in ((0, a), (shift, b))]
    first, second = (of_transfer(v) for v in views)
    shared = _bytes(first) & _bytes(second)
    assert meet(first, second) == meet(second, first)
    assert not shared or meet(first, second)
    if first.covers(second):
        assert _bytes(second) <= _bytes(first)


def test_columns_of_a_matrix_do_not_meet() -> None:
    y = TileProgram("trn1.2xlarge").output("y", (64, 256), "bf16")
    left, right, row = (of_transfer(v) for v in (y[:32, :128], y[:32, 128:], y[3]))
    assert not meet(left, right)
    assert not meet(left, of_transfer(y[5, 200:]))
    assert meet(left, row) and meet(right, row)
    assert left.covers(of_transfer(y[:32, :128]))
