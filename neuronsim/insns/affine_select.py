"""affine_select: dst = src0 where (affine pattern of src1.step) op0 0 holds, else imm0; the pattern as iota's."""
from __future__ import annotations

import numpy as np

from neuronsim.insns import alu
from neuronsim.insns.affine import affine
from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    w = tiles.word
    pattern = affine(w, w["src1"], int(w["dst"]["partitions"]), w["dst"]["size"])
    test = alu.exact_integer(int(w["op0"]), pattern, np.zeros((), np.int64))
    assert test is not None, "the validator admits comparisons only"
    x = tiles.fp32("src0").reshape(pattern.shape)
    tiles.write("dst", np.where(test != 0, x, np.float32(w["imm0"])))
