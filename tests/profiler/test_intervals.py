"""Interval arithmetic against counting tick by tick."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.intervals import covered, merge, share

Interval = tuple[int, int]
INTERVALS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda p: (p[0], p[0] + p[1])), max_size=12)


def columns(intervals: list[Interval]) -> tuple[np.ndarray, np.ndarray]:
    array = np.array(intervals, dtype=np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def ticks(intervals: list[Interval]) -> set[int]:
    return {t for s, e in intervals for t in range(s, e)}


@given(INTERVALS)
def test_covered_counts_each_tick_once(intervals: list[Interval]) -> None:
    assert covered(*columns(intervals)) == len(ticks(intervals))


@given(INTERVALS)
def test_merge_is_disjoint_ordered_and_the_same_set(intervals: list[Interval]) -> None:
    start, end = merge(*columns(intervals))
    assert np.all(start < end)
    assert np.all(end[:-1] < start[1:])
    assert ticks(list(zip(start.tolist(), end.tolist(), strict=True))) == ticks(intervals)


@given(st.lists(INTERVALS, max_size=4), INTERVALS)
def test_share_splits_every_tick_equally(groups: list[list[Interval]], hidden: list[Interval]) -> None:
    busy = [ticks(g) for g in groups]
    expected = [0.0] * len(groups)
    for tick in set().union(*busy) - ticks(hidden):
        owners = [k for k, b in enumerate(busy) if tick in b]
        for k in owners:
            expected[k] += 1 / len(owners)
    found = share([columns(g) for g in groups], hidden=merge(*columns(hidden)))
    assert found == pytest.approx(expected)


def test_nothing_takes_no_time() -> None:
    empty = columns([])
    assert covered(*empty) == 0
    assert share([empty, empty]).tolist() == [0.0, 0.0]
