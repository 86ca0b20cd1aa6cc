"""Pooling over windows."""
from __future__ import annotations

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import converter
from compiler.frontends.tensorflow.windows import from_first, is_first, pads_of, spatial, to_first


@converter("MaxPool", "MaxPoolV2", "MaxPool3D")
def max_pool(c: Call) -> str:
    """The largest element of every window."""
    if c.node.op == "MaxPoolV2":
        return _pool(c, "MaxPool", c.ints(1), c.ints(2))
    return _pool(c, "MaxPool", c.numbers("ksize"), c.numbers("strides"))


@converter("AvgPool", "AvgPool3D")
def avg_pool(c: Call) -> str:
    """The mean of every window; padding does not count."""
    return _pool(c, "AveragePool", c.numbers("ksize"), c.numbers("strides"), count_include_pad=0)


def _pool(c: Call, onnx_op: str, ksize: list[int], steps: list[int], **attrs: int) -> str:
    n = c.rank() - 2
    channel = 1 if is_first(c) else n + 1
    if len(ksize) != n + 2 or ksize[0] != 1 or ksize[channel] != 1 or c.text("data_format").endswith("VECT_C"):
        raise c.refuse("a window over examples or channels, or channels in vectors")
    x = to_first(c, c.x())
    kernel, strides = spatial(c, ksize, n), spatial(c, steps, n)
    pads = pads_of(c, c.b.shape(x)[2:], kernel, strides, [1] * n)
    return from_first(c, c.op(onnx_op, [x], kernel_shape=kernel, strides=strides, pads=pads, **attrs))


@converter("MaxPoolWithArgmax")
def max_pool_with_argmax(c: Call) -> list[str]:
    """Also says where each largest element is, counting elements of an example with channels last."""
    n, height, width, channels = c.shape()
    if c.text("padding") != "VALID" and c.text("padding") != "SAME":
        raise c.refuse("explicit padding")
    x = to_first(c, c.x())
    kernel, strides = spatial(c, c.numbers("ksize"), 2), spatial(c, c.numbers("strides"), 2)
    pads = pads_of(c, c.b.shape(x)[2:], kernel, strides, [1, 1])
    found, places = c.b.ops("MaxPool", [x], 2, kernel_shape=kernel, strides=strides, pads=pads)
    pixel = c.op("Mod", [places, np.int64(height * width)])
    index = c.op("Add", [c.op("Mul", [pixel, np.int64(channels)]), np.arange(channels).reshape(1, -1, 1, 1)])
    if c.flag("include_batch_in_index"):
        index = c.op("Add", [index, (np.arange(n) * height * width * channels).reshape(-1, 1, 1, 1)])
    return [from_first(c, found), c.cast(from_first(c, index), c.kind("Targmax", 9))]
