"""Expansions of pooling and convolution: norms of windows, positions of maxima, causal convolution."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod

import numpy as np

from compiler.ir import Graph, Node, numpy_dtype
from compiler.passes.deform_conv import deform_conv
from compiler.passes.expansion import Expansion
from compiler.windows import MOST_COMPARED

#: types that a sum over a window is not kept in
NARROW = ("float16", "bfloat16")


def _lp_pool(graph: Graph, node: Node) -> bool:
    """(sum |x|^p)^(1/p) as the average over the window, fill included, times its size."""
    make, attrs = Expansion(graph, node), node.attrs
    kernel = attrs["kernel_shape"]
    pads = _covering(attrs, graph.shape(node.inputs[0])[2:], graph.shape(node.output)[2:])
    x = _powers(make, _wide(make, node.inputs[0]))
    average = make.op("AveragePool", [x], graph.shape(node.output), kernel_shape=kernel, strides=attrs["strides"],
                      dilations=attrs["dilations"], pads=pads, count_include_pad=1, ceil_mode=0)
    return _rooted(make, make.mul(average, float(prod(kernel))))


def _global_lp_pool(graph: Graph, node: Node) -> bool:
    """LpPool over everything behind the channels."""
    make = Expansion(graph, node)
    x = _powers(make, _wide(make, node.inputs[0]))
    return _rooted(make, make.reduce("ReduceSum", x, range(2, make.rank(x))))


def _wide(make: Expansion, x: str) -> str:
    return make.cast(x, "float32") if make.dtype(x) in NARROW else x


def _powers(make: Expansion, x: str) -> str:
    """|x|^p."""
    p = make.node.attrs.get("p", 2)
    if p == 2:
        return make.mul(x, x)
    size = make.unary("Abs", x)
    return size if p == 1 else make.binary("Pow", size, float(p))


def _rooted(make: Expansion, total: str) -> bool:
    """The node's result from its sums of powers."""
    p = make.node.attrs.get("p", 2)
    if p == 2:
        total = make.unary("Sqrt", total)
    elif p != 1:
        total = make.binary("Pow", total, 1.0 / p)
    return make.finish([make.cast(total, make.dtype(make.node.output))])


def _covering(attrs: dict[str, Sequence[int]], sizes: Sequence[int], outs: Sequence[int]) -> list[int]:
    """Pads with the ends moved to where the last windows end (`ceil_mode`)."""
    pads, n = list(attrs["pads"]), len(sizes)
    for d, (size, out) in enumerate(zip(sizes, outs, strict=True)):
        reach = (out - 1) * attrs["strides"][d] + (attrs["kernel_shape"][d] - 1) * attrs["dilations"][d] + 1
        pads[n + d] = max(pads[n + d], reach - size - pads[d])
    return pads


def _max_pool(graph: Graph, node: Node) -> bool:
    """MaxPool with Indices: element after element of the window compared with the largest so far."""
    if len(node.outputs) < 2:
        return False
    make, attrs = Expansion(graph, node), node.attrs
    if not make.used(1):
        graph.set_outputs(node, node.outputs[:1])
        return True
    if prod(attrs["kernel_shape"]) > MOST_COMPARED:
        return False
    sizes, outs = make.shape(node.inputs[0])[2:], make.shape(node.output)[2:]
    pads = _covering(attrs, sizes, outs)
    x = _filled(make, node.inputs[0], pads)
    seen = np.zeros((1, 1, *outs), bool)  # windows of which an element inside the image has been met
    best, where = "", ""
    for tap in product(*(range(k) for k in attrs["kernel_shape"])):
        part, places = x, []
        for d, k in enumerate(tap):
            low, step = k * attrs["dilations"][d], attrs["strides"][d]
            part = make.slice(part, d + 2, low, low + (outs[d] - 1) * step + 1, step)
            places.append(np.arange(outs[d]) * step + low - pads[d])
        inside = _inside(places, sizes)
        here = make.const(_numbers(places, sizes, attrs.get("storage_order", 0)))
        if best:
            larger = make.binary("Greater", part, best)
            if (inside & ~seen).any():
                larger = make.binary("Or", larger, make.const(inside & ~seen))
            where = make.where(larger, here, where)
        best, where = (make.binary("Max", best, part), where) if best else (part, here)
        seen |= inside
    images = np.arange(prod(make.shape(x)[:2])).reshape(*make.shape(x)[:2], *([1] * len(sizes))) * prod(sizes)
    return make.finish([best, make.add(where, make.const(images))])


