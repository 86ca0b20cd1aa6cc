"""Resizing images."""

from __future__ import annotations

import numpy as np

from compiler.frontends.layout import channels_first, channels_last
from compiler.frontends.tflite import quantised
from compiler.frontends.tflite.convert import Call, converter


def _places(c: Call) -> str:
    """How a place in the result follows from one in the operand, as ONNX spells it."""
    if c.option("align_corners", False):
        return "align_corners"
    return "half_pixel" if c.option("half_pixel_centers", False) else "asymmetric"


def _sizes(c: Call) -> np.ndarray:
    batch, *_, channels = c.shape(0)
    return np.array([batch, channels, *c.ints(1, "the size of a resized image")], np.int64)


@converter("RESIZE_BILINEAR")
def _bilinear(c: Call) -> None:
    c.give(channels_last(c.b, c.b.op("Resize", [channels_first(c.b, c.real(0)), "", "", _sizes(c)], mode="linear",
                                     coordinate_transformation_mode=_places(c))))


@converter("RESIZE_NEAREST_NEIGHBOR")
def _nearest(c: Call) -> None:
    """Places are rounded down, but for aligned corners to the next; centres of pixels are half of one away."""
    places = _places(c)
    rounding = "floor" if places == "asymmetric" else "round_prefer_ceil"
    whole = quantised.kept(c.tensor(0)) in ("int8", "uint8", "float32", "int32")
    x = c.stored(0) if whole and quantised.same_scale(c.tensor(0), c.result()) else c.real(0)
    y = channels_last(c.b, c.b.op("Resize", [channels_first(c.b, x), "", "", _sizes(c)], mode="nearest",
                                  coordinate_transformation_mode=places, nearest_mode=rounding))
    if x == c.stored(0):
        c.store(y)
    else:
        c.give(y)
