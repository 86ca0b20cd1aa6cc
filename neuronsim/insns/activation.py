"""activation: dst = func(src0 * scale + bias), product and sum rounded to fp32 one after the other."""
from __future__ import annotations

import numpy as np

from neuronsim.insns import functions
from neuronsim.insns.memory import Tiles


def results(tiles: Tiles) -> np.ndarray:
    """The fp32 results before rounding, [P, N]."""
    w = tiles.word
    scale, bias = (tiles.scalar(k).astype(np.float32) for k in (0, 1))
    slope = np.uint32(w["arg"]).view(np.float32)
    with np.errstate(all="ignore"):
        x = tiles.rows("src0") * scale + bias
    return functions.apply(int(w["func"]), np.ascontiguousarray(x), slope)


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    tiles.write("dst", results(tiles))
