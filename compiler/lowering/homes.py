"""Concatenation without copies: the parts of a channel-wise Concat are written straight into one shared tensor.

Every leaf part starts at a partition an access may start at (a multiple of 32). Chains of concatenations (DenseNet)
share the tensor of the last one.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from compiler.ir import Graph, Node
from compiler.layout import Tensor
from compiler.precision import Precision

WRITERS = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "Concat")
ALIGN = 32


@dataclass(frozen=True)
class Place:
    """A value is channels `first` .. `first + count - 1` of the concatenation `root`."""

    root: str
    first: int
    count: int


def plan_homes(graph: Graph, precision: Precision) -> tuple[dict[str, Place], dict[str, np.ndarray]]:
    """Places of values written in place, and the channel positions of each root."""
    places: dict[str, Place] = {}
    for node in reversed(graph.nodes):
        if not _channelwise(graph, node):
            continue
        name = node.output
        mine = places.setdefault(name, Place(name, 0, graph.shape(name)[1]))
        at = mine.first
        for part in node.inputs:
            count = graph.shape(part)[1]
            producer = graph.producer(part)
            same = precision.storage(part) == precision.storage(mine.root)
            if producer is not None and same and _writes(graph, producer) and part not in places:
                if node.inputs.count(part) == 1:
                    places[part] = Place(mine.root, at, count)
            at += count
    roots = {p.root for p in places.values()}
    return places, {root: _positions(graph, root) for root in roots}


def _writes(graph: Graph, node: Node) -> bool:
    """Whether a node's lowering can write into a place of its own."""
    return node.op in WRITERS and (node.op != "Concat" or _channelwise(graph, node))


def _channelwise(graph: Graph, node: Node) -> bool:
    if node.op != "Concat" or len(graph.shape(node.output)) < 4 or node.attrs.get("heads"):
        return False
    return node.attrs["axis"] % len(graph.shape(node.output)) == 1


def _leaves(graph: Graph, name: str) -> list[int]:
    node = graph.producer(name)
    if node is not None and _channelwise(graph, node):
        return [n for part in node.inputs for n in _leaves(graph, part)]
    return [graph.shape(name)[1]]


def _positions(graph: Graph, root: str) -> np.ndarray:
    out, at = [], 0
    for count in _leaves(graph, root):
        out.append(np.arange(at, at + count, dtype=np.int32))
        at = -(-(at + count) // ALIGN) * ALIGN
    return np.concatenate(out)


class Homes:
    """The shared tensors: a root's is put when its first part is written; `forget` drops it for the next chunk."""

    def __init__(self, places: dict[str, Place], positions: dict[str, np.ndarray]) -> None:
        self.places, self.positions = places, positions
        self.tensors: dict[str, Tensor] = {}

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def root(self, name: str) -> str:
        return self.places[name].root

    def put(self, root: str, tensor: Tensor) -> None:
        self.tensors[root] = tensor

    def cut(self, name: str) -> Tensor:
        """The channels of `name` in its root's tensor, which must have been put."""
        place = self.places[name]
        whole = self.tensors[place.root]
        part = whole.slice_axis(1, place.first, place.first + place.count)
        assert part is not None
        return replace(part, origin=whole.origin)

    def forget(self, root: str) -> None:
        self.tensors.pop(root, None)
