"""LayerNormalization as TensorFlow and Keras write it: x * s + (b - mean * s), s = scale / sqrt(variance + epsilon)."""
from __future__ import annotations

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes import recognise_layer_norm as plain
from compiler.passes.rewrite import change


def match(graph: Graph, node: Node) -> int:
    """Replace a sum that is a layer normalisation; returns how many were found, 0 or 1."""
    for left, right in (node.inputs, node.inputs[::-1]):
        product = graph.producer(left)
        if product is None or product.op != "Mul":
            continue
        for x, factor in (product.inputs, product.inputs[::-1]):
            if _replaced(graph, node, x, factor, right):
                return 1
    return 0


def _replaced(graph: Graph, node: Node, x: str, factor: str, shift: str) -> bool:
    spread = _spread(graph, x, factor)
    if spread is None:
        return False
    root, axes, epsilon = spread
    offset = _offset(graph, shift, x, factor, axes)
    shape = graph.shape(x)[axes[0]:]
    scale = None if root == factor else _across(graph, factor, root, shape)
    if offset is None or (root != factor and scale is None) or graph.shape(node.output) != graph.shape(x):
        return False
    bias = _broadcast(graph.const(offset), shape) if offset else None
    if offset and bias is None:
        return False
    inputs = [x, graph.add_const(np.ones(shape, graph.dtype(x)) if scale is None else scale, f"{node.output}_scale")]
    if bias is not None:
        inputs.append(graph.add_const(bias, f"{node.output}_bias"))
    covered = plain.covered(graph, node, x)
    change(graph, node, "LayerNormalization", inputs, {"axis": axes[0], "epsilon": epsilon, "stash_type": 1})
    node.sources = list(dict.fromkeys(s for n in [*covered, node] for s in n.sources))
    return True


def _spread(graph: Graph, x: str, factor: str) -> tuple[str, list[int], float] | None:
    """(1 / sqrt(variance of x + epsilon), axes, epsilon) when `factor` is that, or that times a constant."""
    made = graph.producer(factor)
    roots = [factor] + (list(made.inputs) if made is not None and made.op == "Mul" else [])
    for root in roots:
        found = plain.under_root(graph, graph.producer(root), inverse=True)
        spread = graph.producer(found[0]) if found is not None else None
        if found is None or spread is None or spread.op != "ReduceMean":
            continue
        square = graph.producer(spread.inputs[0])
        axes = plain.last_axes(graph, spread)
        if square is not None and axes and plain.is_square(graph, square, x):
            return root, axes, found[1]
    return None


def _across(graph: Graph, factor: str, root: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """The constant that `factor` is times `root`, in the normalised shape."""
    made = graph.producer(factor)
    others = [i for i in made.inputs if i != root] if made is not None else []
    return _broadcast(graph.const(others[0]), shape) if len(others) == 1 else None


def _broadcast(array: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    if array is None or any(d != 1 for d in array.shape[: max(0, array.ndim - len(shape))]):
        return None
    return np.ascontiguousarray(np.broadcast_to(array.reshape(array.shape[max(0, array.ndim - len(shape)):]), shape))


def _offset(graph: Graph, shift: str, x: str, factor: str, axes: list[int]) -> str | None:
    """The constant in b - mean(x) * factor, "" where there is none; None when `shift` is something else."""
    node = graph.producer(shift)
    if node is None:
        return None
    if node.op == "Sub" and graph.is_const(node.inputs[0]):
        return node.inputs[0] if _moved(graph, node.inputs[1], x, factor, axes) == 1 else None
    if node.op == "Add":
        for moved, offset in (node.inputs, node.inputs[::-1]):
            if graph.is_const(offset) and _moved(graph, moved, x, factor, axes) == -1:
                return offset
        return None
    return "" if _moved(graph, shift, x, factor, axes) == -1 else None


def _moved(graph: Graph, name: str, x: str, factor: str, axes: list[int]) -> int:
    """1 when a value is mean(x) * factor, -1 when it is that with the other sign, else 0."""
    node = graph.producer(name)
    if node is not None and node.op == "Neg":
        return -_moved(graph, node.inputs[0], x, factor, axes)
    if node is None or node.op != "Mul" or factor not in node.inputs:
        return 0
    mean, sign = next((i for i in node.inputs if i != factor), ""), 1
    made = graph.producer(mean)
    if made is not None and made.op == "Neg":
        made, sign = graph.producer(made.inputs[0]), -1
    same = made is not None and made.op == "ReduceMean" and made.inputs[0] == x and plain.last_axes(graph, made) == axes
    return sign if same else 0