def _filled(make: Expansion, x: str, pads: Sequence[int]) -> str:
    """`x` with the lowest number of its type around its spatial axes."""
    if not any(pads):
        return x
    n, kind = len(pads) // 2, numpy_dtype(make.dtype(x))
    lowest = np.iinfo(kind).min if kind.kind in "iu" else -np.inf
    shape = [*make.shape(x)[:2], *(s + a + b for s, a, b in zip(make.shape(x)[2:], pads[:n], pads[n:], strict=True))]
    amounts = make.const(np.array([0, 0, *pads[:n], 0, 0, *pads[n:]], np.int64))
    return make.op("Pad", [x, amounts, make.const(np.array(lowest, kind))], shape, mode="constant")


def _along(values: np.ndarray, d: int, rank: int) -> np.ndarray:
    """A vector along spatial axis `d` of [1, 1, ...]."""
    return values.reshape([-1 if a == d + 2 else 1 for a in range(rank + 2)])


def _inside(places: Sequence[np.ndarray], sizes: Sequence[int]) -> np.ndarray:
    """[1, 1, ...] whether the elements at the places along each axis are elements of the image."""
    out = np.ones([1] * (len(sizes) + 2), bool)
    for d, (place, size) in enumerate(zip(places, sizes, strict=True)):
        out = out & _along((place >= 0) & (place < size), d, len(sizes))
    return out


def _numbers(places: Sequence[np.ndarray], sizes: Sequence[int], columns_first: int) -> np.ndarray:
    """[1, 1, ...] number, inside one image, of the elements at the places along each axis."""
    strides = [prod(sizes[:d]) if columns_first else prod(sizes[d + 1:]) for d in range(len(sizes))]
    out = np.zeros([1] * (len(sizes) + 2), np.int64)
    for d, (place, stride) in enumerate(zip(places, strides, strict=True)):
        out = out + _along(place * stride, d, len(sizes))
    return out


def _max_unpool(graph: Graph, node: Node) -> bool:
    """MaxUnpool as elements scattered into zeros; not into a larger shape than its windows cover."""
    make, attrs = Expansion(graph, node), node.attrs
    x, indices = node.inputs[:2]
    n, shape = len(attrs["kernel_shape"]), make.shape(node.output)
    strides, pads = attrs.get("strides", [1] * n), attrs.get("pads", [0] * (2 * n))
    covered = [(size - 1) * strides[d] - pads[d] - pads[n + d] + attrs["kernel_shape"][d]
               for d, size in enumerate(make.shape(x)[2:])]
    if list(shape[2:]) != covered:
        return False
    count = prod(make.shape(x))
    zeros = make.const(np.zeros(prod(shape), numpy_dtype(make.dtype(x))))
    flat = make.op("ScatterElements", [zeros, make.reshape(indices, [count]), make.reshape(x, [count])], [prod(shape)],
                   axis=0, reduction="none")
    return make.finish([make.reshape(flat, shape)])


def _causal_conv(graph: Graph, node: Node) -> bool:
    """CausalConvWithState: a depthwise convolution of the past and the present; the state is their end."""
    make = Expansion(graph, node)
    x, weight, bias, past = (*node.inputs, "", "")[:4]
    batch, channels, length = make.shape(x)
    before = make.shape(weight)[2] - 1
    if not before and make.used(1):
        return False
    if before and (past or make.used(1)):
        zeros = np.zeros((batch, channels, before), numpy_dtype(make.dtype(x)))
        joined = make.concat([past or make.const(zeros), x], 2)
    source, pads = (joined, [0, 0]) if past and before else (x, [before, 0])
    inputs = [source, weight, bias] if bias else [source, weight]
    y = make.op("Conv", inputs, make.shape(x), kernel_shape=[before + 1], strides=[1], dilations=[1], pads=pads,
                group=channels)
    if node.attrs.get("activation", "none") != "none":
        y = make.unary("Silu", y)
    return make.finish([y, make.slice(joined, 2, length, length + before) if make.used(1) else ""])


RULES: dict[str, Callable[[Graph, Node], bool]] = {
    "CausalConvWithState": _causal_conv,
    "DeformConv": deform_conv,
    "GlobalLpPool": _global_lp_pool,
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
    "MaxUnpool": _max_unpool,
}
