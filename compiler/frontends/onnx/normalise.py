"""Make an imported node say everything: no auto_pad, no missing default, no negative axis."""
from __future__ import annotations

from typing import Any

import numpy as np

from compiler.errors import ShapeError
from compiler.ir import Graph, Node

_CONVS = frozenset({"Conv", "ConvTranspose", "ConvInteger", "QLinearConv"})
_POOLS = frozenset({"MaxPool", "AveragePool", "LpPool"})
#: Operators whose `axis` counts dimensions of the first input.
_AXIS = frozenset({
    "Softmax", "LogSoftmax", "Hardmax", "Concat", "Gather", "GatherElements", "ScatterElements", "Split", "Flatten",
    "LayerNormalization", "RMSNormalization", "ArgMax", "ArgMin", "TopK", "Compress", "LpNormalization", "Unique",
})


def normalise(graph: Graph, node: Node) -> None:
    """Complete the attributes of a node whose values are all in the graph already.

    Raises: ShapeError SHAPE_MISMATCH where attributes contradict shapes, or shapes each other.
    """
    if node.domain:
        return
    if node.op in _CONVS:
        weight = node.inputs[3 if node.op == "QLinearConv" else 1]
        _window(graph, node, list(graph.shape(weight)[2:]))
        _channels(graph, node, weight)
    elif node.op in _POOLS:
        _window(graph, node, node.attrs["kernel_shape"])
        _close_ceil(graph, node)
    elif node.op == "Resize":
        _stated_sizes(graph, node)
    elif node.op == "Transpose" and "perm" not in node.attrs:
        node.attrs["perm"] = list(range(len(graph.shape(node.inputs[0]))))[::-1]
    if node.op in _AXIS and node.attrs.get("axis", 0) < 0:
        node.attrs["axis"] += len(graph.shape(node.inputs[0]))


def _stated_sizes(graph: Graph, node: Node) -> None:
    """Sizes given at run time are those of the result, which the model has stated."""
    stretched = node.attrs.get("keep_aspect_ratio_policy", "stretch") == "stretch"
    if not node.input(3) or graph.is_const(node.input(3)) or not stretched:
        return
    shape = graph.shape(node.output)
    axes = node.attrs.get("axes") or range(len(shape))
    graph.set_input(node, 3, graph.add_const(np.array([shape[a] for a in axes], np.int64), f"{node.name}.sizes"))


def _window(graph: Graph, node: Node, kernel: list[int]) -> None:
    attrs, n = node.attrs, len(kernel)
    if attrs.get("kernel_shape", kernel) != kernel or len(kernel) != len(graph.shape(node.inputs[0])) - 2:
        raise ShapeError("kernel_shape contradicts the weight or the input's rank", code="SHAPE_MISMATCH",
                         where=f"node {node.name!r} ({node.op})", limit=kernel, actual=attrs.get("kernel_shape"))
    attrs["kernel_shape"] = list(kernel)
    attrs.setdefault("strides", [1] * n)
    attrs.setdefault("dilations", [1] * n)
    auto = attrs.pop("auto_pad", "NOTSET")
    if node.op == "ConvTranspose":
        attrs.setdefault("output_padding", [0] * n)
        _transpose_pads(graph, node, auto)
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        sizes = graph.shape(node.inputs[0])[2:]
        totals = [max((-(-i // s) - 1) * s + (k - 1) * d + 1 - i, 0) for i, s, k, d in
                  zip(sizes, attrs["strides"], kernel, attrs["dilations"], strict=True)]
        attrs["pads"] = _split(totals, auto == "SAME_UPPER")
    elif auto == "VALID" or "pads" not in attrs:
        attrs["pads"] = [0] * (2 * n)


def _channels(graph: Graph, node: Node, weight: str) -> None:
    """Compare the channels of image, weight and groups, which inference leaves to the kernel."""
    groups = node.attrs.get("group", 1)
    image, (rows, columns) = graph.shape(node.inputs[0])[1], graph.shape(weight)[:2]
    wanted = rows if node.op == "ConvTranspose" else columns * groups
    if image != wanted or groups < 1 or rows % groups:
        raise ShapeError("the channels of image, weight and groups contradict each other", code="SHAPE_MISMATCH",
                         where=f"node {node.name!r} ({node.op})", limit=f"{wanted} channels in {groups} groups",
                         actual=f"{image} channels")


def _split(totals: list[int], upper: bool) -> list[int]:
    """Half of each total on either side; the odd one at the end (upper) or at the beginning."""
    small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return small + large if upper else large + small


def _transpose_pads(graph: Graph, node: Node, auto: str) -> None:
    attrs = node.attrs
    wanted = attrs.pop("output_shape", None)
    if wanted is None and auto not in ("SAME_UPPER", "SAME_LOWER"):
        if auto == "VALID" or "pads" not in attrs:
            attrs["pads"] = [0] * (2 * len(attrs["kernel_shape"]))
        return
    ins, outs = graph.shape(node.inputs[0])[2:], graph.shape(node.output)[2:]
    totals: list[int] = []
    for k, (size, out) in enumerate(zip(ins, outs, strict=True)):
        natural = attrs["strides"][k] * (size - 1) + attrs["output_padding"][k] \
            + (attrs["kernel_shape"][k] - 1) * attrs["dilations"][k] + 1
        totals.append(max(natural - out, 0))
        attrs["output_padding"][k] += max(out - natural, 0)
    attrs["pads"] = _split(totals, auto == "SAME_UPPER")


def _close_ceil(graph: Graph, node: Node) -> None:
    """Turn ceil_mode into padding at the end where padding is not counted, so that lowering sees plain windows."""
    attrs: dict[str, Any] = node.attrs
    counted = node.op == "AveragePool" and attrs.get("count_include_pad")
    if not attrs.get("ceil_mode") or node.op == "LpPool":
        return
    n = len(attrs["kernel_shape"])
    pads, excess = list(attrs["pads"]), False
    sizes, outs = graph.shape(node.inputs[0])[2:], graph.shape(node.output)[2:]
    for k in range(n):
        reach = (outs[k] - 1) * attrs["strides"][k] + (attrs["kernel_shape"][k] - 1) * attrs["dilations"][k] + 1
        missing = reach - (sizes[k] + pads[k] + pads[n + k])
        excess = excess or missing > 0
        pads[n + k] += max(missing, 0)
    if excess and counted:
        return
    attrs["pads"], attrs["ceil_mode"] = pads, 0
