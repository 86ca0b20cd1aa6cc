"""Layers that move, gather or reduce pixels: pools, upsample, reorg, crop."""

from __future__ import annotations

import numpy as np

from compiler.frontends.darknet.cfg import Section
from compiler.frontends.darknet.convolutions import blurred
from compiler.frontends.darknet.net import MOST_CHANNELS, Layer, Net, layer, unfit


def _window(section: Section, h: int, w: int) -> tuple[int, tuple[int, int], list[int]]:
    """Size, stride (y, x) and pads (y, x begin; y, x end) of a pool.

    The padding, size - 1 unless stated, is a total: half of it, rounded down, goes in front.
    """
    stride = section.integer("stride", 1, 1)
    strides = (section.integer("stride_y", stride, 1), section.integer("stride_x", stride, 1))
    size = section.integer("size", stride, 1, 1 << 16)
    padding = section.integer("padding", size - 1, 0, 1 << 16)
    if size > min(h, w) + padding:
        raise unfit(section, "a window is larger than the image with its padding", f"{h} x {w}, padding {padding}",
                    size)
    front = padding // 2
    ends = []
    for extent, step in zip((h, w), strides, strict=True):
        last = (extent + padding - size) // step * step - front  # where the last window begins
        if front >= size or last >= extent:
            raise unfit(section, "a window of the pool lies outside of the image", extent, f"padding {padding}")
        ends.append(max(last + size - extent, 0))
    return size, strides, [front, front, *ends]


