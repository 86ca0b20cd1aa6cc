"""Arithmetic on busy intervals: unions, and the sharing of each instant among those busy in it. Times are ticks."""

from __future__ import annotations

import numpy as np


def merge(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Union of intervals as disjoint ones, in order. Args: start, end: [n] int64; empty intervals vanish."""
    busy = end > start
    start, end = start[busy], end[busy]
    if not len(start):
        return start, end
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(end[order])
    first = np.concatenate(([True], start[1:] > reach[:-1]))
    last = np.concatenate((first[1:], [True]))
    return start[first], reach[last]


def covered(start: np.ndarray, end: np.ndarray) -> int:
    """Ticks covered by at least one interval."""
    merged_start, merged_end = merge(start, end)
    return int((merged_end - merged_start).sum())


def share(
    groups: list[tuple[np.ndarray, np.ndarray]], hidden: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Ticks of each group when every instant is split equally among the groups busy in it.

    Args:
        groups: (start, end) of each group, any overlap.
        hidden: disjoint intervals that count for nobody.
    Returns: [len(groups)] float64; the sum is the time with at least one busy group outside `hidden`.
    """
    merged = [merge(s, e) for s, e in groups]
    starts = np.concatenate([s for s, _ in merged]) if merged else np.zeros(0, np.int64)
    ends = np.concatenate([e for _, e in merged]) if merged else starts
    blocked = hidden if hidden is not None else (starts[:0], ends[:0])
    times = np.unique(np.concatenate([starts, ends, *blocked]))
    if len(times) < 2:
        return np.zeros(len(groups))
    active = _level(times, starts, ends)
    free = _level(times, *blocked) == 0
    weight = np.where((active > 0) & free, np.diff(times) / np.maximum(active, 1), 0.0)
    integral = np.concatenate(([0.0], np.cumsum(weight)))

    def at(t: np.ndarray) -> np.ndarray:
        return integral[np.searchsorted(times, t)]

    return np.array([float((at(e) - at(s)).sum()) for s, e in merged])


def _level(times: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """How many intervals cover each gap between neighbouring `times`."""
    change = np.zeros(len(times), np.int64)
    np.add.at(change, np.searchsorted(times, start), 1)
    np.add.at(change, np.searchsorted(times, end), -1)
    return np.cumsum(change)[:-1]
