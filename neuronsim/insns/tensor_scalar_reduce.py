"""tensor_scalar_reduce: dst = src0 op0 a; dst1 (the src1 slot) [P, 1] = reduce op1 over free of the fp32 results."""
from __future__ import annotations

from neuronsim.insns import alu, reduction
from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    w = tiles.word
    op0, op1 = int(w["op0"]), int(w["op1"])
    x = alu.settle(alu.apply(op0, tiles.numbers("src0"), tiles.scalar(0), bool(w["flags"] & 1)), op0)
    tiles.write("dst", x)
    tiles.write("src1", reduction.reduce_last(op1, x))
