"""load_stationary: src0 [K, M] becomes the stationary matrix."""
from __future__ import annotations

import numpy as np

from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> np.ndarray:
    """The stationary matrix, fp32 [K, M]."""
    return tiles.rows("src0")
