"""Expansions of pointwise operators: conversions by example, bounds known at run time, dropout at inference."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.rewrite import before, change, scalar


def _cast_like(graph: Graph, node: Node) -> bool:
    """The type of the second operand is known: a Cast."""
    from onnx.helper import np_dtype_to_tensor_dtype

    from compiler.ir import numpy_dtype
    to = int(np_dtype_to_tensor_dtype(numpy_dtype(graph.dtype(node.output))))
    change(graph, node, "Cast", node.inputs[:1], {**node.attrs, "to": to})
    return True


def _clip(graph: Graph, node: Node) -> bool:
    """Bounds that are computed, or of 32-bit integers: the smaller of `high` and the larger of `low` and x."""
    low, high = node.input(1), node.input(2)
    if not low and not high:
        return False
    wide = graph.dtype(node.output) in ("int32", "uint32", "int64", "uint64")
    if not wide and all(not bound or graph.is_const(bound) for bound in (low, high)):
        return False
    x = node.inputs[0]
    if low and high:
        x = before(graph, node, "Max", [x, low], graph.shape(x), graph.dtype(x))
    change(graph, node, "Min" if high else "Max", [x, high or low])
    return True


def _dropout(graph: Graph, node: Node) -> bool:
    """At inference nothing is dropped: the mask is all true."""
    mode, ratio = node.input(2), node.input(1)
    training = scalar(graph, mode) if mode else 0.0
    if training is None or (training and (not ratio or scalar(graph, ratio) != 0.0)):
        return False
    for mask in filter(None, node.outputs[1:]):
        graph.make_const(mask, np.broadcast_to(np.bool_(True), graph.shape(mask)))
    graph.set_outputs(node, node.outputs[:1])
    if node.output:
        change(graph, node, "Identity", node.inputs[:1])
    return True


RULES: dict[str, Callable[[Graph, Node], bool]] = {
    "CastLike": _cast_like,
    "Clip": _clip,
    "Dropout": _dropout,
}
