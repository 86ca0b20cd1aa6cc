"""tensor_reduce: dst = reduce op0 over the `axes` innermost free dimensions of src0; flags bit 0 negates."""
from __future__ import annotations

import numpy as np

from neuronsim.insns import alu, reduction
from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    w = tiles.word
    op, axes = int(w["op0"]), int(w["axes"])
    sizes = [int(s) for s in w["src0"]["size"]]
    inner = int(np.prod(sizes[4 - axes :], dtype=np.int64))
    source = tiles.numbers("src0") if op in alu.BITWISE else tiles.rows("src0")
    x = reduction.reduce_last(op, source.reshape(len(source), -1, inner))
    tiles.write("dst", -x if w["flags"] & 1 else x)
