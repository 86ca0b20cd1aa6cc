"""Splits one node by its output channels, attention heads or rows of images into parts that several stages can share.

Each part computes its range in the way the whole node did, so that values do not change by a bit. What is constant
(weights, bias) is cut with channels, what the epilogue adds is sliced, and a Concat joins the parts. Parts by rows read
the rows under their windows, and all weights.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm, prod

import numpy as np

from compiler.ir import Graph, Node
from compiler.sharding.rows import Reach, reach, row_operands, row_parts
from compiler.windows import ROWS, WINDOWED
from isa.word import PARTITIONS

#: operators between the two products of attention
BETWEEN = ("Softmax", "Add", "Sub", "Mul", "Div", "Where")

CHANNELS, HEADS, BY_ROWS = "channels", "heads", "rows"


@dataclass(frozen=True)
class Split:
    """How a node falls into parts.

    Attributes:
        axis: of the result along which it is cut.
        size: of that axis. unit: parts but the last are multiples of it.
        operands: input index -> axis along which that input is cut; inputs not listed are read whole by every part.
        by: "channels", "heads" (batch entries) or "rows"; the Concat tells the latter two from channels.
        reach: rows of the first operand under rows of the result, where these are not the same.
    """

    axis: int
    size: int
    unit: int
    operands: dict[int, int]
    by: str = CHANNELS
    reach: Reach | None = None

    @property
    def limit(self) -> int:
        """Most parts."""
        return -(-self.size // self.unit)


def split_of(graph: Graph, node: Node) -> Split | None:
    """How an optimised graph's node can be split; None when it cannot.

    A product with a constant matrix is cut by columns, a convolution with a constant kernel by output channels (a
    grouped one by whole groups), both in blocks of the PE's 128; a product of two run-time operands by heads, the
    innermost batch axis, and likewise what scales, masks and normalises its rows. Convolutions of large images with few
    weights, pools and what is done to images point by point are cut by rows.
    """
    if node.domain or len(graph.shape(node.output)) < 2:
        return None
    found = _between_heads(graph, node) if node.op in BETWEEN else None
    if node.op == "Conv":
        return _of_conv(graph, node)
    if node.op != "MatMul":
        return found or _by_rows(graph, node)
    weight = graph.const(node.inputs[1])
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
    if how is None:
        raise ValueError(f"node {name!r} cannot be split into {list(blocks)}: it does not fall into parts")
    if sum(blocks) != how.size or min(blocks, default=0) < 1 or any(b % how.unit for b in blocks[:-1]):
        raise ValueError(f"node {name!r} cannot be split into {list(blocks)} {how.by}: "
                         f"{how.size} in multiples of {how.unit}")
    if len(blocks) == 1:
        return [name]
    pieces = _Pieces(graph, node, how.by)
    made: list[Node] = []
    low = 0
    for block in blocks:
        made.append(_part(graph, node, how, pieces, low, block))
        low += block
    result = node.output
    graph.set_outputs(node, [])
    attrs = {"axis": how.axis} | ({how.by: True} if how.by != CHANNELS else {})
    graph.insert_after(node, "Concat", [n.output for n in made], [result], attrs, name=f"{name}.joined")
    graph.remove(node)
    return [n.name for n in made]


def _of_conv(graph: Graph, node: Node) -> Split | None:
    """By channels, or by rows where the PE has no more than one block of channels or the weights are few."""
    weight = graph.const(node.inputs[1])
    channels = _by_channels(graph, node, weight) if weight is not None else None
    rows = _by_rows(graph, node)
    if channels is None or rows is None:
        return channels or rows
    image = prod(graph.shape(node.inputs[0]))
    few = weight is not None and weight.size <= image and rows.limit >= channels.limit
    return rows if channels.limit == 1 or few else channels


def _by_rows(graph: Graph, node: Node) -> Split | None:
    operands = row_operands(graph, node)
    if operands is None:
        return None
    size, unit = row_parts(graph, node)
    return Split(ROWS, size, unit, operands, BY_ROWS, reach(graph, node) if node.op in WINDOWED else None)


def _by_channels(graph: Graph, node: Node, weight: np.ndarray) -> Split | None:
    group = node.attrs.get("group", 1)
    tail = _tail(node, 1, {"bias": 0, "compare": 0, "add": 1})
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
    return Split(axis, shape[axis], 1, {**heads, **_tail(node, axis, {"add": axis})}, HEADS)


def _tail(node: Node, axis: int, axes: dict[str, int]) -> dict[int, int]:
    """Axes along which the operands of an epilogue are cut, by kind of step."""
    return {step[1]: axes[step[0]] for step in node.attrs.get("epilogue", ()) if step[0] in axes}


class _Pieces:
    """Ranges of a node's operands, each made once."""

    def __init__(self, graph: Graph, node: Node, by: str) -> None:
        self.graph = graph
        self.node = node
        self.by = by
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
        over = [self.of(*range_) for range_ in _joined_rows(graph, name, axis, low, high)]
        out = graph.add_value(graph.fresh_name(f"{name}[{low}:{high}]"), shape, graph.dtype(name))
        if over:
            graph.insert_before(self.node, "Concat", over, [out], {"axis": axis, BY_ROWS: True},
                                name=f"{self.node.name}.rows")
            return out
        bounds = [graph.add_const(np.array([n], np.int64), f"{out}.{what}")
                  for what, n in (("from", low), ("to", high), ("axis", axis))]
        attrs = {BY_ROWS: True} if self.by == BY_ROWS else {}
        graph.insert_before(self.node, "Slice", [name, *bounds], [out], attrs, name=f"{self.node.name}.slice")
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


