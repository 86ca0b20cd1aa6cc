"""Matching of small arithmetic trees regardless of how products are nested."""
from __future__ import annotations

import math
from dataclasses import dataclass

from compiler.ir import Graph, Node
from compiler.passes.rewrite import scalar


@dataclass
class Product:
    """factor * leaves[0] * leaves[1] * ...; `nodes` are the multiplications it was read from."""

    factor: float
    leaves: list[str]
    nodes: list[Node]


def product(graph: Graph, name: str, *, root: bool = True) -> Product:
    """Read a value as a product, through Mul, Div by a number, Pow by 2 or 3; inner results must have one reader."""
    node = graph.producer(name)
    if node is None or (not root and graph.only_consumer(name) is None and not _read_by_one(graph, name)):
        return Product(1.0, [name], [])
    number = scalar(graph, node.input(1)) if len(node.inputs) == 2 else None
    if node.op == "Mul":
        left, right = (_side(graph, i) for i in node.inputs)
        return Product(left.factor * right.factor, left.leaves + right.leaves, [node, *left.nodes, *right.nodes])
    if node.op == "Div" and number:
        inner = _side(graph, node.inputs[0])
        return Product(inner.factor / number, inner.leaves, [node, *inner.nodes])
    if node.op == "Pow" and number in (2.0, 3.0):
        inner = _side(graph, node.inputs[0])
        times = int(number)
        return Product(inner.factor ** times, inner.leaves * times, [node, *inner.nodes])
    return Product(1.0, [name], [])


def _side(graph: Graph, name: str) -> Product:
    number = scalar(graph, name)
    return product(graph, name, root=False) if number is None else Product(number, [], [])


def _read_by_one(graph: Graph, name: str) -> bool:
    return len(graph.consumers(name)) == 1 and name not in graph.outputs


def plus_one(graph: Graph, name: str, op: str) -> Node | None:
    """The node of type `op` in 1 + op(...), or None."""
    node = graph.producer(name)
    if node is None or node.op != "Add":
        return None
    for value, other in (node.inputs, node.inputs[::-1]):
        inner = graph.producer(value)
        if scalar(graph, other) == 1.0 and inner is not None and inner.op == op:
            return inner
    return None


def near(value: float, wanted: float) -> bool:
    """Equal as far as constants written in float16 or with few digits are."""
    return math.isclose(value, wanted, rel_tol=2e-4)


def same_const(graph: Graph, name: str, wanted: float) -> bool:
    """Whether a value is a constant near `wanted`."""
    number = scalar(graph, name)
    return number is not None and near(number, wanted)
