"""Residual sums, activations and clips into the node whose result they are applied to.

A step joins when it is the only reader of the result. The residual operand may be computed later than the product: the
product then moves to the place of the sum. After an activation or a clip nothing more joins.
"""
from __future__ import annotations

import math
from typing import Any

from compiler.ir import Graph, Node
from compiler.passes.rewrite import scalar

_ANCHORS = frozenset({"Conv", "ConvTranspose", "MatMul", "Affine", "Add"})
_ACTIVATIONS = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Silu": "silu", "Softplus": "softplus", "Mish": "mish",
    "Exp": "exp", "Sqrt": "sqrt", "Erf": "erf", "Abs": "abs",
}

Step = tuple[Any, ...]


def run(graph: Graph) -> int:
    """Returns the number of nodes that became steps."""
    fused = 0
    for node in graph:
        if node.domain or not any(node.outputs) or "epilogue" in node.attrs:
            continue
        fused += _join_residual(graph, node) if node.op == "Add" else _join_pointwise(graph, node)
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


def _join_residual(graph: Graph, node: Node) -> int:
    """Add(product, other) where `other` has the result's full shape; the later product takes the sum."""
    order = {id(n): k for k, n in enumerate(graph.nodes)}
    shape = graph.shape(node.output)
    choices: list[tuple[int, Node, str]] = []
    for name, other in (node.inputs, node.inputs[::-1]):
        anchor = _anchor(graph, name, node)
        if anchor is None or anchor.op in ("Add", "Affine") or other == name:
            continue
        if graph.shape(name) == shape and graph.shape(other) == shape and not graph.is_const(other) \
                and not any(step[0] == "add" for step in anchor.attrs.get("epilogue", ())):
            choices.append((order[id(anchor)], anchor, other))
    if not choices:
        return 0
    _, anchor, other = max(choices, key=lambda c: c[0])
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
