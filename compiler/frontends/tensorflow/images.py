"""Resizing, cropping, patches, colours."""
from __future__ import annotations

import numpy as np

from compiler.frontends.layout import channels_first, channels_last
from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import converter


def _resize(c: Call, mode: str, **attrs: object) -> str:
    """Images (N, H, W, C) to the sizes of the second operand.

    Where a result pixel lies in the source: align_corners spreads both corner pixels, half_pixel_centers takes centres,
    else row i is at i * scale (core/util/image_resizer_state.h).
    """
    x = channels_first(c.b, c.x() if c.dtype() == "float32" else c.cast(c.x(), "float32"))
    sizes = np.array([*c.b.shape(x)[:2], *c.ints(1)], np.int64)
    where = "half_pixel" if c.flag("half_pixel_centers") else "asymmetric"
    where = "align_corners" if c.flag("align_corners") else where
    made = c.op("Resize", [x, "", "", sizes], mode=mode, coordinate_transformation_mode=where, **attrs)
    return channels_last(c.b, made)


@converter("ResizeBilinear")
def resize_bilinear(c: Call) -> str:
    """Between the nearest four pixels."""
    return _resize(c, "linear")


@converter("ResizeNearestNeighbor")
def resize_nearest(c: Call) -> str:
    """The nearest pixel: rounded down, or half up between corners (resize_nearest_neighbor_op.h)."""
    corners = c.flag("align_corners")
    if c.flag("half_pixel_centers"):
        # the pixel under the centre: floor((i + 0.5) * scale), half up of what ONNX calls half_pixel
        return c.cast(_resize(c, "nearest", nearest_mode="round_prefer_ceil"), c.dtype())
    return c.cast(_resize(c, "nearest", nearest_mode="round_prefer_ceil" if corners else "floor"), c.dtype())


@converter("CropAndResize")
def crop_and_resize(c: Call) -> str:
    """Boxes (y1, x1, y2, x2, corners of the image at 0 and 1) cut from images and resized.

    Each result row is a weighted sum of image rows, each column of columns: two products with matrices of weights
    that are made from the boxes (crop_and_resize_op.cc); outside the image is the extrapolation value.
    """
    image, boxes, places = c.xs(0, 3)
    _, height, width, channels = c.shape(0)
    rows, columns = c.ints(3)
    nearest = c.text("method", "bilinear") == "nearest"
    chosen = c.op("Gather", [c.cast(image, "float32"), places], axis=0)  # boxes, H, W, C
    count = c.shape(1)[0]
    wide, inside_y = _weights(c, boxes, 0, height, rows, nearest)
    tall, inside_x = _weights(c, boxes, 1, width, columns, nearest)
    flat = c.reshape(chosen, [count, height, width * channels])
    part = c.reshape(c.op("MatMul", [wide, flat]), [count, rows, width, channels])
    turned = c.reshape(c.transpose(part, [0, 2, 1, 3]), [count, width, rows * channels])
    made = c.reshape(c.op("MatMul", [tall, turned]), [count, columns, rows, channels])
    inside = c.op("And", [c.reshape(inside_y, [count, rows, 1, 1]), c.reshape(inside_x, [count, 1, columns, 1])])
    return c.op("Where", [inside, c.transpose(made, [0, 2, 1, 3]), np.float32(c.real("extrapolation_value"))])


def _weights(c: Call, boxes: str, first: int, size: int, count: int, nearest: bool) -> tuple[str, str]:
    """For each box (boxes, count, size): how much of each pixel is in each result pixel; and whether it is inside."""
    ends = [c.op("Gather", [boxes, np.array([k])], axis=1) for k in (first, first + 2)]
    span = np.float32(size - 1)
    low = c.op("Mul", [ends[0], span])
    if count > 1:
        step = c.op("Mul", [c.op("Sub", [ends[1], ends[0]]), np.float32((size - 1) / (count - 1))])
        at = c.op("Add", [low, c.op("Mul", [step, np.arange(count, dtype=np.float32).reshape(1, count)])])
    else:
        at = c.op("Mul", [c.op("Add", ends), np.float32(0.5 * (size - 1))])
    inside = c.op("And", [c.op("GreaterOrEqual", [at, np.float32(0)]), c.op("LessOrEqual", [at, span])])
    if nearest:
        at = c.op("Floor", [c.op("Add", [at, np.float32(0.5)])])
    pixels = np.arange(size, dtype=np.float32).reshape(1, 1, size)
    distance = c.op("Abs", [c.op("Sub", [c.op("Unsqueeze", [at, np.array([2])]), pixels])])
    return c.op("Relu", [c.op("Sub", [np.float32(1), distance])]), inside


@converter("ExtractImagePatches")
def extract_image_patches(c: Call) -> str:
    """The pixels of every window as channels of one pixel."""
    from compiler.frontends.tensorflow.windows import pads_of

    sizes, strides, rates = (c.numbers(n)[1:3] for n in ("ksizes", "strides", "rates"))
    if not len(sizes) == len(strides) == len(rates) == 2:
        raise c.refuse("windows without sizes, strides and rates for four dimensions")
    channels = c.shape()[3]
    x = channels_first(c.b, c.x())
    pads = pads_of(c, c.b.shape(x)[2:], sizes, strides, rates)
    taps = sizes[0] * sizes[1]
    weight = np.zeros((channels, taps, *sizes), np.float32)  # one filter for each channel and tap
    for tap in range(taps):
        weight[:, tap, tap // sizes[1], tap % sizes[1]] = 1
    made = c.op("Conv", [x, weight.reshape(channels * taps, 1, *sizes)], strides=strides, dilations=rates, pads=pads,
                group=channels)
    n, _, height, width = c.b.shape(made)
    split = c.reshape(made, [n, channels, taps, height, width])
    return c.reshape(c.transpose(split, [0, 3, 4, 2, 1]), [n, height, width, taps * channels])


@converter("AdjustContrastv2")
def adjust_contrast(c: Call) -> str:
    """Distance from the mean of each channel, scaled."""
    rank = c.rank()
    mean = c.op("ReduceMean", [c.x(), np.array([rank - 3, rank - 2])], keepdims=1)
    return c.op("Add", [c.op("Mul", [c.op("Sub", [c.x(), mean]), c.x(1)]), mean])
