"""Splits one node by its output channels (or attention heads) into parts that several stages can share.

Each part computes a range of the channels in the way the whole node did, so that values do not change by a bit. What is
constant (weights, bias) is cut with it, what the epilogue adds is sliced, and a Concat joins the parts.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm

import numpy as np

from compiler.ir import Graph, Node
from isa.word import PARTITIONS

#: operators between the two products of attention
BETWEEN = ("Softmax", "Add", "Sub", "Mul", "Div", "Where")


@dataclass(frozen=True)
class Split:
    """How a node falls into parts.

    Attributes:
        axis: of the result along which it is cut.
        size: of that axis. unit: parts but the last are multiples of it.
        operands: input index -> axis along which that input is cut; inputs not listed are read whole by every part.
    """

    axis: int
    size: int
    unit: int
    operands: dict[int, int]

    @property
    def by_heads(self) -> bool:
        """Whether parts are batch entries; their Concat then says so, lest its axis be taken for channels."""
        return self.unit == 1

    @property
    def limit(self) -> int:
        """Most parts."""
        return -(-self.size // self.unit)


def split_of(graph: Graph, node: Node) -> Split | None:
    """How an optimised graph's node can be split; None when it cannot.

    A product with a constant matrix is cut by columns, a convolution with a constant kernel by output channels (a
    grouped one by whole groups), both in blocks of the PE's 128; a product of two run-time operands by heads, the
    innermost batch axis, and likewise what scales, masks and normalises its rows.
    """
    if node.domain or len(graph.shape(node.output)) < 2:
        return None
    if node.op in BETWEEN:
        return _between_heads(graph, node)
    if node.op not in ("MatMul", "Conv"):
        return None
    weight = graph.const(node.inputs[1])
    if node.op == "Conv":
        return _by_channels(graph, node, weight) if weight is not None else None
    if weight is None:
        return _by_heads(graph, node, 2)
    if weight.ndim != 2:
        return None
    rank = len(graph.shape(node.output))
    return Split(rank - 1, weight.shape[1], PARTITIONS, {1: 1, **_tail(node, rank - 1, {"bias": 0, "add": rank - 1})})


def split_limits(graph: Graph, node: Node) -> int:
    """Most parts that `split` can make of a node, 1 when it cannot be split."""
    found = split_of(graph, node)
    return found.limit if found is not None else 1


def split(graph: Graph, name: str, blocks: Sequence[int]) -> list[str]:
    """Replace a node by parts along its output channels and a Concat, in place.

    Args:
        graph: optimised. name: of a node with `split_limits` of at least `len(blocks)`.
        blocks: channels of each part: multiples of the unit of `split_of`, the last what is left.
    Returns: names of the parts, in order.
    Raises: ValueError for blocks that do not divide the node so.
    """
    node = next(n for n in graph.nodes if n.name == name)
    how = split_of(graph, node)
    if how is None or sum(blocks) != how.size or min(blocks, default=0) < 1 or any(b % how.unit for b in blocks[:-1]):
        raise ValueError(f"node {name!r} cannot be split into {list(blocks)} channels: "
                         + (f"{how.size} in multiples of {how.unit}" if how is not None else "it is no such product"))
    if len(blocks) == 1:
        return [name]
    pieces = _Pieces(graph, node)
    made: list[Node] = []
    low = 0
    for block in blocks:
        made.append(_part(graph, node, how, pieces, low, block))
        low += block
    result = node.output
    graph.set_outputs(node, [])
    attrs = {"axis": how.axis, "heads": True} if how.by_heads else {"axis": how.axis}
    graph.insert_after(node, "Concat", [n.output for n in made], [result], attrs, name=f"{name}.joined")
    graph.remove(node)
    return [n.name for n in made]


def _by_channels(graph: Graph, node: Node, weight: np.ndarray) -> Split | None:
    group = node.attrs.get("group", 1)
    tail = _tail(node, 1, {"bias": 0, "add": 1})
    if group == 1:
        return Split(1, len(weight), PARTITIONS, {1: 0, **tail})
    return Split(1, len(weight), lcm(PARTITIONS, len(weight) // group), {0: 1, 1: 0, **tail})


def _between_heads(graph: Graph, node: Node) -> Split | None:
    rank = len(graph.shape(node.output))
    along = node.op == "Softmax" and node.attrs.get("axis", -1) % rank != rank - 1
    if along or node.attrs.get("epilogue") or not any(_has_heads(graph, i) for i in node.inputs):
        return None
    return _by_heads(graph, node, len(node.inputs))


def _has_heads(graph: Graph, name: str) -> bool:
    """Whether a value comes from a product of run-time operands, perhaps split or through operators between."""
    made = graph.producer(name)
    while made is not None and made.op in BETWEEN:
        made = graph.producer(made.inputs[0])
    if made is None:
        return False
    return bool(made.attrs.get("heads")) or (made.op == "MatMul" and not graph.is_const(made.inputs[1]))


def _by_heads(graph: Graph, node: Node, operands: int) -> Split | None:
    shape = graph.shape(node.output)
    if len(shape) < 3 or shape[-3] == 1:
        return None
    axis = len(shape) - 3
    heads: dict[int, int] = {}
    for index, name in enumerate(node.inputs[:operands]):
        own = graph.shape(name)
        if len(own) >= 3 and own[-3] > 1:
            heads[index] = len(own) - 3
    return Split(axis, shape[axis], 1, {**heads, **_tail(node, axis, {"add": axis})})


def _tail(node: Node, axis: int, axes: dict[str, int]) -> dict[int, int]:
    """Axes along which the operands of an epilogue are cut, by kind of step."""
    return {step[1]: axes[step[0]] for step in node.attrs.get("epilogue", ()) if step[0] in axes}


class _Pieces:
    """Ranges of a node's operands, each made once."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph = graph
        self.node = node
        self.made: dict[tuple[str, int, int, int], str] = {}

    def of(self, name: str, axis: int, low: int, high: int) -> str:
        """The value that holds `low` .. `high - 1` of an operand's axis."""
        key = name, axis, low, high
        if key not in self.made:
            self.made[key] = self._make(*key)
        return self.made[key]

    def _make(self, name: str, axis: int, low: int, high: int) -> str:
        graph = self.graph
        if (low, high) == (0, graph.shape(name)[axis]):
            return name
        array = graph.const(name)
        if array is not None:
            at = (slice(None),) * axis + (slice(low, high),)
            return graph.add_const(array[at], f"{name}[{low}:{high}]")
        part, begin = _joined_part(graph, name, axis, low, high)
        if part:
            return self.of(part, axis, low - begin, high - begin)
        shape = tuple(high - low if a == axis else n for a, n in enumerate(graph.shape(name)))
        out = graph.add_value(graph.fresh_name(f"{name}[{low}:{high}]"), shape, graph.dtype(name))
        bounds = [graph.add_const(np.array([n], np.int64), f"{out}.{what}")
                  for what, n in (("from", low), ("to", high), ("axis", axis))]
        graph.insert_before(self.node, "Slice", [name, *bounds], [out], name=f"{self.node.name}.slice")
        return out


