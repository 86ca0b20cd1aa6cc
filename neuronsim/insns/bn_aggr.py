"""bn_aggr: dst [P, 2] = mean and population variance of src0 [P, 3 k], triples (count, mean, count * variance).

In fp32 and in order: n = sum of counts, mean = sum of count * mean / n, variance = sum of
(count * variance + count * (mean_i - mean)^2) / n.
"""
from __future__ import annotations

import numpy as np

from neuronsim.insns.memory import Tiles


def meaning(tiles: Tiles) -> None:
    """Write the results of the word, as the formula above says."""
    x = tiles.rows("src0")
    triples = x.reshape(len(x), -1, 3)
    count, total, squares = (np.zeros(len(x), np.float32) for _ in range(3))
    with np.errstate(all="ignore"):
        for t in range(triples.shape[1]):
            count = count + triples[:, t, 0]
            total = total + triples[:, t, 0] * triples[:, t, 1]
        mean = total / count
        for t in range(triples.shape[1]):
            d = triples[:, t, 1] - mean
            squares = squares + (triples[:, t, 2] + triples[:, t, 0] * (d * d))
        tiles.write("dst", np.stack([mean, squares / count], axis=1))
