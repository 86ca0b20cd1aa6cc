"""Convolutions and pooling: channels last in the file, channels first around ONNX's operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.builder import Operand
from compiler.frontends.layout import channels_first, channels_last
from compiler.frontends.tflite import quantised
from compiler.frontends.tflite.convert import Call, converter
from compiler.frontends.tflite.reader import Tensor

_SAME, _VALID = 0, 1
_EIGHT = ("int8", "uint8")
_EXACT = 1 << 24  # fp32 holds every integer up to here
#: axis letters of the options' names, outermost first
_AXES = {2: "hw", 3: "dhw"}


def padding(kind: int, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int],
            dilations: Sequence[int]) -> list[int]:
    """Pads of SAME (the odd one goes at the end) or VALID, as ONNX orders them."""
    if kind == _VALID:
        return [0] * (2 * len(kernel))
    if kind != _SAME:
        raise ModelError(f"padding number {kind} is unknown", code="TFLITE_OPERANDS")
    total = [max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
             for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)]
    return [t // 2 for t in total] + [t - t // 2 for t in total]


def _per_axis(c: Call, stem: str, suffix: str, rank: int, default: int = 1) -> list[int]:
    found = [int(c.option(f"{stem}_{letter}{suffix}", default)) for letter in _AXES[rank]]
    if min(found) < 1:
        raise ModelError(f"{stem} has to be 1 or more", code="TFLITE_OPERANDS", actual=found)
    return found


@converter("CONV_2D")
def _conv(c: Call) -> None:
    """Weights (Cout, kh, kw, Cin / groups)."""
    _convolution(c, (0, 3, 1, 2), 2, 0)


@converter("DEPTHWISE_CONV_2D")
def _depthwise(c: Call) -> None:
    """Weights (1, kh, kw, Cin * multiplier): channel g * multiplier + m comes from input channel g."""
    _convolution(c, (3, 0, 1, 2), 2, c.shape(0)[-1])


@converter("CONV_3D")
def _conv3d(c: Call) -> None:
    """Weights (kd, kh, kw, Cin, Cout)."""
    _convolution(c, (4, 3, 0, 1, 2), 3, 0)


def _convolution(c: Call, perm: tuple[int, ...], rank: int, groups: int) -> None:
    """perm: of the weights to (Cout, Cin / groups, k...); groups 0: as many as the weights' channels make.

    An option "pads", which no file has, states the padding as ONNX orders it.
    """
    weights = c.b.shape(c.b.op("Transpose", [c.stored(1)], perm=list(perm)))
    kernel = list(weights[2:])
    strides = _per_axis(c, "stride", "", rank)
    dilations = _per_axis(c, "dilation", "_factor", rank)
    pads = c.option("pads", []) or padding(c.option("padding", _SAME), c.shape(0)[1:-1], kernel, strides, dilations)
    attrs: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads,
             "group": groups or c.shape(0)[-1] // weights[1]}
    if _whole(c):
        c.store(channels_last(c.b, _whole_convolution(c, perm, attrs)))
        return
    operands = [channels_first(c.b, c.real(0)), c.b.op("Transpose", [c.real(1)], perm=list(perm))]
    if c.has(2):
        operands.append(c.real(2))
    c.give(channels_last(c.b, c.b.op("Conv", operands, **attrs)))


def _whole(c: Call) -> bool:
    """Whether input, weights and result are 8-bit integers, whose sums fp32 holds exactly: then the device's are."""
    tensors = (c.tensor(0), c.tensor(1), c.result())
    weights = c.const(1)
    if (any(not quantised.is_quantised(t) or quantised.kept(t) not in _EIGHT for t in tensors) or weights is None
            or quantised.kept(tensors[0]) != quantised.kept(tensors[2])):
        return False
    bias = c.const(2) if c.has(2) else np.zeros(1, np.int32)
    if bias is None or bias.dtype != np.int32:
        return False
    channel = weights.ndim - 1 if c.op.type == "DEPTHWISE_CONV_2D" else 0
    rows = np.moveaxis(weights, channel, 0).reshape(weights.shape[channel], -1).astype(np.int64)
    _, zeros = quantised.parameters(tensors[1])
    limits, zero = np.iinfo(quantised.kept(tensors[0])), quantised.zero_point(tensors[0])
    most = max(limits.max - zero, zero - limits.min)
    sums = np.abs(rows - zeros.astype(np.int64).reshape(-1, 1)).sum(axis=1) * most + np.abs(bias.astype(np.int64))
    return bool(sums.max() <= _EXACT)


