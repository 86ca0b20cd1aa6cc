"""Long vectors in rows: what lies in one partition, or a few, is computed by all of them.

A value of shape [.., n] with few leading elements and many in the last axis has the leading axes on partitions.
Pointwise operators, reductions and Softmax along it are computed as [lead, rows, n / rows], or in the shape it was
flattened from.
"""
from __future__ import annotations

from math import prod

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes import remove_identities
from compiler.passes.expansion import Expansion
from compiler.windows import POINTWISE
from isa.word import PARTITIONS

#: elements of a row, and rows of a value, from and up to which it is worth the two moves: an engine takes as long for
#: the elements of one partition as for those of all, a transfer through DRAM about 4 us (2000 cycles and more)
LONG, FEW = 8192, 16
#: a value is left as it is unless its longest partition becomes this many times shorter
GAIN = 4
_SINGLE = frozenset(POINTWISE) - {"Affine", "Concat", "LRN"}
_REDUCTIONS = frozenset({"ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"})


def run(graph: Graph) -> int:
    """Returns the number of operators that compute rows now."""
    changed = sum(_rewrite(graph, node) for node in graph if not node.domain and len(node.outputs) == 1)
    if changed:
        remove_identities.run(graph)  # neighbours hand rows to each other
    return changed


def _rewrite(graph: Graph, node: Node) -> int:
    if node.op in _REDUCTIONS or node.op in ("Softmax", "LogSoftmax"):
        return _along(graph, node)
    if node.op == "Affine" or node.op in _SINGLE:
        return _pointwise(graph, node)
    return 0


def is_long(shape: tuple[int, ...]) -> bool:
    """Whether a value of this shape is a long vector, or a few of them."""
    return bool(shape) and shape[-1] >= LONG and prod(shape[:-1]) <= FEW


def rows_of(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """[lead, rows, width] of a long vector with the shortest longest partition; None when it is none, or no better."""
    if not is_long(shape):
        return None
    lead, n = prod(shape[:-1]), shape[-1]
    divisors = [d for d in range(1, 8 * PARTITIONS + 1) if n % d == 0]
    rows = min(divisors, key=lambda d: (-(-lead * d // PARTITIONS) * (n // d), d))
    deepest = -(-lead * rows // PARTITIONS) * (n // rows)
    return (lead, rows, n // rows) if deepest * GAIN <= n else None


def _pointwise(graph: Graph, node: Node) -> int:
    shape = graph.shape(node.output)
    rows = rows_of(shape)
    steps = node.attrs.get("epilogue", ())
    if rows is None or any(step[0] not in ("act", "clip", "add") for step in steps):
        return 0
    if node.op == "Affine":
        return _affine(graph, node, rows)
    if any(i and graph.shape(i) != shape and (graph.value(i).size != 1 or len(graph.shape(i)) > 2)
           for i in node.inputs):
        return 0
    same = [i for i in node.inputs if i and graph.shape(i) == shape]
    form = next((seen for i in same if (seen := _made_from(graph, i))), rows)
    f = Expansion(graph, node)
    operands = [_seen(f, i, form) if i in same else i for i in node.inputs]
    f.finish([f.reshape(f.op(node.op, operands, form, graph.dtype(node.output), **node.attrs), shape)])
    return 1


def _made_from(graph: Graph, name: str) -> tuple[int, ...] | None:
    """The shape a long vector was flattened from, where that has its elements on many partitions."""
    view = graph.producer(name)
    if view is None or view.op not in ("Reshape", "Flatten"):
        return None
    shape = graph.shape(view.inputs[0])
    lanes = max(shape[:-1], default=1) if len(shape) > 3 else prod(shape[:-1])
    return shape if lanes * GAIN >= PARTITIONS else None


def _seen(f: Expansion, name: str, form: tuple[int, ...]) -> str:
    """A value, or a constant, in another shape."""
    array = f.graph.const(name)
    return f.reshape(name, form) if array is None else f.const(array.reshape(form))


def _affine(graph: Graph, node: Node, rows: tuple[int, int, int]) -> int:
    """x * scale + shift with one number for each element of [1, n] (axis 1)."""
    x, shape = node.inputs[0], graph.shape(node.output)
    if len(shape) != 2 or shape[0] != 1:
        return 0
    f = Expansion(graph, node)
    scale, shift = (graph.const(i) for i in node.inputs[1:3])
    assert scale is not None and shift is not None  # an Affine's numbers are known
    y = f.reshape(x, rows)
    if (scale != 1).any():
        y = f.binary("Mul", y, f.const(scale.reshape(rows)))
    steps = {k: v for k, v in node.attrs.items() if k == "epilogue"}
    extra = [_seen(f, i, rows) for i in node.inputs[3:]]
    moved = [(*s[:1], s[1] - 1, *s[2:]) if s[0] == "add" else s for s in steps.get("epilogue", ())]
    steps = {"epilogue": moved} if steps else {}
    f.finish([f.reshape(f.op("Add", [y, f.const(shift.reshape(rows)), *extra], rows, **steps), shape)])
    return 1


def _along(graph: Graph, node: Node) -> int:
    """A reduction over a long axis, or a Softmax along it, over the rows and along them."""
    x, shape = node.inputs[0], graph.shape(node.inputs[0])
    rows = rows_of(shape)
    if rows is None or node.attrs.get("epilogue"):
        return 0
    f = Expansion(graph, node)
    if node.op in _REDUCTIONS:
        if _axes(graph, node, len(shape)) != [len(shape) - 1]:
            return 0
        f.finish([f.reshape(f.reduce(node.op, f.reshape(x, rows), (1, 2)), graph.shape(node.output))])
        return 1
    if node.attrs.get("axis", -1) % len(shape) != len(shape) - 1 or "float" not in graph.dtype(x):
        return 0
    seen = f.reshape(x, rows)
    below = f.sub(seen, f.reduce("ReduceMax", seen, (1, 2)))
    parts = f.unary("Exp", below)
    total = f.reduce("ReduceSum", parts, (1, 2))
    result = f.binary("Div", parts, total) if node.op == "Softmax" else f.sub(below, f.unary("Log", total))
    f.finish([f.reshape(result, shape)])
    return 1


def _axes(graph: Graph, node: Node, rank: int) -> list[int]:
    known = graph.const(node.input(1))
    axes = np.asarray(node.attrs.get("axes", ()) if known is None else known).reshape(-1)
    return sorted({int(a) % rank for a in axes}) or list(range(rank))
