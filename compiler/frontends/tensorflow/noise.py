"""Uniform random numbers as far as their range decides: dropout that is written out but keeps everything.

Dropout compares numbers from [0, 1) with a rate, or rounds them down after the probability to keep is added. Where that
rate is known to be 0 (the probability 1) the outcome is the same for all random numbers; otherwise it is refused.
"""
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import converter
from compiler.frontends.tensorflow.values import Noise, Value

_WHY = "its numbers are random and would change the result"
_HELP = "export the model for inference: dropout off, or its probability to keep a constant 1"


@converter("RandomUniform")
def random_uniform(c: Call) -> Noise:
    """Numbers of [0, 1)."""
    return Noise(0.0, 1.0, tuple(c.ints(0)), c.kind("dtype"))


def apply(c: Call) -> Value:
    """What an operator with random numbers among its operands computes. Raises: UnsupportedOp."""
    place, noise = next((k, a) for k, a in enumerate(c.args) if isinstance(a, Noise))
    op = c.node.op
    if op in ("Identity", "StopGradient"):
        return noise
    if op == "Floor" and math.floor(noise.low) + 1 >= noise.high:
        return _everywhere(c, noise, np.array(math.floor(noise.low), noise.dtype))
    other = c.known(1 - place) if len(c) == 2 else None
    if other is None or other.size != 1:
        raise c.refuse(_WHY, _HELP)
    value = float(other.reshape(-1)[0])
    if op in ("Add", "AddV2") or (op == "Sub" and place == 0):
        shift = -value if op == "Sub" else value
        return replace(noise, low=noise.low + shift, high=noise.high + shift)
    if op == "Mul" and value > 0:
        return replace(noise, low=noise.low * value, high=noise.high * value)
    if op == "GreaterEqual" and place == 0 and (noise.low >= value or noise.high <= value):
        return _everywhere(c, noise, np.array(noise.low >= value))
    raise c.refuse(_WHY, _HELP)


def _everywhere(c: Call, noise: Noise, value: np.ndarray) -> str:
    return c.op("Expand", [value, np.array(noise.shape, np.int64)])
