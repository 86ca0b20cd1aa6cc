"""Which nodes run together: phases that alternate between device and CPU, as few as there can be.

Every node gets the number of a phase that is no smaller than those of the nodes it reads from, and each phase has one
place. Edges therefore never go back: no two phases can depend on each other in a circle, and a path between two nodes
of a phase stays in it (it is convex). The longest chain of alternating nodes is a lower bound on the number of phases,
and taking the smallest number possible for each node meets it. Linear in nodes and edges.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from compiler.ir import Graph, Node


class Place(Enum):
    """Where a node has to run; EITHER joins its neighbours."""

    DEVICE = "device"
    CPU = "cpu"
    EITHER = "either"


@dataclass(frozen=True)
class Phases:
    """Node name -> phase, and the place of phase 0; later phases alternate."""

    of: dict[str, int]
    first: Place

    def place(self, phase: int) -> Place:
        """Where a phase runs."""
        other = Place.CPU if self.first is Place.DEVICE else Place.DEVICE
        return self.first if phase % 2 == 0 else other

    def groups(self, graph: Graph) -> list[tuple[Place, list[Node]]]:
        """The nodes of each phase that has any, in execution order."""
        found: dict[int, list[Node]] = {}
        for node in graph.nodes:
            found.setdefault(self.of[node.name], []).append(node)
        return [(self.place(k), found[k]) for k in sorted(found)]


def phases(graph: Graph, places: Mapping[str, Place]) -> Phases:
    """Assign every node of a graph to a phase.

    Args:
        graph: nodes in topological order.
        places: node name -> place.
    """
    tries = [earliest(graph, places, first) for first in (Place.DEVICE, Place.CPU)]
    best = min(tries, key=lambda t: max(t.of.values(), default=0))  # the first of equals: starts on the device
    return _later(graph, places, best)


def earliest(graph: Graph, places: Mapping[str, Place], first: Place) -> Phases:
    """The smallest phase of every node when phase 0 is at `first`."""
    found = Phases({}, first)
    for node in graph.nodes:
        before = (graph.producer(i) for i in node.inputs if i)
        phase = max((found.of[p.name] for p in before if p is not None), default=0)
        found.of[node.name] = phase if places[node.name] in (Place.EITHER, found.place(phase)) else phase + 1
    return found


def _later(graph: Graph, places: Mapping[str, Place], found: Phases) -> Phases:
    """Move nodes towards their readers where less, or no more, crosses the host link. Readers go first."""
    traffic = _Traffic(graph, found)
    for node in reversed(graph.nodes):
        now = found.of[node.name]
        limit = min((found.of[r.name] for o in node.outputs if o for r in graph.consumers(o)), default=now)
        options = [k for k in dict.fromkeys((limit, limit - 1, now))
                   if now <= k <= limit and (k == now or places[node.name] in (Place.EITHER, found.place(k)))]
        if len(options) > 1:
            traffic.move(node, min(options, key=lambda k: (traffic.bytes(node, k), found.place(k) is Place.CPU, -k)))
    return found


class _Traffic:
    """Bytes over the host link, kept up to date while nodes move between phases."""

    def __init__(self, graph: Graph, found: Phases) -> None:
        self.graph, self.found = graph, found
        self.outputs = set(graph.outputs)
        self.readers: dict[str, Counter[int]] = {}
        for node in graph.nodes:
            for name in _inputs(node):
                self.readers.setdefault(name, Counter())[found.of[node.name]] += 1

    def bytes(self, node: Node, phase: int) -> int:
        """What the values a node reads and makes would cross with, were it in `phase`."""
        now = self.found.of[node.name]
        self.move(node, phase)
        total = sum(self._crossing(name) for name in (*_inputs(node), *filter(None, node.outputs)))
        self.move(node, now)
        return total

    def move(self, node: Node, phase: int) -> None:
        """Put a node into another phase."""
        for name in _inputs(node):
            self.readers[name][self.found.of[node.name]] -= 1
            self.readers[name][phase] += 1
        self.found.of[node.name] = phase

    def _crossing(self, name: str) -> int:
        """Bytes over the link for one value: from the device once, to each other device phase that reads it once."""
        value, producer = self.graph.value(name), self.graph.producer(name)
        if value.const is not None or value.host:
            return 0
        home = None if producer is None else self.found.of[producer.name]
        away = [k for k, n in self.readers.get(name, Counter()).items() if n and k != home]
        ups = sum(self.found.place(k) is Place.DEVICE for k in away)
        down = home is not None and self.found.place(home) is Place.DEVICE and (away or name in self.outputs)
        return (ups + bool(down)) * value.nbytes


def _inputs(node: Node) -> list[str]:
    return list(dict.fromkeys(i for i in node.inputs if i))
