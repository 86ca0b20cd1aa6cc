"""Residual sums, activations, clips and comparisons into the node whose result they are applied to.

A step joins when it is the only reader of the result. The residual operand may be computed later than the product: the
product then moves to the place of the sum. After an activation or a clip nothing more joins, after a comparison of a
convolution with a number for each channel only a cast of the answers, which makes 1 and 0 of them in its own type.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.rewrite import scalar

_ANCHORS = frozenset({"Conv", "ConvTranspose", "MatMul", "Affine", "Add"})
_ACTIVATIONS = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Silu": "silu", "Softplus": "softplus", "Mish": "mish",
    "Exp": "exp", "Sqrt": "sqrt", "Erf": "erf", "Abs": "abs",
}

#: What compares the node's result with a constant, and how the engines call it.
_COMPARISONS = {"Greater": "is_gt", "GreaterOrEqual": "is_ge", "Less": "is_lt", "LessOrEqual": "is_le"}
#: Types that hold 1 and 0 whoever writes them.
_NUMBERS = frozenset({"bfloat16", "float16", "float32"})

Step = tuple[Any, ...]


def run(graph: Graph) -> int:
    """Returns the number of nodes that became steps."""
    fused = 0
    for node in graph:
        if node.domain or not any(node.outputs) or "epilogue" in node.attrs:
            continue
        if node.op == "Add":
            fused += _join_residual(graph, node)
        elif node.op in _COMPARISONS:
            fused += _join_comparison(graph, node)
        else:
            fused += _join_cast(graph, node) if node.op == "Cast" else _join_pointwise(graph, node)
    if fused:
        graph.remove_dead()
    return fused


def _anchor(graph: Graph, name: str, reader: Node) -> Node | None:
    """The node that can take another step in its epilogue before `reader`."""
    node = graph.producer(name)
    if node is None or node.domain or node.op not in _ANCHORS or graph.only_consumer(name) is not reader:
        return None
    if "float" not in graph.dtype(name):
        return None
    steps = node.attrs.get("epilogue", ())
    return node if all(step[0] in ("bias", "add") for step in steps) else None


def _join_pointwise(graph: Graph, node: Node) -> int:
    step = _step(graph, node)
    anchor = _anchor(graph, node.inputs[0], node) if step and node.inputs else None
    if anchor is None or step is None:
        return 0
    _take(graph, anchor, node, step)
    return 1


def _step(graph: Graph, node: Node) -> Step | None:
    if node.op in _ACTIVATIONS:
        return ("act", _ACTIVATIONS[node.op], {})
    if node.op == "Gelu":
        return ("act", "gelu_tanh" if node.attrs.get("approximate") == "tanh" else "gelu", {})
    if node.op == "LeakyRelu":
        return ("act", "prelu", {"alpha": float(node.attrs["alpha"])})
    if node.op == "Clip":
        low = scalar(graph, node.input(1)) if node.input(1) else -math.inf
        high = scalar(graph, node.input(2)) if node.input(2) else math.inf
        return None if low is None or high is None else ("clip", low, high)
    return None


def _join_comparison(graph: Graph, node: Node) -> int:
    """Compare(convolution, constant) with one number for each channel, or one for all."""
    anchor = _anchor(graph, node.inputs[0], node)
    limit = graph.const(node.inputs[1])
    if anchor is None or anchor.op != "Conv" or limit is None or anchor.attrs.get("epilogue"):
        return 0
    shape = graph.shape(node.output)
    wanted = tuple(n if axis == 1 else 1 for axis, n in enumerate(shape))
    if graph.dtype(node.inputs[0]) != "float32" or limit.shape not in (wanted, (), (1,)) or shape != graph.shape(
            anchor.output):
        return 0
    vector = np.broadcast_to(limit.astype(np.float32), wanted).reshape(-1)
    name = graph.add_const(vector, f"{node.name}_limit")
    graph.set_inputs(anchor, [*anchor.inputs, name])
    _take(graph, anchor, node, ("compare", len(anchor.inputs) - 1, _COMPARISONS[node.op]))
    return 1


def _join_cast(graph: Graph, node: Node) -> int:
    """A cast of the answers of a comparison that joined."""
    anchor = graph.producer(node.inputs[0])
    if anchor is None or anchor.domain or graph.only_consumer(node.inputs[0]) is not node:
        return 0
    steps = anchor.attrs.get("epilogue", ())
    if not steps or steps[-1][0] != "compare" or graph.dtype(node.output) not in _NUMBERS:
        return 0
    _take(graph, anchor, node, ("as", graph.dtype(node.output)))
    return 1


def _join_residual(graph: Graph, node: Node) -> int:
    """Add(product, other) where `other` has the result's full shape; the later product takes the sum."""
    shape = graph.shape(node.output)
    choices: list[tuple[Node, str]] = []
    for name, other in (node.inputs, node.inputs[::-1]):
        anchor = _anchor(graph, name, node)
        if anchor is None or anchor.op in ("Add", "Affine") or other == name:
            continue
        if graph.shape(name) == shape and graph.shape(other) == shape and not graph.is_const(other) \
                and not any(step[0] == "add" for step in anchor.attrs.get("epilogue", ())):
            choices.append((anchor, other))
    if not choices:
        return 0
    anchor, other = choices[0] if len(choices) == 1 else max(choices, key=lambda c: graph.nodes.index(c[0]))
    graph.set_inputs(anchor, [*anchor.inputs, other])
    _take(graph, anchor, node, ("add", len(anchor.inputs) - 1))
    return 1


def _take(graph: Graph, anchor: Node, node: Node, step: Step) -> None:
    """Make `step` the anchor's last one; the anchor then computes the node's output, at the node's place."""
    anchor.attrs["epilogue"] = [*anchor.attrs.get("epilogue", ()), step]
    anchor.sources = list(dict.fromkeys([*anchor.sources, *node.sources]))
    output, inner = node.output, anchor.output
    place = graph.nodes.index(node)
    graph.remove(node)
    graph.set_outputs(anchor, [output])
    graph.nodes.remove(anchor)
    graph.nodes.insert(place - 1, anchor)
    del graph.values[inner]
