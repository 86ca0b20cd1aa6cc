"""Layers with weights: convolutional, deconvolutional, connected, local, batchnorm and what they are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from compiler.frontends.darknet.activations import activate, named
from compiler.frontends.darknet.cfg import Section
from compiler.frontends.darknet.net import MOST_CHANNELS, Layer, Net, layer, unfit

_MOST_LOCAL = 31  # width of a window of [local], whose places are taken one by one


def normalised(net: Net, value: str, scale: np.ndarray, mean: np.ndarray, variance: np.ndarray,
               bias: np.ndarray) -> str:
    """Batch normalisation with the running figures, over axis 1.

    pjreddie's darknet divides by sqrt(variance) + 1e-6, AlexeyAB's by sqrt(variance + 1e-5) (normalize_cpu in blas.c).
    """
    epsilon = 1e-5
    if not net.alexey:
        with np.errstate(invalid="ignore", over="ignore"):  # no matter what a file holds, it is not for us to warn
            variance = np.square(np.sqrt(variance.astype(np.float64)) + 1e-6).astype(np.float32)
        epsilon = 0.0
    return net.b.op("BatchNormalization", [value, scale, bias, mean, variance], epsilon=epsilon)


def running(net: Net, section: Section, count: int) -> dict[str, np.ndarray]:
    """Scale, mean and variance of a layer, in that order in the file; what new layers have, where it is not loaded."""
    if section.integer("dontloadscales", 0):
        zeros = np.zeros(count, np.float32)
        return {"scale": np.ones(count, np.float32), "mean": zeros, "variance": zeros}
    return {part: net.weights.take(section.name, part, count) for part in ("scale", "mean", "variance")}


@dataclass(frozen=True)
class Conv:
    """The sizes of a convolution.

    Attributes:
        filters, size, groups: of the weights, [filters, c / groups, size, size].
        stride: (y, x). pad: on every side. dilation: of both axes.
        normalise: whether batch normalisation follows.
    """

    filters: int
    size: int
    groups: int = 1
    stride: tuple[int, int] = (1, 1)
    pad: int = 0
    dilation: int = 1
    normalise: bool = False

    def load(self, net: Net, section: Section, c: int) -> dict[str, np.ndarray]:
        """The convolution's arrays, in the file's order: bias, figures of the normalisation, weights."""
        if c % self.groups or self.filters % self.groups:
            raise unfit(section, "groups have to divide channels and filters", f"{c} channels, {self.filters} filters",
                        self.groups)
        arrays = {"bias": net.weights.take(section.name, "biases", self.filters)}
        if self.normalise:
            arrays.update(running(net, section, self.filters))
        shape = (self.filters, c // self.groups, self.size, self.size)
        if section.integer("flipped", 0):
            depth = shape[1] * self.size * self.size
            arrays["weights"] = net.weights.take(section.name, "weights", depth, self.filters).T.reshape(shape)
        else:
            arrays["weights"] = net.weights.take(section.name, "weights", *shape)
        return arrays

    def apply(self, net: Net, value: str, arrays: dict[str, np.ndarray]) -> str:
        """The convolution, normalised, without activation."""
        b = net.b
        pads = [self.pad * self.dilation] * 4
        operands: list[str | np.ndarray] = [value, arrays["weights"]]
        if not self.normalise:
            operands.append(arrays["bias"])
        y = b.op("Conv", operands, kernel_shape=[self.size] * 2, strides=list(self.stride), pads=pads,
                 dilations=[self.dilation] * 2, group=self.groups)
        if self.normalise:
            y = normalised(net, y, arrays["scale"], arrays["mean"], arrays["variance"], arrays["bias"])
        return y


def fits(section: Section, conv: Conv, h: int, w: int) -> None:
    """Raises: ShapeError when the window is larger than the padded image."""
    reach = conv.size + (conv.size - 1) * (conv.dilation - 1)
    if reach > min(h, w) + 2 * conv.pad * conv.dilation:
        raise unfit(section, "a window is larger than the image with its padding", f"{h} x {w}, padding {conv.pad}",
                    conv.size)


def conv_of(section: Section, filters: int, size: int | None = None) -> Conv:
    """The convolution that a section's options describe."""
    size = section.integer("size", 1, 1, 4096) if size is None else size
    stride = section.integer("stride", 1, 1)
    padding = size // 2 if section.integer("pad", 0) else section.integer("padding", 0, 0, 1 << 16)
    return Conv(
        filters, size, max(section.integer("groups", 1), 1),
        (section.integer("stride_y", stride, 1), section.integer("stride_x", stride, 1)), padding,
        section.integer("dilation", 1, 1, 1 << 16) if size > 1 else 1,
        bool(section.integer("batch_normalize", 0) or section.integer("cbn", 0)),
    )  # fmt: skip


