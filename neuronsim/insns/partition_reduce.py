"""partition_reduce: dst [1, N] = reduce op0 over the partitions of src0 [P, N], in the stated reduction order."""
from __future__ import annotations

import numpy as np

from neuronsim.insns import alu, reduction
from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    op = int(tiles.word["op0"])
    x = tiles.numbers("src0") if op in alu.BITWISE else tiles.rows("src0")
    tiles.write("dst", reduction.reduce_last(op, np.ascontiguousarray(x.T)))
