"""Drop nodes that hand their input on: Identity, Dropout, same-type casts, no-op layout changes, neutral arithmetic.

Also joins chains: Reshape of Reshape, Transpose of Transpose, and a Transpose that only moves dimensions of size one
becomes a Reshape. Indices whose negative ones were made positive are taken as they were: Gather counts from either end.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.rewrite import adopt, is_float, scalar, settle, to_reshape

_LAYOUT = frozenset({"Reshape", "Transpose", "Expand", "Tile", "Slice", "Pad", "Squeeze", "Unsqueeze", "Flatten"})


def run(graph: Graph) -> int:
    """Simplify until nothing changes; returns the number of rewrites."""
    return settle(graph, _simplify)


def _simplify(graph: Graph, node: Node) -> int:
    if node.domain or not node.inputs or "epilogue" in node.attrs or not any(node.outputs):
        return 0
    source = _handed_on(graph, node)
    if source:
        return int(graph.bypass(node, source))
    join = _JOINS.get(node.op)
    return int(join(graph, node)) if join else 0


def _handed_on(graph: Graph, node: Node) -> str:
    """The input that equals the node's only used output, or ""."""
    first, output = node.inputs[0], node.outputs[0]
    if any(graph.consumers(o) or o in graph.outputs for o in node.outputs[1:] if o):
        return ""
    if node.op == "Identity" or (node.op == "Dropout" and not _training(graph, node)):
        return first
    if not first or not output:
        return ""
    same = graph.shape(first) == graph.shape(output) and graph.dtype(first) == graph.dtype(output)
    if node.op == "Cast":
        return first if same else ""
    if node.op in ("Concat", "Sum", "Max", "Min", "Mean") and len(node.inputs) == 1:
        return first
    if node.op in _LAYOUT and same:
        return first if _keeps_order(graph, node) else ""
    return _neutral(graph, node)


def _training(graph: Graph, node: Node) -> bool:
    mode = node.input(2)
    return bool(mode) and scalar(graph, mode) != 0.0


def _keeps_order(graph: Graph, node: Node) -> bool:
    """Equal shapes on both sides may still hide a Transpose, a Slice backwards, a Pad by -1 and 1."""
    if node.op == "Transpose":
        shape = graph.shape(node.inputs[0])
        moved = [p for p in node.attrs["perm"] if shape[p] != 1]
        return moved == sorted(moved)
    if node.op == "Pad":
        pads = graph.const(node.input(1))
        return pads is not None and not pads.any()
    if node.op == "Slice":
        steps = graph.const(node.input(4))
        return not node.input(4) or (steps is not None and bool((steps > 0).all()))
    return True


def _neutral(graph: Graph, node: Node) -> str:
    """x + 0, x - 0, x * 1, x / 1, x and True, x or False, where nothing is broadcast."""
    if len(node.inputs) != 2 or node.op not in _NEUTRAL:
        return ""
    neutral, either_side = _NEUTRAL[node.op]
    for index in (0, 1) if either_side else (1,):
        other = node.inputs[1 - index]
        value = scalar(graph, node.inputs[index])
        # x + 0 loses only the sign of -0, which no comparison of results sees
        if value == neutral and graph.shape(other) == graph.shape(node.output):
            return other
    return ""


_NEUTRAL: dict[str, tuple[float, bool]] = {
    "Add": (0.0, True), "Sub": (0.0, False), "Mul": (1.0, True), "Div": (1.0, False), "Pow": (1.0, False),
    "And": (1.0, True), "Or": (0.0, True),
}


def _join_reshapes(graph: Graph, node: Node) -> bool:
    inner = graph.producer(node.inputs[0])
    if inner is None or inner.op != "Reshape":
        return False
    if graph.only_consumer(inner.output) is node:
        adopt(node, inner)
    to_reshape(graph, node, inner.inputs[0])
    return True


def _join_transposes(graph: Graph, node: Node) -> bool:
    shape, perm = graph.shape(node.inputs[0]), node.attrs["perm"]
    moved = [p for p in perm if shape[p] != 1]
    if moved == sorted(moved):
        to_reshape(graph, node, node.inputs[0])
        return True
    inner = graph.producer(node.inputs[0])
    if inner is None or inner.op != "Transpose":
        return False
    if graph.only_consumer(inner.output) is node:
        adopt(node, inner)
    node.attrs["perm"] = [inner.attrs["perm"][p] for p in perm]
    graph.set_inputs(node, inner.inputs)
    return True


def _join_casts(graph: Graph, node: Node) -> bool:
    """A cast of a widening float cast is a cast of its source."""
    inner = graph.producer(node.inputs[0])
    if inner is None or inner.op != "Cast" or not is_float(graph, inner.inputs[0]) or not is_float(graph, inner.output):
        return False
    narrow, wide = graph.dtype(inner.inputs[0]), graph.dtype(inner.output)
    if (narrow, wide) not in {("float16", "float32"), ("bfloat16", "float32"), ("float32", "float64"),
                              ("float16", "float64"), ("bfloat16", "float64")}:
        return False
    graph.set_inputs(node, inner.inputs)
    return True


def _drop_where(graph: Graph, node: Node) -> bool:
    """Where with a known, uniform condition and nothing broadcast."""
    chosen = scalar(graph, node.inputs[0])
    if chosen is None:
        return False
    source = node.inputs[1 if chosen else 2]
    return graph.shape(source) == graph.shape(node.output) and graph.bypass(node, source)


def _identity_gather(graph: Graph, node: Node) -> bool:
    """A gather by known indices that reads every element in order is a Reshape."""
    indices = graph.const(node.inputs[1])
    source = graph.value(node.inputs[0])
    if indices is None or source.size != graph.value(node.output).size or not 0 < source.size <= 1 << 20:
        return False
    from compiler.passes.folding import fold
    order = np.arange(source.size).reshape(source.shape)
    result = fold(node, [order, indices])
    if result is None or not np.array_equal(result[0].reshape(-1), order.reshape(-1)):
        return False
    to_reshape(graph, node, node.inputs[0])
    return True


def _gather(graph: Graph, node: Node) -> bool:
    return _identity_gather(graph, node) or _raw_indices(graph, node)


def _raw_indices(graph: Graph, node: Node) -> bool:
    """Gather by Where(i < 0, i + size, i) is a gather by i."""
    chosen = graph.producer(node.inputs[1])
    if chosen is None or chosen.op != "Where" or chosen.domain:
        return False
    test, moved, raw = (*map(graph.producer, chosen.inputs[:2]), chosen.inputs[2])
    if test is None or moved is None or (test.op, moved.op) != ("Less", "Add") or raw not in moved.inputs:
        return False
    added = moved.inputs[1 - moved.inputs.index(raw)]
    size = graph.shape(node.inputs[0])[node.attrs.get("axis", 0)]
    if test.inputs[0] != raw or scalar(graph, test.inputs[1]) != 0.0 or scalar(graph, added) != size \
            or graph.shape(raw) != graph.shape(chosen.output):
        return False
    adopt(node, test, moved, chosen)
    graph.set_inputs(node, [node.inputs[0], raw])
    return True


_JOINS: dict[str, Callable[[Graph, Node], bool]] = {
    "Reshape": _join_reshapes,
    "Transpose": _join_transposes,
    "Cast": _join_casts,
    "Where": _drop_where,
    "Gather": _gather,
    "GatherND": _identity_gather,
    "GatherElements": _identity_gather,
}
