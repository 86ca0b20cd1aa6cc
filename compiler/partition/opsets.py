"""Cuts the nodes of a CPU segment where no one version of an operator set can express them all."""
from __future__ import annotations

from compiler.frontends.onnx.export import version_intervals
from compiler.ir import Graph, Node

#: Operator domain -> first and last version at which something means the same.
Versions = dict[str, tuple[int, int]]
_ANY = (1, 10**6)


def cut_by_opset(graph: Graph, nodes: list[Node], known: dict[str, Versions]) -> list[list[Node]]:
    """Parts that run one after the other, each with a version for all its nodes; as a rule one part.

    Every node goes to the first part that takes it and does not come before the parts of what it reads.

    Args:
        known: versions by node name, filled as they are asked for.
    """
    parts: list[list[Node]] = []
    bounds: list[Versions] = []
    place: dict[str, int] = {}
    for node in nodes:
        mine = known.get(node.name) or known.setdefault(node.name, version_intervals(graph, node))
        before = (graph.producer(i) for i in node.inputs if i)
        k = max((place[p.name] for p in before if p is not None and p.name in place), default=0)
        while k < len(parts) and not _fits(bounds[k], mine):
            k += 1
        if k == len(parts):
            parts.append([])
            bounds.append({})
        for domain, (low, high) in mine.items():
            lowest, highest = bounds[k].get(domain, _ANY)
            bounds[k][domain] = max(low, lowest), min(high, highest)
        parts[k].append(node)
        place[node.name] = k
    return parts


def _fits(bounds: Versions, mine: Versions) -> bool:
    return all(max(low, bounds.get(d, _ANY)[0]) <= min(high, bounds.get(d, _ANY)[1]) for d, (low, high) in mine.items())
