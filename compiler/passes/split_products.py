"""Products that keep the accuracy of float32 whatever type the PE multiplies.

A float32 is the sum of three bfloat16 (8 of its 24 significant bits in each), and every PE multiplies bfloat16 exactly
and adds in float32. Six products of such parts leave out only what lies below float32's own rounding.
"""
from __future__ import annotations

import numpy as np

from compiler.ir import numpy_dtype
from compiler.passes.expansion import Expansion

#: bfloat16 of which a float32 is the sum
PARTS = 3


def parts(f: Expansion, x: str) -> list[str]:
    """float32 [..] as PARTS bfloat16 values, largest first. Magnitudes from 2**127 on, and infinities, get lost."""
    out, rest = [], x
    for k in range(PARTS):
        out.append(f.cast(rest, "bfloat16"))
        if k + 1 < PARTS:
            rest = f.sub(rest, f.cast(out[-1], "float32"))
    return out


def constant_parts(array: np.ndarray) -> list[np.ndarray]:
    """`parts` of a constant."""
    out, rest = [], array.astype(np.float32)
    for _ in range(PARTS):
        out.append(rest.astype(numpy_dtype("bfloat16")))
        rest = rest - out[-1].astype(np.float32)
    return out


def product(f: Expansion, x: str, matrix: np.ndarray) -> str:
    """float32 [rows, K] times a constant [K, N], accurate to float32."""
    left, right = parts(f, x), constant_parts(matrix)
    pairs = [(i, j) for i in range(PARTS) for j in range(PARTS - i)]
    wide = f.concat([left[i] for i, _ in pairs], 1)
    return f.matmul(wide, f.const(np.concatenate([right[j] for _, j in pairs])), "float32")


def selection_product(f: Expansion, chosen: str, matrix: np.ndarray) -> str:
    """bool [rows, K] times a constant [K, N], accurate to float32."""
    left = f.cast(chosen, "bfloat16")
    return f.total([f.matmul(left, f.const(part), "float32") for part in reversed(constant_parts(matrix))])
