"""tensor_tensor_scan: r[i] = op1(op0(src0[i], r[i-1]), src1[i]) along free, r[-1] = ptr0 or imm0, fp32 throughout."""
from __future__ import annotations

import numpy as np

from neuronsim.insns import alu
from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    w = tiles.word
    x, y = tiles.rows("src0"), tiles.rows("src1")
    r = np.broadcast_to(tiles.scalar(0)[:, 0].astype(np.float32), len(x))
    out = np.empty_like(x)
    for i in range(x.shape[1]):
        r = alu.apply(int(w["op1"]), alu.apply(int(w["op0"]), x[:, i], r), y[:, i]).astype(np.float32)
        out[:, i] = r
    tiles.write("dst", out)
