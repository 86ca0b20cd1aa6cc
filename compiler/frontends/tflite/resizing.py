"""Resizing images."""

from __future__ import annotations

import numpy as np

from compiler.frontends.layout import channels_first, channels_last
from compiler.frontends.tflite.convert import Call, converter


def _places(c: Call) -> str:
    """How a place in the result follows from one in the operand, as ONNX spells it."""
    if c.option("align_corners", False):
        return "align_corners"
    return "half_pixel" if c.option("half_pixel_centers", False) else "asymmetric"


@converter("RESIZE_BILINEAR")
def _bilinear(c: Call) -> None:
    x = channels_first(c.b, c.real(0))
    sizes = np.array([*c.b.shape(x)[:2], *c.ints(1, "the size of a resized image")], np.int64)
    c.give(channels_last(c.b, c.b.op("Resize", [x, "", "", sizes], mode="linear",
                                     coordinate_transformation_mode=_places(c))))
