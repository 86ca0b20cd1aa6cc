"""tensor_tensor: dst = src0 op0 src1.

On gpsimd two integer sources and an integer destination are exact (saturated on write); everything else is fp32.
"""
from __future__ import annotations

from isa.word import ENGINES
from neuronsim.insns import alu, rounding
from neuronsim.insns.memory import Tiles

GPSIMD = ENGINES.index("gpsimd")


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    op = int(tiles.word["op0"])
    if tiles.engine == GPSIMD and tiles.all_integer("src0", "src1", "dst"):
        exact = alu.exact_integer(op, tiles.numbers("src0"), tiles.numbers("src1"))
        if exact is not None:
            tiles.write_raw("dst", rounding.from_int64(exact, tiles.dtype("dst")))
            return
    tiles.write("dst", alu.settle(alu.apply(op, tiles.numbers("src0"), tiles.numbers("src1")), op))
