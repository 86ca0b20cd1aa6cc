"""Convolutions and their transposes: channels last or first, one to three dimensions, explicit padding, dilation."""
from __future__ import annotations

from collections.abc import Sequence

from compiler.frontends.layout import channels_first, channels_last
from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import converter


def is_first(c: Call) -> bool:
    """Whether a node keeps channels in front of the spatial dimensions."""
    return c.text("data_format", "NHWC").startswith("NC")


def spatial(c: Call, values: Sequence[int], n: int) -> list[int]:
    """Of a list with an entry for every dimension, those of the `n` spatial ones; 1 each where there is none."""
    if not values:
        return [1] * n
    start = 2 if is_first(c) else 1
    if len(values) != n + 2:
        raise c.refuse(f"{len(values)} numbers for {n + 2} dimensions")
    return list(values[start : start + n])


def to_first(c: Call, value: str) -> str:
    """A value with channels first."""
    return value if is_first(c) else channels_first(c.b, value)


def from_first(c: Call, value: str) -> str:
    """A value with channels first in the layout of the node."""
    return value if is_first(c) else channels_last(c.b, value)


def pads_of(c: Call, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int],
            dilations: Sequence[int]) -> list[int]:
    """Padding in front of and behind every spatial dimension (ONNX order) of a window over `sizes`.

    SAME: output sizes are input sizes / stride, rounded up; of an odd total the larger half is behind
    (tensorflow/core/framework/common_shape_fns.cc, GetWindowedOutputSizeVerbose).
    """
    kind, n = c.text("padding", "VALID"), len(sizes)
    if kind == "EXPLICIT":
        pairs = c.numbers("explicit_paddings")
        start = 4 if is_first(c) else 2
        inner = pairs[start : start + 2 * n]
        if len(inner) != 2 * n:
            raise c.refuse("its explicit paddings do not fit its dimensions")
        return inner[0::2] + inner[1::2]
    if kind != "SAME":
        return [0] * (2 * n)
    totals = [max((-(-i // s) - 1) * s + (k - 1) * d + 1 - i, 0)
              for i, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)]
    return [t // 2 for t in totals] + [t - t // 2 for t in totals]


def convolve(c: Call, x: str, weight: str, depthwise: bool = False, pads: list[int] | None = None,
             dilations: list[int] | None = None, bias: str | None = None) -> str:
    """A convolution of a value in the node's layout with a TensorFlow filter (d..., I, O), depthwise (d..., C, M)."""
    n = c.b.rank(x) - 2
    kernel = c.b.shape(weight)
    if len(kernel) != n + 2 or n < 1:
        raise c.refuse(f"a filter of {len(kernel)} dimensions for an input of {n + 2}")
    inner = to_first(c, x)
    channels, sizes = c.b.shape(inner)[1], c.b.shape(inner)[2:]
    strides = spatial(c, c.numbers("strides"), n)
    if dilations is None:
        dilations = spatial(c, c.numbers("dilations"), n)
    if depthwise:
        turned = c.transpose(weight, [n, n + 1, *range(n)])
        turned, groups = c.reshape(turned, [channels * kernel[-1], 1, *kernel[:n]]), channels
    else:
        turned, groups = c.transpose(weight, [n + 1, n, *range(n)]), max(channels // max(kernel[n], 1), 1)
    if pads is None:
        pads = pads_of(c, sizes, kernel[:n], strides, dilations)
    made = c.op("Conv", [inner, turned] + ([bias] if bias else []), strides=strides, dilations=dilations, pads=pads,
                group=groups)
    return from_first(c, made)


@converter("Conv2D", "Conv3D")
def conv(c: Call) -> str:
    """A convolution, in groups where the filter has fewer channels than the input."""
    return convolve(c, c.x(0), c.x(1))


@converter("DepthwiseConv2dNative")
def depthwise(c: Call) -> str:
    """Every channel by its own filters."""
    return convolve(c, c.x(0), c.x(1), depthwise=True)


@converter("Conv2DBackpropInput", "Conv2DBackpropInputV2", "Conv3DBackpropInputV2", "Conv3DBackpropInput",
           "DepthwiseConv2dNativeBackpropInput")
def transposed(c: Call) -> str:
    """A transposed convolution: operands are the sizes of the result, the filter (d..., O, I) and the value."""
    weight, x = c.x(1), to_first(c, c.x(2))
    n, kernel = c.b.rank(x) - 2, c.b.shape(weight)
    sizes = list(c.shape(0)) if c.node.op in ("Conv3DBackpropInput", "Conv2DBackpropInputV2") else c.ints(0)
    outs = sizes[-n:] if is_first(c) or len(sizes) == n else sizes[1 : 1 + n]
    strides, dilations = spatial(c, c.numbers("strides"), n), spatial(c, c.numbers("dilations"), n)
    pads = pads_of(c, outs, kernel[:n], strides, dilations)
    ins = c.b.shape(x)[2:]
    more = [out - ((i - 1) * s + (k - 1) * d + 1 - pads[a] - pads[a + n])
            for a, (out, i, s, k, d) in enumerate(zip(outs, ins, strides, kernel, dilations, strict=False))]
    if any(m < 0 for m in more) or any(m >= s for m, s in zip(more, strides, strict=True)):
        raise c.refuse(f"its result of sizes {outs} does not follow from {list(ins)}")
    if "Depthwise" in c.node.op:
        turned, groups = c.transpose(weight, [n, n + 1, *range(n)]), kernel[n]
        turned = c.reshape(turned, [kernel[n] * kernel[n + 1], 1, *kernel[:n]])
    else:
        channels = sizes[1 if is_first(c) else -1] if len(sizes) == n + 2 else kernel[n]
        turned, groups = c.transpose(weight, [n + 1, n, *range(n)]), max(channels // kernel[n], 1)
    return from_first(c, c.op("ConvTranspose", [x, turned], strides=strides, dilations=dilations, pads=pads,
                              output_padding=more, group=groups))
