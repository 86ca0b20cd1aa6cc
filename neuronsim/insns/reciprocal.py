"""reciprocal: dst = 1 / src0, one correctly rounded fp32 division."""
from __future__ import annotations

import numpy as np

from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    with np.errstate(all="ignore"):
        tiles.write("dst", np.float32(1) / tiles.fp32("src0"))