def _joined_part(graph: Graph, name: str, axis: int, low: int, high: int) -> tuple[str, int]:
    """The part of a Concat that holds this range, and where it begins; "" when there is none."""
    joined = graph.producer(name)
    if joined is None or joined.op != "Concat" or joined.attrs["axis"] % len(graph.shape(name)) != axis:
        return "", 0
    at = 0
    for part in joined.inputs:
        size = graph.shape(part)[axis]
        if at <= low and high <= at + size:
            return part, at
        at += size
    return "", 0


def _part(graph: Graph, node: Node, how: Split, pieces: _Pieces, low: int, block: int) -> Node:
    """One part, before the node: channels `low` .. `low + block - 1`."""
    inputs = list(node.inputs)
    for index, axis in how.operands.items():
        name = inputs[index]
        if name:
            size = graph.shape(name)[axis]  # the input channels of a grouped convolution go with its groups
            inputs[index] = pieces.of(name, axis, low * size // how.size, (low + block) * size // how.size)
    attrs = dict(node.attrs)
    if attrs.get("group", 1) > 1:
        attrs["group"] = attrs["group"] * block // how.size
    shape = tuple(block if a == how.axis else n for a, n in enumerate(graph.shape(node.output)))
    stem = f"{node.output}[{low}:{low + block}]"
    out = graph.add_value(graph.fresh_name(stem), shape, graph.dtype(node.output))
    return graph.insert_before(node, node.op, inputs, [out], attrs, name=f"{node.name}[{low}:{low + block}]")
