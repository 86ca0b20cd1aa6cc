"""Count, mean and count * variance in fp32, two passes, sums in the stated reduction order."""
from __future__ import annotations

import numpy as np

from neuronsim.insns import reduction


def statistics(x: np.ndarray) -> np.ndarray:
    """[P, n] fp32 -> [P, 3]: n, mean, sum of squared deviations; n = 0 gives zeros."""
    n = np.float32(x.shape[1])
    if not x.shape[1]:
        return np.zeros((len(x), 3), np.float32)
    with np.errstate(all="ignore"):
        mean = reduction.add_last(x) / n
        deviation = x - mean[:, None]
        squares = reduction.add_last(deviation * deviation)
    return np.stack([np.full_like(mean, n), mean, squares], axis=1)
