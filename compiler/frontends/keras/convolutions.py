"""Convolutions, transposed, depthwise and separable ones.

Kernels lie (size..., in, out) in Keras and (out, in, size...) in ONNX.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from compiler.frontends.keras.activations import activate
from compiler.frontends.keras.call import Call
from compiler.frontends.keras.config import invalid
from compiler.frontends.keras.registry import layer
from compiler.frontends.layout import channels_first, channels_last

PADDINGS = ("valid", "same", "causal")


def inside(c: Call, x: str) -> str:
    """x with channels right after the batch, whatever the layer's data_format."""
    return x if c.config.channels_first else channels_first(c.b, x)


def outside(c: Call, y: str) -> str:
    """The layer's own order of axes again."""
    return y if c.config.channels_first else channels_last(c.b, y)


def pads(sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int],
         padding: str) -> list[int]:
    """Begins, then ends, of TensorFlow's paddings: "same" gives ceil(size / stride) results, the odd pad at the end."""
    begins, ends = [], []
    for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        span = (width - 1) * dilation + 1
        total = 0
        if padding == "same":
            total = max((-(-size // stride) - 1) * stride + span - size, 0)
        begins.append(span - 1 if padding == "causal" else total // 2)
        ends.append(0 if padding == "causal" else total - total // 2)
    return begins + ends


def convolved(c: Call, x: str, kernel: np.ndarray, bias: np.ndarray | None, group: int = 1,
              strides: Sequence[int] | None = None, padding: str | None = None) -> str:
    """Convolution of x (N, C, size...) with a kernel (size..., in / group, out), by the layer's settings."""
    dims = kernel.ndim - 2
    strides = strides or c.config.integers("strides", dims, 1)
    dilations = c.config.integers("dilation_rate", dims, 1)
    padding = padding or c.config.choice("padding", PADDINGS, "valid")
    if min(*strides, *dilations, *kernel.shape) < 1:
        raise invalid("a stride, dilation or size of a convolution is not positive", c.where)
    size = kernel.shape[:dims]
    found = pads(c.b.shape(x)[2:], size, strides, dilations, padding)
    operands = [x, kernel.transpose(dims + 1, dims, *range(dims)), *([] if bias is None else [bias])]
    return c.op("Conv", operands, kernel_shape=list(size), strides=list(strides), dilations=dilations, pads=found,
                group=group)


@layer("Conv1D", "Conv2D", "Conv3D", "Convolution1D", "Convolution2D", "Convolution3D",
       variables="kernel bias?use_bias")
def _conv(c: Call) -> str:
    dims = _dims(c)
    groups = c.config.integer("groups", 1)
    kernel = c.weight("kernel", *[-1] * (dims + 2))
    y = convolved(c, inside(c, c.x), kernel, c.optional("bias", kernel.shape[-1]), groups)
    return activate(c, outside(c, y), c.config.get("activation"))


def _dims(c: Call) -> int:
    return int(re.findall(r"[123](?=D)", c.layer.kind)[0])


def depthwise(c: Call, x: str, kernel: np.ndarray, bias: np.ndarray | None) -> str:
    """Convolution of every channel by itself; kernel (size..., channels, multiplier)."""
    *size, channels, multiplier = kernel.shape
    if c.b.shape(x)[1] != channels:
        raise invalid("a depthwise kernel does not fit its channels", c.where, channels, c.b.shape(x)[1])
    dims = len(size)
    if dims == 2 and len(set(c.config.integers("strides", 2, 1))) > 1:
        raise c.refuse("strides that differ between the axes: TensorFlow has no such depthwise convolution")
    return convolved(c, x, kernel.reshape(*size, 1, channels * multiplier), bias, channels)


@layer("DepthwiseConv1D", "DepthwiseConv2D", variables="kernel bias?use_bias")
def _depthwise(c: Call) -> str:
    y = depthwise(c, inside(c, c.x), c.weight("kernel", *[-1] * (_dims(c) + 2)), c.optional("bias"))
    return activate(c, outside(c, y), c.config.get("activation"))


@layer("SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D",
       variables="depthwise_kernel pointwise_kernel bias?use_bias")
def _separable(c: Call) -> str:
    dims = _dims(c)
    x = inside(c, c.x)
    y = depthwise(c, x, c.weight("depthwise_kernel", *[-1] * (dims + 2)), None)
    point = c.weight("pointwise_kernel", *[-1] * (dims + 2))
    y = c.op("Conv", [y, point.transpose(dims + 1, dims, *range(dims)), *_given(c.optional("bias", point.shape[-1]))])
    return activate(c, outside(c, y), c.config.get("activation"))


def _given(bias: np.ndarray | None) -> list[np.ndarray]:
    return [] if bias is None else [bias]


@layer("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "Convolution1DTranspose", "Convolution2DTranspose",
       "Convolution3DTranspose", "Deconv2D", "Deconv3D", "Deconvolution2D", "Deconvolution3D",
       variables="kernel bias?use_bias")
def _transposed(c: Call) -> str:
    """The gradient of a convolution whose input has the size that Keras gives the result."""
    dims = _dims(c)
    x, kernel = inside(c, c.x), c.weight("kernel", *[-1] * (dims + 2))
    strides, dilations = c.config.integers("strides", dims, 1), c.config.integers("dilation_rate", dims, 1)
    extra = c.config.integers("output_padding", dims) if "output_padding" in c.config else [None] * dims
    same = c.config.choice("padding", PADDINGS, "valid") == "same"
    begins, ends, added = [], [], []
    for size, width, s, d, more in zip(c.b.shape(x)[2:], kernel.shape, strides, dilations, extra, strict=False):
        span = (width - 1) * d + 1
        full = (size - 1) * s + span
        if more is None:
            wanted = size * s + (0 if same else max(span - s, 0))
        else:
            wanted = full + more - (2 * (span // 2) if same else 0)
        before = max(full - wanted, 0) // 2 if same else 0
        begins.append(before)
        ends.append(max(full - before - wanted, 0))
        added.append(max(wanted - full + before, 0))
    y = c.op("ConvTranspose", [x, kernel.transpose(dims + 1, dims, *range(dims)), *_given(c.optional("bias"))],
             kernel_shape=list(kernel.shape[:dims]), strides=strides, dilations=dilations, pads=begins + ends,
             output_padding=added if any(added) else None)
    return activate(c, outside(c, y), c.config.get("activation"))


@layer("LocallyConnected1D", "LocallyConnected2D", variables="kernel bias?use_bias")
def _locally_connected(c: Call) -> str:
    """A kernel of its own for every place: patches times matrices.

    Kernel: (places, size * channels, filters), as `implementation=1` keeps it.
    """
    dims = _dims(c)
    if c.config.integer("implementation", 1) != 1:
        raise c.refuse("implementation 2 and 3 keep the kernel in another form", "use implementation=1")
    first = c.config.channels_first and dims == 2
    x = c.x if first else channels_first(c.b, c.x)
    size, strides = c.config.integers("kernel_size", dims), c.config.integers("strides", dims, 1)
    shape, kernel = c.b.shape(x), c.weight("kernel", -1, -1, -1)
    places = [(n - k) // s + 1 for n, k, s in zip(shape[2:], size, strides, strict=True)]
    if min(places) < 1 or kernel.shape[:2] != (int(np.prod(places)), int(np.prod(size)) * shape[1]):
        raise invalid("a kernel does not fit the places of its layer", c.where, kernel.shape)
    grids = np.meshgrid(*[np.arange(p) * s for p, s in zip(places, strides, strict=True)], indexing="ij")
    inner = np.meshgrid(*[np.arange(k) for k in size], indexing="ij")
    steps = [int(np.prod(shape[3 + k:])) for k in range(dims)]
    taken = sum((g.reshape(-1, 1) + i.reshape(1, -1)) * s for g, i, s in zip(grids, inner, steps, strict=True))
    flat = c.op("Reshape", [x, np.array([shape[0], shape[1], -1])])
    patches = c.op("Gather", [flat, np.asarray(taken).reshape(-1)], axis=2)  # (N, C, places * size)
    patches = c.op("Reshape", [patches, np.array([shape[0], shape[1], kernel.shape[0], -1])])
    # the order of a patch: channels first in the 2-D channels_first form, else last
    patches = c.op("Transpose", [patches], perm=[2, 0, 1, 3] if first else [2, 0, 3, 1])
    patches = c.op("Reshape", [patches, np.array([kernel.shape[0], shape[0], -1])])
    y = c.op("Transpose", [c.op("MatMul", [patches, kernel])], perm=[1, 0, 2])
    y = c.op("Reshape", [y, np.array([shape[0], *places, kernel.shape[2]])])
    if first:
        y = channels_first(c.b, y)
    bias = c.optional("bias")
    if bias is not None:
        y = c.op("Add", [y, bias.transpose(2, 0, 1) if first and bias.ndim == 3 else bias])
    return activate(c, y, c.config.get("activation"))
