"""match_replace8: dst = src0 with the first match of each of src1 [P, 8] replaced by imm0 (matches as find_index8)."""
from __future__ import annotations

import numpy as np

from neuronsim.insns.find_index8 import matches
from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    x, wanted = tiles.rows("src0"), tiles.rows("src1")
    found = matches(x, wanted)
    rows, columns = np.nonzero(found >= 0)
    x[rows, found[rows, columns]] = tiles.word["imm0"]
    tiles.write("dst", x)
