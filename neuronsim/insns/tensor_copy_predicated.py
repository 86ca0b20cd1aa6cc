"""tensor_copy_predicated: dst = src0 where src1 != 0 (src1 an unsigned integer type); elsewhere dst is unchanged.

Integers of dst's type move exactly, everything else through fp32.
"""
from __future__ import annotations

import numpy as np

from neuronsim.insns import rounding
from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    dtype = tiles.dtype("dst")
    old = tiles.memory.tile(tiles.word["dst"]).copy()
    if tiles.dtype("src0") == dtype and dtype.kind in "iu":
        new = tiles.raw("src0")
    else:
        new = rounding.from_float32(tiles.fp32("src0"), dtype)
    size = old.dtype.itemsize  # compared and chosen as bits
    bits = np.dtype(f"u{size}")
    chosen = np.where(_true(tiles).reshape(old.shape), new.reshape(old.shape).view(bits), old.view(bits))
    tiles.write_raw("dst", chosen.view(old.dtype))


def _true(tiles: Tiles) -> np.ndarray:
    predicate = tiles.raw("src1")
    return predicate.view(f"u{predicate.itemsize}") != 0
