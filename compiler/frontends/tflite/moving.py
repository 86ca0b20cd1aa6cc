"""Operators that move elements and compute nothing."""

from __future__ import annotations

from compiler.frontends.tflite.convert import Call, converter


@converter("CONCATENATION")
def _concatenation(c: Call) -> None:
    axis = c.axis(int(c.option("axis", 0)), len(c.shape(0)))
    if c.option("fused_activation_function", 0):
        c.give(c.b.op("Concat", [c.real(k) for k in range(len(c))], axis=axis))
        return
    c.store(c.b.op("Concat", [c.requantised(k, c.result()) for k in range(len(c))], axis=axis))
