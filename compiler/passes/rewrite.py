"""Small steps that several passes share: rewriting to a fixed point, reading constants, making and merging nodes."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from compiler.ir import Graph, Node


def settle(graph: Graph, rewrite: Callable[[Graph, Node], int]) -> int:
    """Offer every node to `rewrite`, which says how much it changed, until nothing changes; the sum of it all."""
    total = 0
    while changed := sum(rewrite(graph, node) for node in graph):
        total += changed
        graph.remove_dead()
    return total


def scalar(graph: Graph, name: str) -> float | None:
    """The value of a constant whose elements are all one number, else None."""
    array = graph.const(name)
    if array is None or array.size == 0 or array.dtype == object:
        return None
    flat = array.reshape(-1) if array.size == 1 else array
    first = flat.flat[0]
    if array.size > 1 and not (array == first).all():
        return None
    return float(first)


def is_float(graph: Graph, name: str) -> bool:
    """Whether a value's elements are floating point numbers."""
    return "float" in graph.dtype(name)


def change(graph: Graph, node: Node, op: str, inputs: Sequence[str] | None = None,
           attrs: dict[str, Any] | None = None) -> Node:
    """Turn a node into another operator that computes the same outputs."""
    node.op = op
    node.domain = ""
    node.attrs = dict(attrs or {})
    if inputs is not None:
        graph.set_inputs(node, inputs)
    return node


def before(graph: Graph, anchor: Node, op: str, inputs: Sequence[str], shape: Iterable[int], dtype: str,
           attrs: dict[str, Any] | None = None, stem: str = "") -> str:
    """Insert a node with one new value just before `anchor`; returns the value's name."""
    output = graph.add_value(graph.fresh_name(stem or f"{anchor.output}_{op.lower()}"), shape, dtype)
    graph.insert_before(anchor, op, inputs, [output], attrs)
    return output


def adopt(node: Node, *others: Node) -> None:
    """Add the sources of nodes that `node` now stands for, each once, theirs first (they come earlier in the model)."""
    merged = [s for other in others for s in other.sources] + node.sources
    node.sources = list(dict.fromkeys(merged))


def move(graph: Graph, node: Node, after: Node) -> None:
    """Put a node just behind another one in the order."""
    graph.nodes.remove(node)
    graph.nodes.insert(graph.nodes.index(after) + 1, node)


def int_const(graph: Graph, values: Sequence[int], stem: str) -> str:
    """A new int64 constant vector."""
    return graph.add_const(np.array(list(values), np.int64), stem)


def reshape(graph: Graph, anchor: Node, source: str, shape: Sequence[int]) -> str:
    """Insert a Reshape of `source` before `anchor`, or nothing when the shape is there already."""
    if tuple(shape) == graph.shape(source):
        return source
    target = int_const(graph, shape, f"{source}_shape")
    return before(graph, anchor, "Reshape", [source, target], shape, graph.dtype(source), {"allowzero": 0})


def to_reshape(graph: Graph, node: Node, source: str) -> Node:
    """Turn a node into a Reshape of `source` to its output's shape."""
    shape = int_const(graph, graph.shape(node.output), f"{node.output}_shape")
    return change(graph, node, "Reshape", [source, shape], {"allowzero": 0})
