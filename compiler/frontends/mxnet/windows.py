"""Convolution, Deconvolution and pooling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.layout import channels_first, channels_last
from compiler.frontends.mxnet.call import Call, operator


def spatial(c: Call, key: str, count: int, default: int) -> list[int]:
    """A window attribute with one number for each of `count` axes; none or a single one stand for all."""
    found = c.ints(key, [default] * count)
    if len(found) == 1:
        found *= count
    if len(found) != count:
        raise c.wrong(key, found, f"{count} numbers")
    return list(found)


def in_layout(c: Call, compute: Callable[[str, bool], str]) -> str:
    """`compute(data, last)` on data with channels first, whatever `layout` says; `last`: they were last."""
    layout = "" if c.is_none("layout") else c.text("layout")
    if layout not in ("", "NCW", "NCHW", "NCDHW", "NWC", "NHWC", "NDHWC"):
        raise c.wrong("layout", layout, "NCW, NCHW, NCDHW, NWC, NHWC or NDHWC")
    last = layout.endswith("C")
    found = compute(channels_first(c.b, c.x) if last else c.x, last)
    return channels_last(c.b, found) if last else found


def _window_rank(c: Call) -> int:
    found = c.rank() - 2
    if not 1 <= found <= 3:
        raise ModelError(f"{c.op} works on one to three axes beside batch and channels", code="MODEL_INVALID",
                         actual=c.shape())
    return found


_CONV = ("data", "weight", "bias")


@operator("Convolution", "Convolution_v1", "_npx_convolution", roles=_CONV)
def _convolution(c: Call) -> str:
    count = _window_rank(c)
    pad = spatial(c, "pad", count, 0)

    def compute(x: str, last: bool) -> str:
        weight = channels_first(c.b, c[1]) if last else c[1]
        bias = [] if c.flag("no_bias") else [c[2]]
        c.channels(c.shape(x)[1], c.shape(weight)[1] * c.integer("num_group", 1))
        return c.do("Conv", x, weight, *bias, kernel_shape=list(c.shape(weight)[2:]), pads=pad + pad,
                    strides=spatial(c, "stride", count, 1), dilations=spatial(c, "dilate", count, 1),
                    group=c.integer("num_group", 1))

    return in_layout(c, compute)


@operator("Deconvolution", "_npx_deconvolution", roles=_CONV)
def _deconvolution(c: Call) -> str:
    count = _window_rank(c)
    kernel, stride = spatial(c, "kernel", count, 1), spatial(c, "stride", count, 1)
    dilate, pad, adjust = spatial(c, "dilate", count, 1), spatial(c, "pad", count, 0), spatial(c, "adj", count, 0)

    def compute(x: str, last: bool) -> str:
        nonlocal pad, adjust
        target = c.ints("target_shape", (0,))
        if any(target):  # DeconvolutionParam::InferPad: what is too much goes away on both sides
            reach = [s * (n - 1) + d * (k - 1) + 1
                     for s, n, d, k in zip(stride, c.shape(x)[2:], dilate, kernel, strict=True)]
            excess = [r - t for r, t in zip(reach, spatial(c, "target_shape", count, 0), strict=True)]
            if min(excess) < 0:
                raise c.wrong("target_shape", target, f"at most {reach}")
            adjust, pad = [e % 2 for e in excess], [(e + 1) // 2 for e in excess]
        weight = channels_first(c.b, c[1]) if last else c[1]
        bias = [] if c.flag("no_bias", True) else [c[2]]
        c.channels(c.shape(x)[1], c.shape(weight)[0])
        return c.do("ConvTranspose", x, weight, *bias, kernel_shape=kernel, strides=stride, dilations=dilate,
                    pads=pad + pad, output_padding=adjust, group=c.integer("num_group", 1))

    return in_layout(c, compute)


# ---- pooling -----------------------------------------------------------------------------------------------------


@operator("Pooling", "_npx_pooling", "Pooling_v1")
def _pooling(c: Call) -> str:
    return in_layout(c, lambda x, last: _pool(c, x))


def _pool(c: Call, x: str) -> str:
    kind = c.text("pool_type", "max", ("max", "avg", "sum", "lp"))
    if c.flag("global_pool"):
        return _global(c, x, kind)
    sizes = c.shape(x)[2:]
    count = len(sizes)
    kernel, stride = spatial(c, "kernel", count, 1), spatial(c, "stride", count, 1)
    pad = spatial(c, "pad", count, 0)
    results = [_results(c, *w) for w in zip(sizes, kernel, stride, pad, strict=True)]
    # the last window may begin so late that it reaches beyond the padding; what it leaves over is not read
    reach = [(r - 1) * s + k - 2 * p for r, s, k, p in zip(results, stride, kernel, pad, strict=True)]
    over = [max(r - n, 0) for r, n in zip(reach, sizes, strict=True)]
    window = {"kernel_shape": kernel, "strides": stride}
    pads = pad + [p + o for p, o in zip(pad, over, strict=True)]
    if any(p >= k for p, k in zip(pads, kernel * 2, strict=True)):
        x, pads = _padded(c, x, pads, kind)
        if kind == "avg" and not _counts_padding(c):
            raise c.unsupported("windows that lie in the padding altogether have no average")
    window["pads"] = pads
    if kind == "max" and c.op == "Pooling_v1" and any(pad):  # which pads with zeros
        full = np.array([0, 0, *pad, 0, 0, *pad], np.int64)
        x, window["pads"] = c.do("Pad", x, full, c.like(x, 0)), [0] * count + over
    if kind == "max":
        return c.do("MaxPool", x, **window)
    if kind == "lp":
        return _lp(c, x, lambda v: _sum(c, v, window))
    if kind == "sum":
        return _sum(c, x, window)
    if not _counts_padding(c):
        return c.do("AveragePool", x, count_include_pad=0, **window)
    average = c.do("AveragePool", x, count_include_pad=1, **window)
    if not any(over) or c.op == "Pooling_v1":
        return average
    return c.do("Mul", average, _share(c, x, sizes, kernel, stride, pad, results))


def _counts_padding(c: Call) -> bool:
    return c.flag("count_include_pad", True) or c.op == "Pooling_v1"


def _results(c: Call, size: int, kernel: int, stride: int, pad: int) -> int:
    """Number of windows along an axis (PoolingShape in src/operator/nn/pooling.cc)."""
    convention = c.text("pooling_convention", "valid", ("valid", "full", "same"))
    reach = size + 2 * pad - kernel
    if stride < 1 or kernel < 1 or pad < 0 or reach < 0:
        raise ModelError("the window is larger than what it is applied to", code="MODEL_INVALID",
                         limit=f"{size} with {pad} of padding on both sides", actual=f"{kernel}, stride {stride}")
    if convention == "same":
        raise c.unsupported("pooling_convention 'same', on which MXNet 1.x fails itself")
    if convention == "valid":
        return reach // stride + 1
    full = -(-reach // stride) + 1
    if c.op == "Pooling_v1":  # mshadow's pooling does not begin a window in the padding
        return min(full, (size + 2 * pad - 1) // stride + 1)
    return full


def _padded(c: Call, x: str, pads: list[int], kind: str) -> tuple[str, list[int]]:
    """The data with padding and cut before the window, where the operator itself cannot."""
    count = len(pads) // 2
    fill = c.like(x, np.finfo(c.like(x, 0).dtype).min if kind == "max" else 0)
    full = [0, 0, *pads[:count], 0, 0, *pads[count:]]
    return c.do("Pad", x, np.array(full, np.int64), fill), [0] * len(pads)


def _share(c: Call, x: str, sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int],
           results: Sequence[int]) -> np.ndarray:
    """Elements of a whole window over those up to the end of the stated padding, (1, 1, d...): MXNet averages those."""
    share = np.ones((1, 1))
    for n, k, s, p, r in zip(sizes, kernel, stride, pad, results, strict=True):
        start = np.arange(r) * s - p
        share = share[..., None] * (k / (np.minimum(start + k, n + p) - start))
    return c.like(x, share)


def _sum(c: Call, x: str, window: dict[str, list[int]]) -> str:
    average = c.do("AveragePool", x, count_include_pad=1, **window)
    return c.do("Mul", average, c.like(x, math.prod(window["kernel_shape"])))


def _lp(c: Call, x: str, total: Callable[[str], str]) -> str:
    """The p-th root of the sum of p-th powers; MXNet takes no absolute values."""
    power = c.text("p_value", "2", ("1", "2", "3"))
    if power == "1":
        return total(x)
    summed = total(c.do("Mul", x, x) if power == "2" else c.do("Mul", c.do("Mul", x, x), x))
    return c.do("Sqrt", summed) if power == "2" else cube_root(c, summed)


def cube_root(c: Call, x: str) -> str:
    """The real cube root, of negative numbers too."""
    return c.do("Mul", c.do("Sign", x), c.do("Pow", c.do("Abs", x), c.like(x, 1 / 3)))


def _global(c: Call, x: str, kind: str) -> str:
    axes = np.arange(2, c.rank(x))
    if kind == "max":
        return c.do("GlobalMaxPool", x)
    if kind == "avg":
        return c.do("GlobalAveragePool", x)
    if kind == "sum":
        return c.do("ReduceSum", x, axes)
    return _lp(c, x, lambda v: c.do("ReduceSum", v, axes))


@operator("_contrib_AdaptiveAvgPooling2D")
def _adaptive_average(c: Call) -> str:
    size = c.ints("output_size", (1,))
    height, width = size * 2 if len(size) == 1 else size
    rows, columns = c.shape()[2:]
    c.sized(rows, height)
    c.sized(columns, width)
    if height == width == 1:
        return c.do("GlobalAveragePool", c.x)
    if rows % height == 0 and columns % width == 0:
        window = [rows // height, columns // width]
        return c.do("AveragePool", c.x, kernel_shape=window, strides=window)
    # always the last axis: on the left a matrix would make a product of its own for every channel
    across = c.do("MatMul", c.x, c.like(c.x, _averaging(columns, width).T))
    turned = c.transpose(across, [0, 1, 3, 2])
    return c.transpose(c.do("MatMul", turned, c.like(c.x, _averaging(rows, height).T)), [0, 1, 3, 2])


def _averaging(size: int, results: int) -> np.ndarray:
    """(results, size): row i averages elements floor(i size / results) up to ceil((i + 1) size / results)."""
    made = np.zeros((results, size))
    for i in range(results):
        first, end = i * size // results, -(-(i + 1) * size // results)
        made[i, first:end] = 1 / (end - first)
    return made


# ---- windows laid out ------------------------------------------------------------------------------------------------


def _columns(c: Call, sizes: Sequence[int]) -> tuple[np.ndarray, list[int]]:
    """Where each element of each window lies in a padded image laid out flat, (elements, windows); its padded sizes."""
    kernel, stride, pad, dilate = (spatial(c, k, 2, d) for k, d in (("kernel", 1), ("stride", 1), ("pad", 0),
                                                                    ("dilate", 1)))
    padded = [n + 2 * p for n, p in zip(sizes, pad, strict=True)]
    c.sized(*padded, *kernel)
    axes = []
    for n, k, s, d in zip(padded, kernel, stride, dilate, strict=True):
        starts = np.arange((n - d * (k - 1) - 1) // s + 1) * s
        axes.append(np.arange(k)[:, None] * d + starts)  # (offset in the window, window)
    rows, columns = axes
    places = rows[:, None, :, None] * padded[1] + columns[None, :, None, :]
    return places.reshape(kernel[0] * kernel[1], -1), padded


@operator("im2col")
def _im2col(c: Call) -> str:
    """(N, C, h, w) as (N, C x elements of a window, windows)."""
    batch, channels, *sizes = c.shape()
    places, padded = _columns(c, sizes)
    pad = spatial(c, "pad", 2, 0)
    x = c.do("Pad", c.x, np.array([0, 0, *pad, 0, 0, *pad], np.int64), c.like(c.x, 0)) if any(pad) else c.x
    found = c.do("Gather", c.reshape(x, [batch, channels, math.prod(padded)]), places, axis=2)
    return c.reshape(found, [batch, channels * places.shape[0], places.shape[1]])


@operator("col2im")
def _col2im(c: Call) -> str:
    pad = spatial(c, "pad", 2, 0)
    return c.do("Col2Im", c.x, np.array(c.ints("output_size")), np.array(spatial(c, "kernel", 2, 1)), pads=pad + pad,
                strides=spatial(c, "stride", 2, 1), dilations=spatial(c, "dilate", 2, 1))
