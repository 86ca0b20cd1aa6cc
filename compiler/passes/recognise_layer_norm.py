"""LayerNormalization from mean, difference, variance, root and quotient."""
from __future__ import annotations

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.rewrite import change, scalar


def run(graph: Graph) -> int:
    """Returns the number of normalisations found."""
    from compiler.passes import factored_norm

    found = 0
    for node in graph:
        if node.op in ("Add", "Div", "Mul") and not node.domain and any(node.outputs):
            found += factored_norm.match(graph, node) if node.op == "Add" else _match(graph, node)
            graph.remove_dead()
    return found


def _match(graph: Graph, node: Node) -> int:
    for centred, other in (node.inputs, node.inputs[::-1]) if node.op == "Mul" else (node.inputs,):
        root = graph.producer(other)
        variance = under_root(graph, root, inverse=node.op == "Mul")
        if variance is None:
            continue
        normalised = _centred(graph, centred, *variance)
        if normalised is not None:
            _build(graph, node, *normalised, covered=covered(graph, node, normalised[0]))
            return 1
    return 0


def under_root(graph: Graph, node: Node | None, *, inverse: bool) -> tuple[str, float] | None:
    """(variance, epsilon) of sqrt(variance + epsilon), of one over it for `inverse`."""
    if node is None:
        return None
    if inverse:
        if node.op == "Reciprocal" or (node.op == "Div" and scalar(graph, node.inputs[0]) == 1.0):
            return under_root(graph, graph.producer(node.inputs[-1]), inverse=False)
        if node.op != "Pow" or scalar(graph, node.inputs[1]) != -0.5:
            return None
    elif node.op != "Sqrt" and not (node.op == "Pow" and scalar(graph, node.inputs[1]) == 0.5):
        return None
    total = graph.producer(node.inputs[0])
    if total is None or total.op != "Add":
        return None
    for variance, other in (total.inputs, total.inputs[::-1]):
        epsilon = scalar(graph, other)
        if epsilon is not None and epsilon > 0:
            return variance, epsilon
    return None


def _centred(graph: Graph, name: str, variance: str, epsilon: float) -> tuple[str, int, float] | None:
    """(x, axis, epsilon) when `name` is x - mean(x) and `variance` is the mean of its square over the same axes."""
    x = _minus_mean(graph, name)
    spread = graph.producer(variance)
    if x is None or spread is None or spread.op != "ReduceMean":
        return None
    square = graph.producer(spread.inputs[0])
    if square is None or not is_square(graph, square, x[0]):
        return None
    axes = last_axes(graph, spread)
    return (x[0], axes[0], epsilon) if axes and axes == x[1] else None


def _minus_mean(graph: Graph, name: str) -> tuple[str, list[int]] | None:
    node = graph.producer(name)
    if node is None or node.op != "Sub":
        return None
    mean = graph.producer(node.inputs[1])
    if mean is None or mean.op != "ReduceMean" or mean.inputs[0] != node.inputs[0]:
        return None
    axes = last_axes(graph, mean)
    return (node.inputs[0], axes) if axes else None


def is_square(graph: Graph, node: Node, x: str) -> bool:
    """Whether a node makes the square of x - mean(x)."""
    if node.op == "Pow" and scalar(graph, node.inputs[1]) == 2.0:
        sides = [node.inputs[0]]
    elif node.op == "Mul":
        sides = node.inputs
    else:
        return False
    return all((found := _minus_mean(graph, side)) is not None and found[0] == x for side in sides) \
        and len(set(sides)) == 1


def last_axes(graph: Graph, node: Node) -> list[int]:
    """The reduced axes when they are the last ones and kept, else []."""
    array, rank = graph.const(node.input(1)), len(graph.shape(node.inputs[0]))
    if array is None or not node.attrs.get("keepdims", 1):
        return []
    axes = sorted(int(a) % rank for a in array.reshape(-1))
    return axes if axes == list(range(rank - len(axes), rank)) else []


def _build(graph: Graph, node: Node, x: str, axis: int, epsilon: float, covered: list[Node]) -> None:
    shape, dtype = graph.shape(x)[axis:], graph.dtype(x)
    scale, after = _parameter(graph, node, "Mul", shape)
    offset, last = _parameter(graph, after, "Add", shape)
    inputs = [x, graph.add_const(np.ones(shape, dtype) if scale is None else scale, f"{last.output}_scale")]
    if offset is not None:
        inputs.append(graph.add_const(offset, f"{last.output}_bias"))
    extra = [n for n in (node, after, last) if n is not last]
    change(graph, last, "LayerNormalization", inputs, {"axis": axis, "epsilon": epsilon, "stash_type": 1})
    last.sources = list(dict.fromkeys(s for n in [*covered, *extra, last] for s in n.sources))


def _parameter(graph: Graph, node: Node, op: str, shape: tuple[int, ...]) -> tuple[np.ndarray | None, Node]:
    """A constant of the normalised shape applied by the only reader of `node`, and the node it then ends with."""
    reader = graph.only_consumer(node.output)
    if reader is None or reader.op != op or len(reader.inputs) != 2:
        return None, node
    array = graph.const(reader.inputs[1 - reader.inputs.index(node.output)])
    if array is None or graph.shape(reader.output) != graph.shape(node.output):
        return None, node
    squeezed = array.reshape(array.shape[max(0, array.ndim - len(shape)):])
    if squeezed.size != array.size or squeezed.ndim > len(shape):
        return None, node
    return np.ascontiguousarray(np.broadcast_to(squeezed, shape)), reader


def covered(graph: Graph, node: Node, x: str) -> list[Node]:
    """The nodes between `x` and a node, in the graph's order."""
    found: list[Node] = []
    stack = list(node.inputs)
    while stack:
        name = stack.pop()
        producer = graph.producer(name)
        if name != x and producer is not None and producer not in found:
            found.append(producer)
            stack += [i for i in producer.inputs if i]
    return sorted(found, key=graph.nodes.index)