@layer("maxpool")
def _maxpool(net: Net, section: Section, before: Layer) -> Layer:
    value, c, h, w = net.pixels(before, section)
    if section.integer("maxpool_depth", 0):
        return _maxpool_depth(net, section, value, c, h, w)
    size, strides, pads = _window(section, h, w)
    blur = section.integer("antialiasing", 0)
    if not blur:
        y = net.b.op("MaxPool", [value], kernel_shape=[size, size], strides=list(strides), pads=pads)
        return net.image(y, section)
    padding = section.integer("padding", size - 1, 0)
    pads = [padding // 2] * 2 + [padding - padding // 2] * 2
    y = net.b.op("MaxPool", [value], kernel_shape=[size, size], strides=[1, 1], pads=pads)
    return net.image(blurred(net, y, strides, blur), section)


def _maxpool_depth(net: Net, section: Section, value: str, c: int, h: int, w: int) -> Layer:
    """Channel g of the result is the largest of channels g, g + out_channels, g + 2 * out_channels ..."""
    out = section.integer("out_channels", 1, 1, c)
    whole = c // out * out
    groups = net.reshape(net.slice(value, 1, 0, whole), net.rows, c // out, out, h, w)
    y = net.b.op("ReduceMax", [groups, np.array([1], np.int64)], keepdims=0)
    if whole < c:
        rest = c - whole
        first = net.b.op("Max", [net.slice(y, 1, 0, rest), net.slice(value, 1, whole, c)])
        y = net.concat([first, net.slice(y, 1, rest, out)], 1)
    return net.image(y, section)


@layer("local_avgpool")
def _local_avgpool(net: Net, section: Section, before: Layer) -> Layer:
    value, _, h, w = net.pixels(before, section)
    size, strides, pads = _window(section, h, w)
    y = net.b.op("AveragePool", [value], kernel_shape=[size, size], strides=list(strides), pads=pads,
                 count_include_pad=0)
    return net.image(y, section)


@layer("avgpool")
def _avgpool(net: Net, section: Section, before: Layer) -> Layer:
    return net.image(net.b.op("GlobalAveragePool", [net.pixels(before, section)[0]]), section)


@layer("upsample")
def _upsample(net: Net, section: Section, before: Layer) -> Layer:
    """Repeats pixels; with a negative stride, adds up squares of them."""
    value, c, h, w = net.pixels(before, section)
    stride = section.integer("stride", 2, -(1 << 12), 1 << 12)
    if stride == 0 or (stride < 0 and (h % stride or w % stride)):
        raise unfit(section, "the stride does not divide the image", f"{h} x {w}", stride)
    if stride < 0:
        side = -stride
        y = net.b.op("AveragePool", [value], kernel_shape=[side, side], strides=[side, side])
        return net.image(net.scaled(y, section.real("scale", 1) * side * side), section)
    net.check(section, c, h * stride, w * stride)
    if stride > 1:
        scales = np.array([1, 1, stride, stride], np.float32)
        value = net.b.op("Resize", [value, "", scales], mode="nearest", nearest_mode="floor",
                         coordinate_transformation_mode="asymmetric")
    return net.image(net.scaled(value, section.real("scale", 1)), section)


@layer("reorg")
def _reorg(net: Net, section: Section, before: Layer) -> Layer:
    """pjreddie's order: the image is taken for one of c / stride^2 channels that is stride times as wide and high, the
    squares of that become channels, and the result is taken for one of c * stride^2 channels (reorg_cpu in blas.c).
    """
    value, c, h, w = net.pixels(before, section)
    s = section.integer("stride", 1, 1, 1 << 12)
    if section.integer("flatten", 0):
        return _flattened(net, section, value, c, h, w, s)
    if section.integer("extra", 0):
        zeros = net.zeros(net.rows, section.integer("extra", 0, 1, MOST_CHANNELS))
        return net.flat(net.concat([net.row(before), zeros], 1), section)
    reverse = bool(section.integer("reverse", 0))
    _divides(section, c, s * s)
    if not reverse:
        _divides(section, h, s)
        _divides(section, w, s)
    if s == 1:
        return before
    return net.image(_depth_and_space(net, value, c // (s * s), h, w, s, reverse), section)


@layer("reorg3d")
def _reorg3d(net: Net, section: Section, before: Layer) -> Layer:
    """AlexeyAB's order: squares of pixels become channels, or the other way round with `reverse`."""
    value, c, h, w = net.pixels(before, section)
    s = section.integer("stride", 1, 1, 1 << 12)
    if s == 1:
        return before
    if section.integer("reverse", 0):
        _divides(section, c, s**4)
        return net.image(_depth_and_space(net, value, c // s**4, h * s, w * s, s, True), section)
    _divides(section, h, s)
    _divides(section, w, s)
    return net.image(net.b.op("SpaceToDepth", [value], blocksize=s), section)


def _depth_and_space(net: Net, value: str, depth: int, h: int, w: int, s: int, to_space: bool) -> str:
    """The numbers of an image, taken for [depth, h * s, w * s] and made [s, s, depth, h, w], or the other way round.

    Returned in the form that `reorg` and `reorg3d` have in that direction.
    """
    if to_space:
        blocks = net.reshape(value, net.rows, s, s, depth, h, w)
        moved = net.b.op("Transpose", [blocks], perm=[0, 3, 4, 1, 5, 2])
    else:
        blocks = net.reshape(value, net.rows, depth, h, s, w, s)
        moved = net.b.op("Transpose", [blocks], perm=[0, 3, 5, 1, 2, 4])
    c, rows, columns = net.b.shape(value)[1:]
    shape = (c // (s * s), rows * s, columns * s) if to_space else (c * s * s, rows // s, columns // s)
    return net.reshape(moved, net.rows, *shape)


def _flattened(net: Net, section: Section, value: str, c: int, h: int, w: int, s: int) -> Layer:
    """Channels become innermost, or with `reverse` outermost again; the sizes are as if pixels had been gathered."""
    reverse = bool(section.integer("reverse", 0))
    for number, divisor in [(c, s * s)] if reverse else [(h, s), (w, s)]:
        _divides(section, number, divisor)
    if reverse:
        moved = net.b.op("Transpose", [net.reshape(value, net.rows, h * w, c)], perm=[0, 2, 1])
        return net.image(net.reshape(moved, net.rows, c // (s * s), h * s, w * s), section)
    moved = net.b.op("Transpose", [value], perm=[0, 2, 3, 1])
    return net.image(net.reshape(moved, net.rows, c * s * s, h // s, w // s), section)


def _divides(section: Section, number: int, divisor: int) -> None:
    if number % divisor:
        raise unfit(section, "the stride does not divide the image", f"multiples of {divisor}", number)


@layer("crop")
def _crop(net: Net, section: Section, before: Layer) -> Layer:
    """The middle of the image, in -1..1 unless `noadjust` is set; flips and turns are of training."""
    value, _, h, w = net.pixels(before, section)
    height, width = section.integer("crop_height", 1, 1, h), section.integer("crop_width", 1, 1, w)
    top, left = (h - height) // 2, (w - width) // 2
    value = net.slice(net.slice(value, 2, top, top + height), 3, left, left + width)
    if not section.integer("noadjust", 0):
        value = net.b.op("Sub", [net.scaled(value, 2), np.float32(1)])
    return net.image(value, section)
