"""Quantised values in frozen graphs."""
from __future__ import annotations

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import converter


@converter("Dequantize")
def dequantize(c: Call) -> str:
    """Whole numbers as the real numbers they stand for, with known bounds (dequantize_op.cc)."""
    low, high = (c.const(k).astype(np.float32) for k in (1, 2))
    kind, mode = c.dtype(), c.text("mode", "MIN_COMBINED")
    info = np.iinfo(kind)
    if c.whole("axis", -1) != -1 or low.size != 1 or high.size != 1:
        raise c.refuse("a scale for each channel")
    x = c.cast(c.x(), "float32")
    if mode == "SCALED":
        narrow = c.flag("narrow_range")
        scale = high / np.float32(info.max)
        if info.min < 0:
            scale = np.maximum(low / np.float32(info.min + narrow), scale)
        return c.op("Mul", [x, scale])
    scale = (high - low) / np.float32(float(info.max) - float(info.min))
    if mode == "MIN_FIRST":
        return c.op("Add", [c.op("Mul", [c.op("Sub", [x, np.float32(info.min)]), scale]), low])
    half = np.float32((float(info.max) - float(info.min) + 1) / 2) if info.min < 0 else np.float32(0)
    return c.op("Add", [c.op("Mul", [c.op("Add", [x, half]), scale]), low])


@converter("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3", "QuantizeAndDequantizeV4")
def quantize_and_dequantize(c: Call) -> str:
    """Rounded to a grid of whole numbers between known bounds (quantize_and_dequantize_op.h)."""
    signed, bits = c.flag("signed_input", True), c.whole("num_bits", 8)
    if c.node.op.endswith("V3"):
        bits = int(c.scalar(3))
    if not c.flag("range_given") or c.whole("axis", -1) != -1 or not 1 < bits < 24:
        raise c.refuse("bounds that are taken from the data, or one pair for each channel")
    low, high = np.float32(c.scalar(1)), np.float32(c.scalar(2))
    most = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    least = -(2 ** (bits - 1)) + int(c.flag("narrow_range")) if signed else 0
    scales = [v / b for v, b in ((least, low), (most, high)) if v * b > 0]
    if not scales:
        raise c.refuse("its bounds are not around zero")
    scale = np.float32(min(scales))
    low, high = np.float32(least / scale), np.float32(most / scale)
    clipped = c.op("Max", [c.op("Min", [c.x(), high]), low])
    scaled = c.op("Mul", [clipped, scale])
    if c.text("round_mode", "HALF_TO_EVEN") == "HALF_UP":
        rounded = c.op("Floor", [c.op("Add", [scaled, np.float32(0.5)])])
    else:
        rounded = c.op("Round", [scaled])
    return c.op("Mul", [rounded, np.float32(1) / scale])
