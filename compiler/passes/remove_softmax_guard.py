"""Drop Where(IsNaN(softmax(z)), c, softmax(z)) where softmax(z) cannot be NaN.

A row of a softmax is NaN only when it holds NaN or +inf, or nothing but -inf. Bounds on magnitudes rule these out: a
LayerNormalization of n numbers stays within sqrt(n) * |scale| + |bias|, a product with constant weights within their
row sums. The network's inputs and the input of a LayerNormalization are taken to be finite: where they are not, both
forms give a network of NaN.
"""
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.rewrite import adopt

#: Far enough below the largest float16 / float32 for rounding of bounds not to matter.
_LIMITS = {"float32": 1e38, "float64": 1e38, "bfloat16": 1e38, "float16": 3e4}
#: What a mask may add to the scores of the entries it keeps.
_LEAST = 1e4
_UNIT = frozenset({"Softmax", "Sigmoid", "Tanh", "Erf"})
_SAME = frozenset({"Reshape", "Transpose", "Slice", "Expand", "Relu", "Abs", "Identity", "Gather", "Concat", "Max",
                   "Min"})


def run(graph: Graph) -> int:
    """Returns the number of removed guards."""
    bounds = Bounds(graph)
    removed = 0
    for node in graph:
        if node.op == "Where" and not node.domain:
            removed += _guard(graph, node, bounds)
    if removed:
        graph.remove_dead()
    return removed


def _guard(graph: Graph, node: Node, bounds: Bounds) -> int:
    test, softmax = graph.producer(node.inputs[0]), graph.producer(node.inputs[2])
    if test is None or softmax is None or test.op != "IsNaN" or test.inputs[0] != node.inputs[2]:
        return 0
    if softmax.op != "Softmax" or graph.shape(softmax.output) != graph.shape(node.output):
        return 0
    limit = _LIMITS.get(graph.dtype(softmax.output), 0.0)
    if not bounds.of(_unmasked(graph, softmax, bounds)) < limit:
        return 0
    adopt(softmax, test, node)
    softmax.sources = list(dict.fromkeys(sorted(softmax.sources, key=lambda s: s in (*test.sources, *node.sources))))
    return int(graph.bypass(node, softmax.output))


def _unmasked(graph: Graph, softmax: Node, bounds: Bounds) -> str:
    """The operand of a softmax without a constant mask added to it that leaves something of every row."""
    total = graph.producer(softmax.inputs[0])
    if total is None or total.op != "Add":
        return softmax.inputs[0]
    for mask, scores in (total.inputs, total.inputs[::-1]):
        array = graph.const(mask)
        if array is None or np.isnan(array).any() or not bounds.of(scores) < math.inf:
            continue
        rows = np.isneginf(np.broadcast_to(array, graph.shape(total.output)))
        kept = np.where(np.isneginf(array), 0, array)
        if not rows.all(axis=softmax.attrs["axis"]).any() and float(np.abs(kept).max(initial=0.0)) < _LEAST:
            return scores
    return softmax.inputs[0]


class Bounds:
    """Upper bounds on |value|, inf where nothing is known; computed on demand and remembered."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.known: dict[str, float] = {}

    def of(self, name: str) -> float:
        """Bound of one value."""
        pending = [name]
        while pending:
            current = pending[-1]
            node = self.graph.producer(current)
            missing = [] if current in self.known or node is None or node.op not in _RULES else [
                i for i in node.inputs if i and i not in self.known]
            if missing:
                pending += missing
                continue
            if current not in self.known:
                self.known[current] = self._compute(current, node)
            pending.pop()
        return self.known[name]

    def _compute(self, name: str, node: Node | None) -> float:
        array = self.graph.const(name)
        if array is not None:
            bound = float(np.abs(array.astype(np.float64)).max(initial=0.0)) if array.dtype != object else math.inf
            return bound if bound == bound else math.inf
        if node is None or node.domain or node.op not in _RULES or "epilogue" in node.attrs:
            return math.inf
        bound = _RULES[node.op](self, node)
        return bound if bound == bound else math.inf

    def largest(self, node: Node) -> float:
        """Bound over all inputs."""
        return max(self.known[i] for i in node.inputs if i)


def _layer_norm(bounds: Bounds, node: Node) -> float:
    shape = bounds.graph.shape(node.inputs[0])
    count = math.prod(shape[node.attrs["axis"]:])
    bias = bounds.known[node.inputs[2]] if node.input(2) else 0.0
    return 1.01 * math.sqrt(count) * bounds.known[node.inputs[1]] + bias


def _matmul(bounds: Bounds, node: Node) -> float:
    left, right = node.inputs[:2]
    weight = bounds.graph.const(right)
    if weight is not None:
        return 1.01 * bounds.known[left] * float(np.abs(weight.astype(np.float64)).sum(axis=-2).max(initial=0.0))
    return 1.01 * bounds.known[left] * bounds.known[right] * bounds.graph.shape(left)[-1]


def _product(bounds: Bounds, node: Node) -> float:
    return bounds.known[node.inputs[0]] * bounds.known[node.inputs[1]]


_RULES: dict[str, Callable[[Bounds, Node], float]] = {
    **{op: lambda bounds, node: 1.0 for op in _UNIT},
    **{op: lambda bounds, node: bounds.largest(node) for op in _SAME},
    "LayerNormalization": _layer_norm,
    "MatMul": _matmul,
    "Add": lambda bounds, node: bounds.known[node.inputs[0]] + bounds.known[node.inputs[1]],
    "Mul": _product,
    "Where": lambda bounds, node: max(bounds.known[node.inputs[1]], bounds.known[node.inputs[2]]),
}
