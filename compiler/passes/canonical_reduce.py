"""Canonical forms of reductions and global pooling: explicit, sorted, non-negative axes and kept dimensions."""
from __future__ import annotations

from collections.abc import Callable

from compiler.ir import Graph, Node
from compiler.passes.rewrite import before, change, int_const, to_reshape


def global_pool(op: str) -> Callable[[Graph, Node], bool]:
    """Global pooling as a reduction over all spatial axes."""
    def rule(graph: Graph, node: Node) -> bool:
        rank = len(graph.shape(node.inputs[0]))
        axes = int_const(graph, range(2, rank), f"{node.output}_axes")
        change(graph, node, op, [node.inputs[0], axes], {"keepdims": 1, "noop_with_empty_axes": 0})
        return True
    return rule


def average_pool(graph: Graph, node: Node) -> bool:
    """An average whose one window reaches over every spatial axis, and counts nothing else, is a ReduceMean."""
    attrs, sizes = node.attrs, graph.shape(node.inputs[0])[2:]
    if any(d != 1 for d in attrs["dilations"]) or any(d != 1 for d in graph.shape(node.output)[2:]):
        return False
    starts = attrs["pads"][: len(sizes)]
    if any(k - before < n for k, before, n in zip(attrs["kernel_shape"], starts, sizes, strict=True)):
        return False
    # what a window has beyond the padded end (ceil_mode) is never counted
    if attrs.get("count_include_pad") and any(attrs["pads"]):
        return False
    return global_pool("ReduceMean")(graph, node)


def reduce(graph: Graph, node: Node) -> bool:
    """Axes as a constant input, ascending and non-negative; keepdims = 1, with a Reshape behind it where it was 0."""
    source, given = node.inputs[0], node.input(1)
    rank = len(graph.shape(source))
    array = graph.const(given)
    if given and array is None:
        return False
    listed = [] if array is None else [int(a) for a in array.reshape(-1)]
    if not listed:
        if node.attrs.get("noop_with_empty_axes") and node.op in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin",
                                                                  "ReduceProd"):
            change(graph, node, "Identity", [source])
            return True
        if node.attrs.get("noop_with_empty_axes"):
            return False
    axes = sorted({a % rank for a in listed} or set(range(rank))) if rank else []
    if axes == listed and node.attrs.get("keepdims", 1):
        return False
    if not rank:
        return False
    constant = int_const(graph, axes, f"{node.output}_axes")
    attrs = {"keepdims": 1, "noop_with_empty_axes": 0}
    if node.attrs.get("keepdims", 1):
        change(graph, node, node.op, [source, constant], attrs)
        return True
    shape = [1 if k in axes else d for k, d in enumerate(graph.shape(source))]
    kept = before(graph, node, node.op, [source, constant], shape, graph.dtype(node.output), attrs)
    to_reshape(graph, node, kept)
    return True
