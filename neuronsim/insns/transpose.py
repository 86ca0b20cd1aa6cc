"""transpose (vector): dst [F, P] = src0 [P, F], both at most 32 x 32; integers of dst's type move exactly."""
from __future__ import annotations

from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    tiles.write("dst", tiles.moved("src0").T)
