"""bn_stats: dst [P, 6] = (count, mean, count * variance) of the even, then the odd elements of src0 [P, N <= 512]."""
from __future__ import annotations

import numpy as np

from neuronsim.insns.memory import Tiles
from neuronsim.insns.statistics import statistics


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    x = tiles.rows("src0")
    tiles.write("dst", np.concatenate([statistics(x[:, 0::2]), statistics(x[:, 1::2])], axis=1))
