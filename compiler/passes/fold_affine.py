"""Affine, and products or sums with a constant for each column, into the weight and bias of the product before them.

Weights are multiplied in float64 and rounded once to their own type.
"""
from __future__ import annotations

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.rewrite import adopt
from compiler.verify import channels

_PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul"})


def run(graph: Graph) -> int:
    """Returns the number of folded nodes."""
    folded = 0
    for node in graph:
        if node.domain or not any(node.outputs) or node.op not in ("Affine", "Mul", "Add") or "epilogue" in node.attrs:
            continue
        folded += _fold(graph, node)
    if folded:
        graph.remove_dead()
    return folded


def _fold(graph: Graph, node: Node) -> int:
    producer = graph.producer(node.inputs[0])
    if producer is None or producer.op not in _PRODUCTS or graph.only_consumer(producer.output) is not node:
        return 0
    if graph.shape(producer.output) != graph.shape(node.output) or not _only_bias(producer):
        return 0
    found = _scale_and_shift(graph, node, producer)
    if found is None:
        return 0
    scale, shift = found
    weight = graph.const(producer.inputs[1])
    if scale is not None and (weight is None or graph.dtype(producer.inputs[1]) != graph.dtype(producer.output)):
        return 0  # a constant narrower than the result is part of an exact sum, which scaled numbers would round
    if scale is not None and weight is not None:
        _set_weight(graph, producer, weight, scale)
    _set_bias(graph, producer, scale, shift)
    adopt(producer, node)
    _order_sources(producer, node)
    output, inner = node.output, producer.output
    graph.remove(node)
    graph.set_outputs(producer, [output])  # the product now computes what the folded node did: it takes its name
    del graph.values[inner]
    return 1


def _order_sources(producer: Node, node: Node) -> None:
    """The producer comes first in the model."""
    producer.sources = list(dict.fromkeys([s for s in producer.sources if s not in node.sources] + node.sources))


def _only_bias(node: Node) -> bool:
    return all(step[0] == "bias" for step in node.attrs.get("epilogue", ()))


def _scale_and_shift(graph: Graph, node: Node, producer: Node) -> tuple[np.ndarray | None, np.ndarray | None] | None:
    """Vectors over the producer's channels; None in place of all ones or all zeros; None for no match."""
    length = channels(graph, producer)
    if node.op == "Affine":
        if producer.op == "MatMul" and len(graph.shape(node.output)) != 2:
            return None
        scale, shift = (_wide(graph.const(i)) for i in node.inputs[1:3])
        return (None if (scale == 1.0).all() else scale), shift
    array = graph.const(node.inputs[1])
    if array is None or not (array.size == 1 or (producer.op == "MatMul" and array.size == length
                                                 and array.shape[-1:] == (length,))):
        return None
    vector = np.broadcast_to(_wide(array).reshape(-1), (length,))
    return (vector, None) if node.op == "Mul" else (None, vector)


def _wide(array: np.ndarray | None) -> np.ndarray:
    assert array is not None
    return array.astype(np.float64)


def _set_weight(graph: Graph, node: Node, weight: np.ndarray, scale: np.ndarray) -> None:
    shaped = scale
    if node.op == "Conv":
        shaped = scale.reshape(-1, *([1] * (weight.ndim - 1)))
    elif node.op == "ConvTranspose":  # weight [in, out / group, ...]: the group of an input channel picks its outputs
        groups = node.attrs["group"]
        rows = np.repeat(scale.reshape(groups, -1), weight.shape[0] // groups, axis=0)
        shaped = rows.reshape(weight.shape[0], weight.shape[1], *([1] * (weight.ndim - 2)))
    scaled = np.multiply(weight, shaped, dtype=np.float64).astype(weight.dtype)
    graph.set_input(node, 1, graph.add_const(scaled, f"{node.inputs[1]}_folded"))


def _set_bias(graph: Graph, node: Node, scale: np.ndarray | None, shift: np.ndarray | None) -> None:
    length = channels(graph, node)
    total = np.zeros(length)
    for step in node.attrs.get("epilogue", ()):
        total = total + _wide(graph.const(node.inputs[step[1]])).reshape(-1)
    had_bias = bool(node.attrs.get("epilogue"))
    if scale is not None:
        total = total * scale
    if shift is not None:
        total = total + shift
    graph.set_inputs(node, node.inputs[:2])
    if had_bias or total.any():
        name = graph.add_const(total.astype(graph.dtype(node.output)), f"{node.output}_bias")
        graph.set_inputs(node, [*node.inputs, name])
        node.attrs["epilogue"] = [("bias", 2)]
