"""Layout changes that cancel or can wait.

Reshape, Transpose, Reshape becomes one Transpose where the reshapes only group and ungroup dimensions. A product by one
number moves in front of layout changes, to where it can be folded into weights. An Expand moves behind elementwise
operators and disappears where the next one broadcasts anyway.
"""
from __future__ import annotations

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.rewrite import adopt, change, int_const, move, scalar, settle

_ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Div", "Max", "Min", "And", "Or", "Where", "Equal", "Less", "Greater",
                          "Not", "Cast", "Relu", "Sigmoid", "Tanh", "Exp", "Neg", "Abs", "Sqrt"})


def run(graph: Graph) -> int:
    """Rewrite until nothing changes; returns the number of rewrites."""
    return settle(graph, _rewrite)


def _rewrite(graph: Graph, node: Node) -> int:
    if node.domain or not any(node.outputs):
        return 0
    if node.op == "Reshape":
        return int(_ungroup(graph, node))
    if node.op == "Mul":
        return int(_hoist_scalar(graph, node))
    if node.op in ("And", "Or"):
        return int(_neutral_to_expand(graph, node))
    if node.op == "Expand":
        return int(_sink_expand(graph, node))
    return 0


def _ungroup(graph: Graph, node: Node) -> bool:
    turn = graph.producer(node.inputs[0])
    if turn is None or turn.op != "Transpose" or graph.only_consumer(turn.output) is not node:
        return False
    first = graph.producer(turn.inputs[0])
    if first is None or first.op != "Reshape" or graph.only_consumer(first.output) is not turn:
        return False
    perm = permutation(graph.shape(first.inputs[0]), graph.shape(first.output), turn.attrs["perm"],
                       graph.shape(node.output))
    if perm is None:
        return False
    adopt(node, first, turn)
    change(graph, node, "Transpose", [first.inputs[0]], {"perm": perm})
    return True


def permutation(start: tuple[int, ...], grouped: tuple[int, ...], perm: list[int],
                end: tuple[int, ...]) -> list[int] | None:
    """Axes order for which transposing `start` equals reshape to `grouped`, transpose by `perm`, reshape to `end`.

    None when there is none without a reshape. Every dimension of `grouped` must be a run of dimensions of `start`.
    """
    runs: list[list[int]] = []
    axis = 0
    for size in grouped:
        group: list[int] = []
        product = 1
        while axis < len(start) and (product < size or (start[axis] == 1 and not group)):
            group.append(axis)
            product *= start[axis]
            axis += 1
        if product != size:
            return None
        runs.append(group)
    if any(start[k] != 1 for k in range(axis, len(start))):
        return None
    order = [a for p in perm for a in runs[p]]
    moved = [a for a in order if start[a] != 1]
    if [start[a] for a in moved] != [d for d in end if d != 1] or len(end) != len(start):
        return None
    ones = iter([a for a in range(len(start)) if start[a] == 1])
    kept = iter(moved)
    return [next(ones) if d == 1 else next(kept) for d in end]


def _hoist_scalar(graph: Graph, node: Node) -> bool:
    """Mul(layout(x), c) -> layout(Mul(x, c)) when the layout change feeds nothing else."""
    if len(node.inputs) != 2 or scalar(graph, node.inputs[1]) is None or graph.value(node.inputs[1]).size != 1:
        return False
    inner = graph.producer(node.inputs[0])
    if inner is None or graph.only_consumer(inner.output) is not node:
        return False
    if inner.op == "MatMul" and "epilogue" not in inner.attrs and not inner.domain:
        return _scale_operand(graph, node, inner)
    if inner.op not in ("Reshape", "Transpose"):
        return False
    if len(graph.shape(node.inputs[1])) > len(graph.shape(inner.inputs[0])):
        return False
    source, factor, result = inner.inputs[0], node.inputs[1], node.output
    scaled = inner.output
    value = graph.value(scaled)
    value.shape = graph.shape(source)
    graph.set_outputs(inner, [])
    graph.set_outputs(node, [scaled])
    graph.set_inputs(node, [source, factor])
    graph.set_outputs(inner, [result])
    graph.set_inputs(inner, [scaled, *inner.inputs[1:]])
    move(graph, inner, node)
    return True


