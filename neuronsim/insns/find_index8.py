"""find_index8: dst [P, 8] = first index in src0 of each of src1 [P, 8]; equal values take successive matches.

Not found: 0xFFFFFFFF (saturated to dst's type). NaN matches nothing, +0 matches -0.
"""
from __future__ import annotations

import numpy as np

from neuronsim.insns.memory import Tiles

NOT_FOUND = 0xFFFFFFFF


def matches(x: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """[P, N] and [P, 8] -> int64 [P, 8] indices, -1 where there is none; every element is matched once at most."""
    taken = np.zeros(x.shape, bool)
    found = np.full(wanted.shape, -1, np.int64)
    for j in range(wanted.shape[1]):
        hits = (x == wanted[:, j : j + 1]) & ~taken
        some = hits.any(axis=1)
        found[some, j] = hits.argmax(axis=1)[some]
        taken[np.flatnonzero(some), found[some, j]] = True
    return found


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    both = tiles.all_integer("src0", "src1")
    x, wanted = (tiles.numbers(s).astype(np.int64) if both else tiles.rows(s) for s in ("src0", "src1"))
    found = matches(x, wanted)
    info = np.iinfo(tiles.dtype("dst").numpy)
    tiles.write_raw("dst", np.where(found < 0, min(NOT_FOUND, info.max), found).astype(info.dtype))