def _whole_convolution(c: Call, perm: tuple[int, ...], attrs: dict[str, Any]) -> str:
    operands: list[Operand] = [channels_first(c.b, c.stored(0)), *quantised.parameters(c.tensor(0)),
                c.b.op("Transpose", [c.stored(1)], perm=list(perm)), *quantised.parameters(c.tensor(1)),
                *quantised.rounding(c.result())]
    if c.has(2):
        operands.append(c.stored(2))
    return _limited(c, c.b.op("QLinearConv", operands, **attrs), c.result())


def _limited(c: Call, value: str, tensor: Tensor) -> str:
    """A fused activation as limits of the stored result, where the type does not limit it as much already."""
    low, high = quantised.limits(tensor, c.option("fused_activation_function", 0))
    info = np.iinfo(quantised.kept(tensor))
    if (low, high) == (info.min, info.max):
        return value
    return c.b.op("Clip", [value, np.array(low, info.dtype), np.array(high, info.dtype)])


@converter("TRANSPOSE_CONV")
def _transpose_conv(c: Call) -> None:
    """Operands: the result's shape, weights (Cout, kh, kw, Cin), input, perhaps bias."""
    transposed(c, c.ints(0, "the size of a transposed convolution"), (2, 1, 3), (3, 0, 1, 2), 2)


@converter("CONV_3D_TRANSPOSE")
def _transpose_conv3d(c: Call) -> None:
    """Weights (kd, kh, kw, Cout, Cin)."""
    transposed(c, c.ints(0, "the size of a transposed convolution"), (2, 1, 3), (4, 3, 0, 1, 2), 3)


def transposed(c: Call, shape: Sequence[int], operands: tuple[int, int, int], perm: tuple[int, ...], rank: int) -> None:
    """The gradient of a convolution: where that padded the result, this cuts.

    Args:
        shape: of the result. operands: numbers of input, weights, bias. perm: of the weights to (Cin, Cout, k...).
    """
    data, weights, bias = operands
    w = c.b.op("Transpose", [c.real(weights)], perm=list(perm))
    kernel = list(c.b.shape(w)[2:])
    strides = _per_axis(c, "stride", "", rank)
    dilations = _per_axis(c, "dilation", "_factor", rank)
    wanted = list(shape[1:-1])
    pads = padding(c.option("padding", _SAME), wanted, kernel, strides, dilations)
    sizes = c.shape(data)[1:-1]
    more = [o - ((n - 1) * s + (k - 1) * d + 1 - a - z) for o, n, s, k, d, a, z in zip(
        wanted, sizes, strides, kernel, dilations, pads[:rank], pads[rank:], strict=True)]
    if min(more) < 0:
        raise ModelError("the stated size of a transposed convolution is smaller than what it computes",
                         code="TFLITE_OPERANDS", actual=wanted)
    inputs = [channels_first(c.b, c.real(data)), w]
    if c.has(bias):
        inputs.append(c.real(bias))
    # rows beyond the last window belong to none: they hold the bias, as output_padding gives them
    ends = [z - m for z, m in zip(pads[rank:], more)]
    value = c.b.op("ConvTranspose", inputs, kernel_shape=kernel, strides=strides, dilations=dilations,
                   pads=pads[:rank] + [max(e, 0) for e in ends],
                   output_padding=[max(-e, 0) for e in ends])
    c.give(channels_last(c.b, value))


# ---- pooling -------------------------------------------------------------------------------------------------------


def _window(c: Call) -> dict[str, Any]:
    kernel = [int(c.option("filter_height", 1)), int(c.option("filter_width", 1))]
    strides = _per_axis(c, "stride", "", 2)
    if min(kernel) < 1:
        raise ModelError("a pooling window has to have elements", code="TFLITE_OPERANDS", actual=kernel)
    pads = padding(c.option("padding", _SAME), c.shape(0)[1:-1], kernel, strides, (1, 1))
    return {"kernel_shape": kernel, "strides": strides, "pads": pads}


@converter("MAX_POOL_2D")
def _max_pool(c: Call) -> None:
    window = _window(c)
    stored = quantised.same_scale(c.tensor(0), c.result()) and quantised.kept(c.result()) in _EIGHT
    value = channels_first(c.b, c.stored(0) if stored else c.real(0))
    value = channels_last(c.b, c.b.op("MaxPool", [value], **window))
    if stored:
        c.store(_limited(c, value, c.result()) if quantised.is_quantised(c.result()) else value)
    else:
        c.give(value)


@converter("AVERAGE_POOL_2D")
def _average_pool(c: Call) -> None:
    """Padding does not count."""
    c.give(channels_last(c.b, c.b.op("AveragePool", [channels_first(c.b, c.real(0))], **_window(c))))


@converter("L2_POOL_2D")
def _l2_pool(c: Call) -> None:
    """Root of the mean square."""
    x = channels_first(c.b, c.real(0))
    mean = c.b.op("AveragePool", [c.b.op("Mul", [x, x])], **_window(c))
    c.give(channels_last(c.b, c.b.op("Sqrt", [mean])))