def _scale_operand(graph: Graph, node: Node, inner: Node) -> bool:
    """Mul(MatMul(a, b), c) -> MatMul(Mul(a, c), b) where `a` comes, through layout changes, from constant weights."""
    if graph.is_const(inner.inputs[1]) or not _from_weights(graph, inner.inputs[0], inner):
        return False
    if graph.shape(node.output) != graph.shape(inner.output) \
            or len(graph.shape(node.inputs[1])) > len(graph.shape(inner.inputs[0])):
        return False
    left, factor, result = inner.inputs[0], node.inputs[1], node.output
    scaled = inner.output
    graph.value(scaled).shape = graph.shape(left)
    graph.set_outputs(inner, [])
    graph.set_outputs(node, [scaled])
    graph.set_inputs(node, [left, factor])
    graph.set_outputs(inner, [result])
    graph.set_inputs(inner, [scaled, *inner.inputs[1:]])
    move(graph, inner, node)
    return True


def _from_weights(graph: Graph, name: str, reader: Node) -> bool:
    """Whether a value is layout changes and a bias behind a product with a constant, nothing of which others read."""
    node = graph.producer(name)
    while node is not None and node.op in ("Reshape", "Transpose", "Add") and graph.only_consumer(name) is reader:
        if node.op == "Add" and not graph.is_const(node.inputs[1]):
            return False
        name, reader = node.inputs[0], node
        node = graph.producer(name)
    return node is not None and node.op == "MatMul" and graph.is_const(node.inputs[1]) \
        and graph.only_consumer(name) is reader


def _neutral_to_expand(graph: Graph, node: Node) -> bool:
    neutral = 1.0 if node.op == "And" else 0.0
    for index in (0, 1):
        if scalar(graph, node.inputs[index]) == neutral:
            shape = int_const(graph, graph.shape(node.output), f"{node.output}_shape")
            change(graph, node, "Expand", [node.inputs[1 - index], shape])
            return True
    return False


def _sink_expand(graph: Graph, node: Node) -> bool:
    """Let readers broadcast by themselves; where the only one does not, move the Expand behind it."""
    small = node.inputs[0]
    if graph.shape(small) == graph.shape(node.output):
        return False
    changed = False
    for reader in graph.consumers(node.output):
        if _can_broadcast(reader) and _with_small(graph, node, reader) == graph.shape(reader.output):
            graph.set_inputs(reader, [small if i == node.output else i for i in reader.inputs])
            changed = True
    reader_left = graph.only_consumer(node.output)
    if changed or reader_left is None or not _can_broadcast(reader_left):
        return changed
    if reader_left.output in graph.outputs and not graph.consumers(reader_left.output):
        return False
    full, result = graph.value(reader_left.output), _with_small(graph, node, reader_left)
    target = int_const(graph, full.shape, f"{full.name}_shape")
    inner = graph.add_value(graph.fresh_name(f"{full.name}_small"), result, full.dtype)
    graph.set_inputs(reader_left, [small if i == node.output else i for i in reader_left.inputs])
    graph.set_outputs(reader_left, [inner])
    graph.insert_after(reader_left, "Expand", [inner, target], [full.name], sources=node.sources)
    return True


def _can_broadcast(reader: Node) -> bool:
    return reader.op in _ELEMENTWISE and not reader.domain and "epilogue" not in reader.attrs \
        and len(reader.outputs) == 1


def _with_small(graph: Graph, node: Node, reader: Node) -> tuple[int, ...]:
    """Shape of the reader's result if it read what the Expand reads."""
    shapes = [graph.shape(node.inputs[0] if i == node.output else i) for i in reader.inputs if i]
    return np.broadcast_shapes(*shapes)
