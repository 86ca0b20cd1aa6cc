"""matmul: dst [M, N] = (0 or dst) + stationary.T @ moving, products and sums fused, in partition order.

acc = 0; for k = 0 .. K-1: acc = fma(stationary[k, m], moving[k, n], acc); dst = acc (start) or dst + acc in fp32.
An int32 dst (int8 operands on v1) adds the exact integer acc, modulo 2^32.
"""
from __future__ import annotations

import numpy as np

from neuronsim.insns.memory import Tiles


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """fp32 round(a * b + c), rounded once.

    The product of two fp32 is exact in float64. TwoSum gives the rounding error of the float64 sum; where there is one,
    the last bit is made odd (round to odd), so that the second rounding, to fp32, is the only one that counts.
    """
    p, c = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)
    s = p + c
    t = s - p
    error = (p - (s - t)) + (c - t)
    bits = s.view(np.uint64)
    odd = np.where((error > 0) == (s > 0), bits + np.uint64(1), bits - np.uint64(1))
    fix = ((error > 0) | (error < 0)) & (bits & np.uint64(1) == 0)
    return np.where(fix, odd, bits).view(np.float64).astype(np.float32)


def product(stationary: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """acc, fp32 [M, N], of fp32 stationary [K, M] and moving [K, N]."""
    acc = np.zeros((stationary.shape[1], moving.shape[1]), np.float32)
    with np.errstate(all="ignore"):
        for row, column in zip(stationary, moving, strict=True):
            acc = fma(row[:, None], column[None, :], acc)
    return acc


def meaning(tiles: Tiles, stationary: np.ndarray) -> None:
    """Write the results of the word, as the formula above says."""
    moving = tiles.rows("src0")
    k, m = min(len(moving), len(stationary)), min(int(tiles.word["dst"]["partitions"]), stationary.shape[1])
    acc = product(stationary[:k, :m], moving[:k])
    psum = tiles.memory.tile(tiles.word["dst"])
    start = bool(tiles.word["flags"] & 1)
    if tiles.dtype("dst").name == "int32":
        old = np.uint32(0) if start else psum.view(np.uint32).reshape(acc.shape)
        tiles.write_raw("dst", (old + acc.astype(np.int64).astype(np.uint32)).view(np.int32))
        return
    with np.errstate(all="ignore"):
        tiles.write("dst", acc if start else psum.reshape(acc.shape) + acc)
