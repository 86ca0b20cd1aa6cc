"""Which values hold infinities or NaN by design: masks, missing features.

A transpose by the PE is a product with the identity, and 0 * inf is NaN: one infinity would spoil its whole tile. Such
values are moved by DMA instead. Infinities that arise by accident (an overflow, a division by zero) are not foreseen.
"""
from __future__ import annotations

import numpy as np

from compiler.ir import Graph, Node

#: operators whose result holds what is not finite in an operand
CARRY = frozenset({
    "Abs", "Add", "Cast", "Concat", "Div", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity",
    "Max", "Min", "Mul", "Neg", "Pad", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape", "Slice",
    "Split", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where",
})
#: operators that are only asked of values that may not be finite
QUESTIONS = frozenset({"IsInf", "IsNaN"})
#: operators whose result is the logarithm of what may be zero
SOURCES = frozenset({"Log"})


def nonfinite(graph: Graph) -> frozenset[str]:
    """Names of the values that may hold infinities or NaN by design, constants included."""
    found = {v.name for v in graph.constants() if _holds(v.const)}
    found |= _questioned(graph)
    for node in graph.nodes:
        if node.op in SOURCES or any(i in found for i in _carried(graph, node)):
            found.update(filter(None, node.outputs))
    return frozenset(found)


def _holds(array: np.ndarray | None) -> bool:
    return array is not None and array.dtype.kind in "fV" and not np.isfinite(array).all()


def _carried(graph: Graph, node: Node) -> list[str]:
    """Operands whose infinities reach the result: of a product only those that its epilogue adds."""
    if node.op == "Where" and _guarded(graph, node):
        return node.inputs[1:2]
    if node.op in CARRY:
        return node.inputs
    return [node.inputs[step[1]] for step in node.attrs.get("epilogue", ()) if step[0] in ("add", "bias")]


def _guarded(graph: Graph, node: Node) -> bool:
    """Whether a Where takes its last operand only where that is not NaN."""
    test = graph.producer(node.inputs[0])
    return test is not None and test.op == "IsNaN" and test.inputs[0] == node.inputs[2]


def _questioned(graph: Graph) -> set[str]:
    """Values that are asked whether they are finite, and what they are made of."""
    found: set[str] = set()
    for node in reversed(graph.nodes):
        if node.op in QUESTIONS or (node.op in CARRY and any(o in found for o in node.outputs)):
            found.update(filter(None, node.inputs))
    return found
