"""Reductions in a stated order, so that every host gives the same bits.

add, mult, max, min: element i goes to lane i % 16, lanes combine their elements in order, then fold 8, 4, 2, 1. All
other operators go through the elements in order. Compiled twin: `neuronsim/_core/kernels/alu.h`, `reduce.h`.
"""
from __future__ import annotations

import numpy as np

from isa.spec import ALU_OPS
from neuronsim.insns import alu

LANES = 16
_IDENTITY = {ALU_OPS["add"]: -0.0, ALU_OPS["mult"]: 1.0, ALU_OPS["max"]: -np.inf, ALU_OPS["min"]: np.inf}
ADD = ALU_OPS["add"]


def reduce_last(op: int, x: np.ndarray) -> np.ndarray:
    """Reduce the last axis of an fp32 (or, for bitwise operators, integer) array of any rank."""
    if op not in _IDENTITY:
        return _in_order(op, x)
    n = x.shape[-1]
    steps = -(-n // LANES)
    padded = np.full((*x.shape[:-1], steps * LANES), _IDENTITY[op], np.float32)
    padded[..., :n] = x
    lanes = np.full((*x.shape[:-1], LANES), _IDENTITY[op], np.float32)
    for i in range(steps):
        used = min(LANES, n - i * LANES)
        chunk = np.ascontiguousarray(padded[..., i * LANES : i * LANES + used])
        lanes[..., :used] = alu.apply(op, np.ascontiguousarray(lanes[..., :used]), chunk)
    half = LANES // 2
    while half:
        lanes = alu.apply(op, np.ascontiguousarray(lanes[..., :half]), np.ascontiguousarray(lanes[..., half:]))
        half //= 2
    return lanes[..., 0]


def _in_order(op: int, x: np.ndarray) -> np.ndarray:
    result = x[..., 0]
    for i in range(1, x.shape[-1]):
        result = alu.apply(op, result, x[..., i])
    return result


def add_last(x: np.ndarray) -> np.ndarray:
    """Sum over the last axis in the stated order."""
    return reduce_last(ADD, x)