_DEFORMED = "the library computes it on GPUs in training only"


@layer("convolutional", rotate=_DEFORMED, sway=_DEFORMED, stretch=_DEFORMED, stretch_sway=_DEFORMED,
       coordconv="the library itself does not load such layers")
def _convolutional(net: Net, section: Section, before: Layer) -> Layer:
    value, c, h, w = net.pixels(before, section)
    blur = section.integer("antialiasing", 0)
    conv = conv_of(section, section.integer("filters", 1, 1, MOST_CHANNELS))
    stride = conv.stride
    if section.integer("xnor", 0):
        conv, value = replace(conv, groups=1), _signs(net, value)
    if blur:
        conv = replace(conv, stride=(1, 1))
    fits(section, conv, h, w)
    arrays = _arrays(net, section, conv, c)
    y = activate(net, section, conv.apply(net, value, arrays))
    if blur:
        y = blurred(net, y, stride, blur)
    return net.image(y, section)


def _arrays(net: Net, section: Section, conv: Conv, c: int) -> dict[str, np.ndarray]:
    """The arrays from the file, or those of the layer they are shared with; binary ones as signs times their mean."""
    if section.has("share_index"):
        index = section.integer("share_index", 0)
        index = index if index >= 0 else section.index + index
        arrays = net.shared.get(index)
        if arrays is None or arrays["weights"].shape != (conv.filters, c // conv.groups, conv.size, conv.size):
            raise unfit(section, "weights are shared with a layer that has none of that shape", "a convolution",
                        f"layer {index}")
        if conv.normalise and "scale" not in arrays:
            raise unfit(section, "the layer that weights are shared with has no normalisation", "batch_normalize=1",
                        f"layer {index}")
    else:
        arrays = conv.load(net, section, c)
        if section.integer("binary", 0) or section.integer("xnor", 0):
            weights = arrays["weights"]
            mean = np.abs(weights).mean(axis=(1, 2, 3), keepdims=True, dtype=np.float32)
            arrays["weights"] = np.where(weights > 0, mean, -mean)
    net.shared[section.index] = arrays
    return arrays


def _signs(net: Net, value: str) -> str:
    """1 where the value is positive, else -1."""
    positive = net.b.op("Greater", [value, np.float32(0)])
    return net.b.op("Where", [positive, np.float32(1), np.float32(-1)])


def blurred(net: Net, value: str, stride: tuple[int, int], kind: int) -> str:
    """The blur of `antialiasing`: a binomial window of 3 x 3 for 1, the mean of 2 x 2 for 2; strides move here."""
    c = net.b.shape(value)[1]
    line = np.array([0.5, 0.5] if kind == 2 else [0.25, 0.5, 0.25], np.float32)
    weights = np.broadcast_to(np.outer(line, line), (c, 1, len(line), len(line)))
    pads = [0 if kind == 2 else 1] * 4
    return net.b.op("Conv", [value, np.ascontiguousarray(weights)], kernel_shape=[len(line)] * 2,
                    strides=list(stride), pads=pads, group=c)


@layer("deconvolutional")
def _deconvolutional(net: Net, section: Section, before: Layer) -> Layer:
    """Weights are [c, filters, size, size]. Such layers cannot be loaded by the library (it divides by zero groups);
    the order in the file is the one in which it saves them."""
    value, c, h, w = net.pixels(before, section)
    conv = conv_of(section, section.integer("filters", 1, 1, MOST_CHANNELS))
    net.check(section, conv.filters, *((n - 1) * conv.stride[0] + conv.size - 2 * conv.pad for n in (h, w)))
    bias = net.weights.take(section.name, "biases", conv.filters)
    figures = running(net, section, conv.filters) if conv.normalise else None
    weights = net.weights.take(section.name, "weights", c, conv.filters, conv.size, conv.size)
    operands: list[str | np.ndarray] = [value, weights, *([] if figures else [bias])]
    y = net.b.op("ConvTranspose", operands, kernel_shape=[conv.size] * 2, strides=[conv.stride[0]] * 2,
                 pads=[conv.pad] * 4)
    if figures:
        y = normalised(net, y, **figures, bias=bias)
    return net.image(activate(net, section, y), section)


@dataclass(frozen=True)
class Dense:
    """The arrays of a connected layer; `weights` are [outputs, inputs]."""

    bias: np.ndarray
    weights: np.ndarray
    figures: dict[str, np.ndarray] | None

    def apply(self, net: Net, value: str) -> str:
        """The layer without activation; value [rows, inputs]."""
        operands: list[str | np.ndarray] = [value, self.weights, *([] if self.figures else [self.bias])]
        y = net.b.op("Gemm", operands, transB=1)
        return normalised(net, y, **self.figures, bias=self.bias) if self.figures else y

    def folded(self, alexey: bool) -> tuple[np.ndarray, np.ndarray]:
        """Weights and bias with the normalisation in them."""
        if not self.figures:
            return self.weights, self.bias
        variance = self.figures["variance"].astype(np.float64)
        with np.errstate(all="ignore"):
            divisor = np.sqrt(variance + 1e-5) if alexey else np.sqrt(variance) + 1e-6
            factor = self.figures["scale"] / divisor
            bias = self.bias - self.figures["mean"] * factor
            return (self.weights * factor[:, None]).astype(np.float32), bias.astype(np.float32)


def dense(net: Net, section: Section, inputs: int, outputs: int) -> Dense:
    """Read a connected layer: bias, weights, figures of the normalisation."""
    take = net.weights.take
    bias = take(section.name, "biases", outputs)
    if net.weights.transposed:
        weights = take(section.name, "weights", inputs, outputs).T
    else:
        weights = take(section.name, "weights", outputs, inputs)
    figures = running(net, section, outputs) if section.integer("batch_normalize", 0) else None
    return Dense(bias, weights, figures)


@layer("connected")
def _connected(net: Net, section: Section, before: Layer) -> Layer:
    outputs = section.integer("output", 1, 1)
    y = dense(net, section, before.size, outputs).apply(net, net.row(before))
    return net.flat(activate(net, section, y), section, image=True)


@layer("local")
def _local(net: Net, section: Section, before: Layer) -> Layer:
    """A convolution with weights of its own at every place: [places, filters, c * size * size], biases
    [filters, places]. The windows of each place become a column, for one matrix product per place."""
    value, c, h, w = net.pixels(before, section)
    filters, size = section.integer("filters", 1, 1, MOST_CHANNELS), section.integer("size", 1, 1, _MOST_LOCAL)
    stride, pad = section.integer("stride", 1, 1), section.integer("pad", 0, 0, 1)
    fits(section, Conv(filters, size, pad=pad), h, w)
    out_h, out_w = ((n + 2 * pad - size) // stride + 1 for n in (h, w))
    if pad and (out_h, out_w) != ((h - 1) // stride + 1, (w - 1) // stride + 1):
        raise unfit(section, "pad=1 of [local] pads by one pixel, which fits windows of 3 only", 3, size)
    places = out_h * out_w
    bias = net.weights.take(section.name, "biases", filters, places)
    weights = net.weights.take(section.name, "weights", places, filters, c * size * size)
    if pad:
        value = net.b.op("Pad", [value, np.array([0, 0, 1, 1] * 2, np.int64)])
    windows = []
    for y in range(size):
        band = net.slice(value, 2, y, y + (out_h - 1) * stride + 1, stride)
        for x in range(size):
            part = net.slice(band, 3, x, x + (out_w - 1) * stride + 1, stride)
            windows.append(net.reshape(part, net.rows, c, 1, places))
    columns = net.reshape(net.concat(windows, 2), net.rows, c * size * size, places)
    product = net.b.op("MatMul", [weights, net.b.op("Transpose", [columns], perm=[2, 1, 0])])
    result = net.b.op("Add", [net.b.op("Transpose", [product], perm=[2, 1, 0]), bias])
    result = activate(net, section, net.reshape(result, net.rows, filters, out_h, out_w))
    return net.image(result, section)


@layer("batchnorm")
def _batchnorm(net: Net, section: Section, before: Layer) -> Layer:
    """pjreddie's darknet neither saves nor loads the biases of these layers, AlexeyAB's does."""
    value, c, _, _ = net.pixels(before, section)
    bias = np.zeros(c, np.float32)
    if net.batchnorm_biases:
        bias = net.weights.take(section.name, "biases", c)
    figures = running(net, section, c)
    return net.like(before, normalised(net, value, **figures, bias=bias))


def convolution(net: Net, conv: Conv, value: str, arrays: dict[str, np.ndarray], activation: str) -> str:
    """A convolution of a recurrent layer, with its activation."""
    return named(net, activation, conv.apply(net, value, arrays))
