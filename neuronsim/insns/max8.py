"""max8: dst [P, 8] = the eight largest of src0 [P, N], descending; NaN counts as the largest, +0 above -0."""
from __future__ import annotations

import numpy as np

from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    x = tiles.moved("src0")
    if x.dtype.kind != "f":
        tiles.write("dst", np.sort(x, axis=1)[:, ::-1][:, :8])
        return
    bits = x.view(np.int32)
    key = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)  # orders as the values do, -0 below +0
    key = np.where(np.isnan(x), np.int32(0x7FFFFFFF), key)
    order = np.argsort(key, axis=1, kind="stable")[:, ::-1][:, :8]
    tiles.write("dst", np.take_along_axis(x, order, axis=1))
