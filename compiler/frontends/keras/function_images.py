"""Functions of images: resizing, pools and convolutions without variables of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.frontends.keras.call import Tensor
from compiler.frontends.keras.convolutions import pads
from compiler.frontends.keras.functions import Arguments
from compiler.frontends.keras.registry import function, operation
from compiler.frontends.keras.shaping import resized
from compiler.frontends.layout import channels_first, channels_last


@operation("Resize", params="images")
@function("image.resize", "compat.v1.image.resize", params="images size method preserve_aspect_ratio antialias name")
def _resize(a: Arguments) -> str:
    first = a.get("images", a.get("image"))
    if not isinstance(first, Tensor):
        raise a.c.refuse("an image that is no tensor")
    if any(a.get(k) for k in ("antialias", "preserve_aspect_ratio", "crop_to_aspect_ratio", "pad_to_aspect_ratio")):
        raise a.c.refuse("resizing with antialiasing, cropping or padding is not supported")
    method = a.get("interpolation", a.get("method", "bilinear"))
    inside = a.get("data_format") == "channels_first"
    if a.c.b.rank(first.value) != 4:
        raise a.c.refuse("only batches of images can be resized")
    x = first.value if inside else channels_first(a.c.b, first.value)
    y = resized(a.c, x, a.numbers("size"), str(method))
    return y if inside else channels_last(a.c.b, y)


@operation("AveragePool", "MaxPool", params="inputs")
@function("nn.avg_pool", "nn.max_pool", "nn.avg_pool2d", "nn.max_pool2d", "compat.v1.nn.max_pool",
          "compat.v1.nn.avg_pool", params="input ksize strides padding data_format name")
def _pool(a: Arguments) -> str:
    name = str(a.c.config.get("function", a.c.layer.kind)).lower()
    x = next(v.value for v in a.values.values() if isinstance(v, Tensor))
    rank = a.c.b.rank(x)
    size = _window(a, a.get("pool_size", a.get("ksize")), rank)
    strides = _window(a, a.get("strides"), rank) if "strides" in a else size
    inside = str(a.get("data_format", "channels_last")) in ("channels_first", "NCHW")
    x = x if inside else channels_first(a.c.b, x)
    found = pads(a.c.b.shape(x)[2:], size, strides, [1] * len(size), str(a.get("padding", "valid")).lower())
    y = a.c.op("MaxPool" if "max" in name else "AveragePool", [x], kernel_shape=size, strides=strides, pads=found)
    return y if inside else channels_last(a.c.b, y)


def _window(a: Arguments, found: Any, rank: int) -> list[int]:
    sizes = found if isinstance(found, list) else [found] * (rank - 2)
    sizes = sizes[1:-1] if len(sizes) == rank else sizes * (rank - 2) if len(sizes) == 1 else sizes
    if len(sizes) != rank - 2 or not all(isinstance(s, int) and s > 0 for s in sizes):
        raise a.c.refuse("a window of this form is not supported")
    return sizes


@operation("Conv", params="inputs kernel")
def _conv(a: Arguments) -> str:
    kernel = a.get("kernel")
    if isinstance(kernel, Tensor):
        known = a.c.b.const(kernel.value)
        if known is None:
            raise a.c.refuse("a convolution whose kernel the model computes is not supported")
        kernel = known
    array = np.asarray(kernel, np.float32)
    rank = array.ndim
    strides, dilations = (_window(a, a.get(k, 1), rank) for k in ("strides", "dilation_rate"))
    inside = a.get("data_format") == "channels_first"
    x = a.value("inputs")
    x = x if inside else channels_first(a.c.b, x)
    found = pads(a.c.b.shape(x)[2:], array.shape[:-2], strides, dilations, str(a.get("padding", "valid")).lower())
    y = a.c.op("Conv", [x, array.transpose(rank - 1, rank - 2, *range(rank - 2))], strides=strides,
               dilations=dilations, pads=found, group=a.c.b.shape(x)[1] // array.shape[-2])
    return y if inside else channels_last(a.c.b, y)
