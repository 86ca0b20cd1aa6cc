"""Squared distances as exporters of clustering write them: |x|^2 - 2 x c + |c|^2.

Near a centre almost all of it cancels, and what a product in bfloat16 rounds off is larger than the distance: it may
even be negative, its root NaN. The product keeps the accuracy of float32, as the kernels of `expand_svm.py` do.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.expansion import Expansion
from compiler.passes.split_products import product


def gemm(graph: Graph, node: Node) -> bool:
    """alpha x C + beta D with constant centres C, to which the squared lengths of the rows of x are added."""
    x, centres = node.inputs[0], graph.const(node.inputs[1])
    if centres is None or node.attrs.get("transA") or graph.dtype(x) != "float32" or not _is_distance(graph, node):
        return False
    f = Expansion(graph, node)
    alpha, beta = np.float32(node.attrs.get("alpha", 1.0)), float(node.attrs.get("beta", 1.0))
    total = product(f, x, alpha * (centres.T if node.attrs.get("transB") else centres))
    if node.input(2):
        total = f.add(total, f.mul(node.input(2), beta))
    return f.finish([total])


def _is_distance(graph: Graph, node: Node) -> bool:
    """Whether the result is added to the sums of squares of the first operand."""
    sums = (i for reader in graph.consumers(node.output) if reader.op == "Add" for i in reader.inputs)
    return any(_squares(graph, i) == node.inputs[0] for i in sums)


def _squares(graph: Graph, name: str) -> str:
    """The value whose squares a value sums up, before its reduction is expanded or after; "" for anything else."""
    node = graph.producer(name)
    if node is None or node.op not in ("ReduceSum", "ReduceSumSquare"):
        return ""
    if node.op == "ReduceSumSquare":
        return node.inputs[0]
    inner = graph.producer(node.inputs[0])
    return inner.inputs[0] if inner is not None and inner.op == "Mul" and len(set(inner.inputs)) == 1 else ""


RULES: dict[str, Callable[[Graph, Node], bool]] = {"Gemm": gemm}
