"""The affine index pattern of iota and affine_select."""
from __future__ import annotations

import numpy as np


def affine(word: np.void, pattern: np.void, partitions: int, sizes: np.ndarray) -> np.ndarray:
    """int64 [P, s0, s1, s2, s3]: int32(arg) + int16(count) * partition + sum of pattern step[k] * index[k].

    `partition` counts from the first partition of dst.
    """
    base = int(np.uint32(word["arg"]).view(np.int32))
    slope = int(np.uint16(word["count"]).view(np.int16))
    out = base + slope * np.arange(partitions, dtype=np.int64).reshape(-1, 1, 1, 1, 1)
    for k in range(4):
        shape = [1] * 5
        shape[k + 1] = int(sizes[k])
        out = out + int(pattern["step"][k]) * np.arange(int(sizes[k]), dtype=np.int64).reshape(shape)
    return out
