"""memset: dst = imm0."""
from __future__ import annotations

import numpy as np

from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    tile = tiles.memory.tile(tiles.word["dst"])
    tiles.write("dst", np.full(tile.shape, tiles.word["imm0"], np.float32))
