"""iota: dst = int32(arg) + int16(count) * partition + sum of src0.step[k] * index[k], exact, saturated on write."""
from __future__ import annotations

import numpy as np

from neuronsim.insns import rounding
from neuronsim.insns.affine import affine
from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    w = tiles.word
    values = affine(w, w["src0"], int(w["dst"]["partitions"]), w["dst"]["size"])
    if tiles.all_integer("dst"):
        tiles.write_raw("dst", rounding.from_int64(values, tiles.dtype("dst")))
    else:
        tiles.write("dst", values.astype(np.float32))
