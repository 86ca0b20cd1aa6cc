"""Canonical forms of operators that only move elements: Reshape, Transpose, Slice with everything explicit."""
from __future__ import annotations

from collections.abc import Sequence

from compiler.ir import Graph, Node
from compiler.passes.rewrite import before, change, int_const, reshape, to_reshape


def to_reshape_rule(graph: Graph, node: Node) -> bool:
    """Any operator that keeps the order of elements, as Reshape."""
    to_reshape(graph, node, node.inputs[0])
    return True


def explicit_shape(graph: Graph, node: Node) -> bool:
    """The target of a Reshape as plain numbers."""
    target = graph.const(node.inputs[1])
    if target is not None and tuple(target) == graph.shape(node.output) and not node.attrs.get("allowzero"):
        return False
    to_reshape(graph, node, node.inputs[0])
    return True


def split(graph: Graph, node: Node) -> bool:
    """Split as one Slice for each used output."""
    source, axis, start = node.inputs[0], node.attrs.get("axis", 0), 0
    parts = []
    for output in node.outputs:
        size = graph.shape(output)[axis] if output else _missing_size(graph, node, axis)
        if output and (graph.consumers(output) or output in graph.outputs):
            parts.append((output, start, start + size))
        start += size
    graph.set_outputs(node, [])
    at = graph.nodes.index(node)
    for k, (output, low, high) in enumerate(parts):
        inputs = [source, *_bounds(graph, output, [low], [high], [axis], [1])]
        graph.add_node("Slice", inputs, [output], name=f"{node.name}_{k}", sources=node.sources, at=at + 1 + k)
    graph.remove(node)
    return True


def _missing_size(graph: Graph, node: Node, axis: int) -> int:
    sizes = graph.const(node.input(1))
    if sizes is not None:
        return int(sizes[node.outputs.index("")])
    return -(-graph.shape(node.inputs[0])[axis] // len(node.outputs))


def _bounds(graph: Graph, stem: str, *lists: Sequence[int]) -> list[str]:
    return [int_const(graph, values, f"{stem}_{what}")
            for values, what in zip(lists, ("starts", "ends", "axes", "steps"), strict=True)]


def explicit_slice(graph: Graph, node: Node) -> bool:
    """All of starts, ends, axes, steps present; axes ascending; for steps > 0 bounds within 0..size."""
    arrays = [graph.const(node.input(k)) if node.input(k) else None for k in range(1, 5)]
    if arrays[0] is None or arrays[1] is None or any(node.input(k) and arrays[k - 1] is None for k in (3, 4)):
        return False
    shape = graph.shape(node.inputs[0])
    starts, ends = arrays[0].tolist(), arrays[1].tolist()
    axes = [a % len(shape) for a in arrays[2].tolist()] if arrays[2] is not None else list(range(len(starts)))
    steps = arrays[3].tolist() if arrays[3] is not None else [1] * len(starts)
    rows = []
    for axis, start, end, step in sorted(zip(axes, starts, ends, steps, strict=True)):
        if step > 0:
            start, end, _ = slice(start, end).indices(shape[axis])
            end = max(start, end)
        rows.append((axis, start, end, step))
    wanted = [[r[1] for r in rows], [r[2] for r in rows], [r[0] for r in rows], [r[3] for r in rows]]
    if [None if a is None else a.tolist() for a in arrays] == wanted:
        return False
    change(graph, node, "Slice", [node.inputs[0], *_bounds(graph, node.output, *wanted)])
    return True


def gather_to_slice(graph: Graph, node: Node) -> bool:
    """Gather of evenly spaced known indices as Slice (and Reshape where the indices are a scalar or a matrix)."""
    indices = graph.const(node.inputs[1])
    if indices is None or indices.size == 0 or graph.is_const(node.inputs[0]):
        return False
    axis, source = node.attrs.get("axis", 0), node.inputs[0]
    size = graph.shape(source)[axis]
    flat = [int(i) % size for i in indices.reshape(-1)]
    step = flat[1] - flat[0] if len(flat) > 1 else 1
    if step < 1 or flat != list(range(flat[0], flat[0] + step * len(flat), step)):
        return False
    bounds = _bounds(graph, node.output, [flat[0]], [flat[-1] + 1], [axis], [step])
    shape = list(graph.shape(source))
    shape[axis] = len(flat)
    part = before(graph, node, "Slice", [source, *bounds], shape, graph.dtype(source))
    to_reshape(graph, node, part)
    return True


def depth_to_space(graph: Graph, node: Node) -> bool:
    """DepthToSpace as Reshape, Transpose, Reshape."""
    n, c, h, w = graph.shape(node.inputs[0])
    b = node.attrs["blocksize"]
    if node.attrs.get("mode", "DCR") == "DCR":
        return _permute(graph, node, [n, b, b, c // (b * b), h, w], [0, 3, 4, 1, 5, 2])
    return _permute(graph, node, [n, c // (b * b), b, b, h, w], [0, 1, 4, 2, 5, 3])


def space_to_depth(graph: Graph, node: Node) -> bool:
    """SpaceToDepth as Reshape, Transpose, Reshape."""
    n, c, h, w = graph.shape(node.inputs[0])
    b = node.attrs["blocksize"]
    perm = [0, 3, 5, 1, 2, 4] if node.attrs.get("mode", "DCR") == "DCR" else [0, 1, 3, 5, 2, 4]
    return _permute(graph, node, [n, c, h // b, b, w // b, b], perm)


def _permute(graph: Graph, node: Node, shape: list[int], perm: list[int]) -> bool:
    source = reshape(graph, node, node.inputs[0], shape)
    turned = before(graph, node, "Transpose", [source], [shape[p] for p in perm], graph.dtype(source), {"perm": perm})
    to_reshape(graph, node, turned)
    return True
