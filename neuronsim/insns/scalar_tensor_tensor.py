"""scalar_tensor_tensor: dst = (src0 op0 a) op1 src1; flags as tensor_scalar."""
from __future__ import annotations

from neuronsim.insns import alu
from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    w = tiles.word
    x = alu.apply(int(w["op0"]), tiles.numbers("src0"), tiles.scalar(0), bool(w["flags"] & 1))
    x = alu.apply(int(w["op1"]), x, tiles.numbers("src1"), bool(w["flags"] & 2))
    tiles.write("dst", alu.settle(x, int(w["op0"]), int(w["op1"])))
