"""Bicubic resizing as two products with matrices of weights, which follow from the sizes (resize_bicubic_op.cc)."""
from __future__ import annotations

import numpy as np

from compiler.frontends.layout import channels_first, channels_last
from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import converter

#: TensorFlow takes the weights from a table of so many steps between two pixels.
_STEPS = 1024


@converter("ResizeBicubic")
def resize_bicubic(c: Call) -> str:
    """By cubics over 16 pixels: Keys' (-0.5) with edges left out, or, in the old form, with -0.75 and edges held."""
    x = channels_first(c.b, c.cast(c.x(), "float32"))
    (height, width), (rows, columns) = c.b.shape(x)[2:], c.ints(1)
    if not 0 < rows * columns * max(height, width) < 1 << 30:
        raise c.refuse(f"a result of {rows} by {columns}")
    tall = c.op("MatMul", [_weights(c, height, rows), x])
    return channels_last(c.b, c.op("MatMul", [tall, _weights(c, width, columns).T]))


def _weights(c: Call, size: int, count: int) -> np.ndarray:
    """(count, size): how much of each pixel is in each result pixel."""
    half, corners = c.flag("half_pixel_centers"), c.flag("align_corners") and count > 1
    scale = np.float32((size - 1) / (count - 1) if corners else size / count)
    at = np.arange(count, dtype=np.float32)
    at = (at + np.float32(0.5)) * scale - np.float32(0.5) if half else at * scale
    base = np.floor(at).astype(np.int64)
    offset = np.rint((at - base) * np.float32(_STEPS)) / _STEPS
    found = np.zeros((count, size), np.float64)
    for tap, distance in ((-1, 1 + offset), (0, offset), (1, 1 - offset), (2, 2 - offset)):
        weight, place = _cubic(distance, -0.5 if half else -0.75), base + tap
        if half:
            weight = np.where((place >= 0) & (place < size), weight, 0)
        np.add.at(found, (np.arange(count), np.clip(place, 0, size - 1)), weight)
    if half:
        found /= found.sum(1, keepdims=True)
    return found.astype(np.float32)


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic at a distance of 0 to 2 (IEEE Trans. ASSP 29, 1981, eq. 15, with its parameter `a`)."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    return np.where(x <= 1, near, ((a * x - 5 * a) * x + 8 * a) * x - 4 * a)