def _joined_rows(graph: Graph, name: str, axis: int, low: int, high: int) -> list[tuple[str, int, int, int]]:
    """Ranges of the parts of a value split by rows that make up one of its ranges, as arguments of `_Pieces.of`.

    The parts are read one by one: what joins them may be in a later stage.
    """
    joined = graph.producer(name)
    if joined is None or joined.op != "Concat" or not joined.attrs.get(BY_ROWS):
        return []
    found, at = [], 0
    for part in joined.inputs:
        size = graph.shape(part)[axis]
        if max(low, at) < min(high, at + size):
            found.append((part, axis, max(low - at, 0), min(high - at, size)))
        at += size
    return found


def _part(graph: Graph, node: Node, how: Split, pieces: _Pieces, low: int, block: int) -> Node:
    """One part, before the node: `low` .. `low + block - 1` of the axis."""
    inputs = list(node.inputs)
    attrs = dict(node.attrs)
    for index, axis in how.operands.items():
        name = inputs[index]
        if name and index == 0 and how.reach is not None:
            first, end, above, below = how.reach.of(low, low + block)
            inputs[index] = pieces.of(name, axis, first, end)
            others = attrs["pads"][1 : len(attrs["pads"]) // 2]
            attrs["pads"] = [above, *others, below, *attrs["pads"][len(attrs["pads"]) // 2 + 1 :]]
        elif name:
            size = graph.shape(name)[axis]  # the input channels of a grouped convolution go with its groups
            inputs[index] = pieces.of(name, axis, low * size // how.size, (low + block) * size // how.size)
    if attrs.get("group", 1) > 1 and how.by == CHANNELS:
        attrs["group"] = attrs["group"] * block // how.size
    shape = tuple(block if a == how.axis else n for a, n in enumerate(graph.shape(node.output)))
    stem = f"{node.output}[{low}:{low + block}]"
    out = graph.add_value(graph.fresh_name(stem), shape, graph.dtype(node.output))
    return graph.insert_before(node, node.op, inputs, [out], attrs, name=f"{node.name}[{low}:{low + block}]")
