"""Random memories for the value tests: moderate numbers, special values, random bits."""

from __future__ import annotations

import functools

import numpy as np

from neuronsim.insns.memory import Memory, new_memory

SBUF_BYTES, PSUM_BYTES = 3 << 13, 3 << 12
SPECIAL = np.array(
    [
        0.0,
        -0.0,
        1.0,
        -1.0,
        np.inf,
        -np.inf,
        np.nan,
        1e-45,
        -1e-40,
        3.4e38,
        65504.0,
        65520.0,
        448.0,
        464.0,
        480.0,
        0.5,
        1.5,
        2.5,
        -2.5,
        127.5,
        128.5,
        2147483648.0,
        -2147483648.0,
        4294967296.0,
        1e10,
    ],
    np.float32,
)


def fill(memory: np.ndarray, rng: np.random.Generator) -> None:
    """Bytes that are, by quarters of each partition, moderate fp32, specials, random bits and moderate bf16."""
    rows, pitch = memory.shape
    n = pitch // 16 * 4
    values = [
        rng.normal(0, 3, (rows, n // 4)).astype(np.float32),
        rng.choice(SPECIAL, (rows, n // 4)),
        rng.integers(0, 2**32, (rows, n // 4), dtype=np.uint32).view(np.float32),
    ]
    raw = np.concatenate([v.view(np.uint8) for v in values], axis=1)
    memory[:, : raw.shape[1]] = raw
    half = (rng.normal(0, 2, (rows, n // 2)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    memory[:, raw.shape[1] : raw.shape[1] + half.shape[1]] = half


@functools.cache
def _filled(seed: int) -> Memory:
    rng = np.random.default_rng(seed)
    memory = new_memory(SBUF_BYTES, PSUM_BYTES)
    fill(memory.sbuf, rng)
    fill(memory.psum, rng)
    memory.variables = {1: np.zeros((1, 1 << 16), np.uint8)[0], 2: np.zeros((1, 1 << 16), np.uint8)[0]}
    for v in memory.variables.values():
        fill(v.reshape(1, -1), rng)
    return memory


def make_memory(seed: int) -> Memory:
    given = _filled(seed % 3)
    return Memory(given.sbuf.copy(), given.psum.copy(), {i: v.copy() for i, v in given.variables.items()})
