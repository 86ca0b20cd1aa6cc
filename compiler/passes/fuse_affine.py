"""BatchNormalization and products or sums with one constant for each channel as `Affine`; neighbours are merged.

y = x * scale[c] + shift[c] along axis 1. Parameters are computed in float64 and rounded once.
"""
from __future__ import annotations

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.rewrite import adopt, change, scalar

_MERGED = frozenset({"Affine", "Conv", "ConvTranspose"})


def run(graph: Graph) -> int:
    """Returns the number of rewrites."""
    changed = 0
    for node in graph:
        if node.op == "BatchNormalization" and not node.domain:
            changed += batch_norm(graph, node)
        elif node.op in ("Mul", "Add") and not node.domain and "epilogue" not in node.attrs:
            changed += _from_binary(graph, node)
    for node in graph:
        if node.op == "Affine" and any(node.outputs):
            changed += _merge(graph, node)
    if changed:
        graph.remove_dead()
    return changed


def batch_norm(graph: Graph, node: Node) -> int:
    """BatchNormalization with known parameters as an Affine; returns 0, and changes nothing, for others."""
    if node.attrs.get("training_mode"):
        return 0  # means of the data itself: not an Affine
    arrays = [graph.const(i) for i in node.inputs[1:5]]
    if any(a is None for a in arrays) or len(graph.shape(node.inputs[0])) < 2:
        return 0
    gamma, beta, mean, variance = (a.astype(np.float64) for a in arrays if a is not None)
    factor = gamma / np.sqrt(variance + node.attrs.get("epsilon", 1e-5))
    _set(graph, node, node.inputs[0], factor, beta - mean * factor)
    return 1


def _set(graph: Graph, node: Node, x: str, factor: np.ndarray, shift: np.ndarray) -> None:
    dtype = graph.dtype(x)
    names = [graph.add_const(a.astype(dtype), f"{node.output}_{what}")
             for a, what in ((factor, "scale"), (shift, "shift"))]
    kept = {k: v for k, v in node.attrs.items() if k == "epilogue"}
    change(graph, node, "Affine", [x, *names], kept)


def _from_binary(graph: Graph, node: Node) -> int:
    """Mul or Add with a [C,1,...] constant; with a single number only beside something it will merge into."""
    x, other = node.inputs
    vector = per_channel(graph, other, graph.shape(x))
    if vector is None or graph.is_const(x) or graph.dtype(x) not in ("float32", "float16", "bfloat16", "float64") \
            or graph.shape(x) != graph.shape(node.output):
        return 0
    if scalar(graph, other) is not None and graph.value(other).size == 1 and not _has_partner(graph, node):
        return 0
    one, zero = np.ones_like(vector), np.zeros_like(vector)
    _set(graph, node, x, *((vector, zero) if node.op == "Mul" else (one, vector)))
    return 1


def per_channel(graph: Graph, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """A constant that varies along axis 1 of `shape` only, as a float64 vector; None for any other value."""
    array = graph.const(name)
    if array is None or len(shape) < 2 or array.ndim > len(shape) or array.size not in (1, shape[1]):
        return None
    aligned = (1,) * (len(shape) - array.ndim) + array.shape
    if array.size > 1 and aligned[1] != shape[1]:
        return None
    return np.broadcast_to(array.reshape(-1), (shape[1],)).astype(np.float64)


def _has_partner(graph: Graph, node: Node) -> bool:
    producer = graph.producer(node.inputs[0])
    if producer is not None and producer.op in _MERGED and graph.only_consumer(producer.output) is node \
            and all(step[0] == "bias" for step in producer.attrs.get("epilogue", ())):
        return True
    reader = graph.only_consumer(node.output)
    return reader is not None and reader.op in ("Affine", "BatchNormalization") and reader.inputs[0] == node.output


def _merge(graph: Graph, node: Node) -> int:
    """Affine of Affine, where the inner one feeds nothing else and has no epilogue."""
    inner = graph.producer(node.inputs[0])
    if inner is None or inner.op != "Affine" or "epilogue" in inner.attrs \
            or graph.only_consumer(inner.output) is not node:
        return 0
    (s1, t1), (s2, t2) = ([_wide(graph, i) for i in n.inputs[1:3]] for n in (inner, node))
    adopt(node, inner)
    _set(graph, node, inner.inputs[0], s1 * s2, t1 * s2 + t2)
    return 1 + _merge(graph, node)


def _wide(graph: Graph, name: str) -> np.ndarray:
    array = graph.const(name)
    assert array is not None
    return array.astype(np.float64)
