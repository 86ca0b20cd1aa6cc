"""tensor_scalar_cumulative: r[i] = op1(r[i-1], src0[i] op0 a) along free, r[-1] = imm1, fp32 throughout."""
from __future__ import annotations

import numpy as np

from neuronsim.insns import alu
from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    w = tiles.word
    x = alu.apply(int(w["op0"]), tiles.rows("src0"), tiles.scalar(0), bool(w["flags"] & 1))
    r = np.full(len(x), w["imm1"], np.float32)
    out = np.empty(x.shape, np.float32)
    for i in range(x.shape[1]):
        r = alu.apply(int(w["op1"]), r, x[:, i]).astype(np.float32)
        out[:, i] = r
    tiles.write("dst", out)
