"""Overlapping slices side by side: a viewer's track shows only slices that do not overlap."""

from __future__ import annotations

from heapq import heappop, heappush

import numpy as np


def lanes(track: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Lane of each slice within its track, from 0, so that no two of a lane overlap; as few lanes as possible.

    Args: track, start, end: [n]; rows in order of (start, end), which is then the order in every lane.
    """
    lane = np.zeros(len(track), np.int32)
    order = np.argsort(track, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(track[order])) + 1):
        lane[rows] = _of_track(start[rows], end[rows])
    return lane


def _of_track(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    lane = np.zeros(len(start), np.int32)
    reach = np.maximum.accumulate(end)
    if (start[1:] >= reach[:-1]).all():
        return lane
    busy: list[tuple[int, int]] = []  # (end, lane)
    free: list[int] = []
    opened = 0
    chosen = []
    for first, last in zip(start.tolist(), end.tolist(), strict=True):
        while busy and busy[0][0] <= first:
            heappush(free, heappop(busy)[1])
        if free:
            mine = heappop(free)
        else:
            mine, opened = opened, opened + 1
        heappush(busy, (last, mine))
        chosen.append(mine)
    lane[:] = chosen
    return lane
