"""A Pad with zeros in front of a convolution or a pool becomes that operator's own padding."""
from __future__ import annotations

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.rewrite import adopt, scalar


def run(graph: Graph) -> int:
    """Returns the number of folded pads."""
    folded = 0
    for node in graph:
        if node.op in ("Conv", "MaxPool", "AveragePool") and not node.domain:
            folded += _fold(graph, node)
    if folded:
        graph.remove_dead()
    return folded


def _fold(graph: Graph, node: Node) -> int:
    pad = graph.producer(node.inputs[0])
    if pad is None or pad.op != "Pad" or graph.only_consumer(pad.output) is not node:
        return 0
    if pad.attrs.get("mode", "constant") != "constant" or not _fills(graph, pad, node):
        return 0
    amounts = _amounts(graph, pad)
    rank = len(graph.shape(pad.output))
    if amounts is None or (amounts < 0).any() or amounts[[0, 1, rank, rank + 1]].any():
        return 0
    if node.attrs.get("ceil_mode"):
        return 0
    spatial = np.concatenate([amounts[2:rank], amounts[rank + 2:]])
    if node.op == "AveragePool" and any(node.attrs["pads"]) and not node.attrs.get("count_include_pad"):
        return 0
    if node.op == "AveragePool":
        node.attrs["count_include_pad"] = 1
    node.attrs["pads"] = [int(a + b) for a, b in zip(node.attrs["pads"], spatial, strict=True)]
    adopt(node, pad)
    graph.set_input(node, 0, pad.inputs[0])
    return 1


def _fills(graph: Graph, pad: Node, node: Node) -> bool:
    """Whether the padding value is what the operator itself pads with: 0, for a maximum the lowest number.

    A maximum over numbers that are not negative may be padded with zeros too, as long as every window has one of them.
    """
    value = scalar(graph, pad.input(2)) if pad.input(2) else 0.0
    if node.op != "MaxPool":
        return value == 0.0
    if value is None or len(node.outputs) != 1:
        return False
    return value <= float(np.finfo(np.float32).min) or (
        value == 0.0 and not_negative(graph, pad.inputs[0]) and _always_inside(graph, pad, node))


def not_negative(graph: Graph, name: str) -> bool:
    """Whether the operator that makes a value makes no number below zero."""
    source = graph.producer(name)
    if source is None or source.domain:
        return False
    if source.op == "Clip":
        low = scalar(graph, source.input(1)) if source.input(1) else None
        return low is not None and low >= 0
    return source.op in ("Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt")


def _always_inside(graph: Graph, pad: Node, node: Node) -> bool:
    """Whether no window lies in padding altogether."""
    amounts, rank = _amounts(graph, pad), len(graph.shape(pad.output))
    if amounts is None or any(d != 1 for d in node.attrs["dilations"]):
        return False
    spatial = np.concatenate([amounts[2:rank], amounts[rank + 2:]]) + node.attrs["pads"]
    return bool((spatial < node.attrs["kernel_shape"] * 2).all())


def _amounts(graph: Graph, pad: Node) -> np.ndarray | None:
    given, axes = graph.const(pad.input(1)), graph.const(pad.input(3))
    if given is None or (pad.input(3) and axes is None):
        return None
    if axes is None:
        return given
    rank = len(graph.shape(pad.output))
    full = np.zeros(2 * rank, np.int64)
    for k, axis in enumerate(int(a) % rank for a in axes):
        full[axis], full[rank + axis] = given[k], given[len(axes) + k]
    return full
