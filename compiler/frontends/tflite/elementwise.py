"""Operators that work element by element."""

from __future__ import annotations

import numpy as np

from compiler.frontends.tflite.convert import Call, converter


@converter("SOFTMAX")
def _softmax(c: Call) -> None:
    """Along the last axis, of beta times the operand."""
    x, beta = c.real(0), float(c.option("beta", 1.0))
    if beta != 1.0:
        x = c.b.op("Mul", [x, np.array(beta, c.b.dtype(x))])
    c.give(c.b.op("Softmax", [x], axis=-1))
