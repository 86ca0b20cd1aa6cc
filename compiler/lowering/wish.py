"""Which logical axis the consumers of a value would like on partitions.

The contraction axis of a product, or any axis but the one a softmax, a normalisation or a row-major store runs along.
"""
from __future__ import annotations

from compiler.ir import Graph, Node

ALONG = {"Softmax": -1, "LayerNormalization": -1, "LogSoftmax": -1, "RMSNormalization": -1}
#: outputs with fewer rows than this may as well have their last axis on partitions
FEW_ROWS = 32


def wish(graph: Graph, name: str, depth: int = 0) -> int | None:
    """Axis of `name` wanted on partitions, None when nobody minds."""
    if depth > 24:
        return None
    for node in graph.consumers(name):
        found = _wish_at(graph, node, name, depth)
        if found is not None:
            return found
    shape = graph.shape(name)
    if name in graph.outputs and len(shape) >= 2 and shape[-2] >= FEW_ROWS:
        return len(shape) - 2
    return None


def wishes(graph: Graph) -> dict[str, int | None]:
    """`wish` of every result that a lowering asks for: what holds on a graph holds on parts cut from it."""
    return {n.output: wish(graph, n.output) for n in graph.nodes if n.op in ("MatMul", "Concat")}


def _wish_at(graph: Graph, node: Node, name: str, depth: int) -> int | None:
    rank = len(graph.shape(name))
    place = node.inputs.index(name)
    if node.op == "MatMul" and place < 2:
        return rank - 1 if place == 0 else rank - 2
    if node.op in ALONG:
        axis = node.attrs.get("axis", ALONG[node.op]) % rank
        return None if rank < 2 else rank - 2 if axis == rank - 1 else rank - 1
    if node.op.startswith("Reduce"):
        const = graph.const(node.input(1))
        axes = [a % rank for a in const.reshape(-1).tolist()] if const is not None else []
        rest = [a for a in range(rank) if a not in axes]
        return max(rest, key=lambda a: graph.shape(name)[a]) if rest and axes else None
    if not node.outputs:
        return None
    out = node.outputs[0]
    inner = wish(graph, out, depth + 1)
    if inner is None:
        return None
    return _through(graph, node, name, out, inner, rank)


def _through(graph: Graph, node: Node, name: str, out: str, axis: int, rank: int) -> int | None:
    """Axis of the input that becomes `axis` of the output."""
    if node.op == "Transpose":
        return int(node.attrs["perm"][axis])
    if node.op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        return reshape_axis(graph.shape(name), graph.shape(out), axis)
    here = axis - (len(graph.shape(out)) - rank)
    return here if 0 <= here < rank and graph.shape(name)[here] > 1 else None


def reshape_axis(before: tuple[int, ...], after: tuple[int, ...], axis: int) -> int | None:
    """Axis of `before` in which axis `axis` of `after` lies (or of which it is made), by row-major strides."""
    inner = 1
    for n in after[axis + 1 :]:
        inner *= n
    stride = 1
    for a in reversed(range(len(before))):
        if before[a] > 1 and stride <= inner < stride * before[a]:
            return a
        stride *= before[a]
    return None
