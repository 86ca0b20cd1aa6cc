"""activation_reduce: activation, and dst1 (the src1 slot) [P, 1] = sum over free of the fp32 results."""
from __future__ import annotations

import numpy as np

from neuronsim.insns import activation, reduction
from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    x = activation.results(tiles)
    tiles.write("dst", x)
    with np.errstate(all="ignore"):
        tiles.write("src1", reduction.add_last(x))
