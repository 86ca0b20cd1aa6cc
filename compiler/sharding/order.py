"""An order of the nodes in which little is alive between one and the next: what is alive at a cut is handed on."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from compiler.ir import Graph, Node, numpy_dtype
from isa.dtypes import dtype as dtype_of


def order(graph: Graph) -> list[str]:
    """Names of all nodes, producers before readers, in a deterministic order that keeps little alive between them.

    Of the nodes that could come next the one that adds least, or frees most, is taken (between equals the first of the
    graph), so that long skip connections begin late. The graph's own order stands where that is no better in sum.
    """
    given = [n.name for n in graph.nodes]
    found = [n.name for n in _greedy(graph)]
    return min(given, found, key=lambda names: sum(_alive(graph, names, _model_bytes(graph))))


def crossing_bytes(graph: Graph, order: Sequence[str], storage: Callable[[str], str]) -> list[int]:
    """Bytes that a cut behind each node but the last would hand on: [nodes - 1].

    Args:
        order: names of all nodes, producers before readers.
        storage: isa data type in which a value is stored (`Precision.storage`).
    """
    return _alive(graph, order, lambda name: graph.value(name).size * dtype_of(storage(name)).size)


def _model_bytes(graph: Graph) -> Callable[[str], int]:
    return lambda name: graph.value(name).size * numpy_dtype(graph.dtype(name)).itemsize


def _alive(graph: Graph, order: Sequence[str], size: Callable[[str], int]) -> list[int]:
    """Bytes alive behind each node but the last: made before, read after or leaving the graph; constants are not."""
    place = {name: k for k, name in enumerate(order)}
    last = len(order) - 1
    steps = [0] * (last + 2)
    results = set(graph.outputs) - set(graph.inputs)
    born = dict.fromkeys(graph.inputs, 0) | {o: place[n.name] for n in graph.nodes for o in n.outputs if o}
    for name, first in born.items():
        end = last if name in results else max((place[n.name] for n in graph.consumers(name)), default=first)
        steps[first] += size(name)
        steps[end] -= size(name)
    alive, total = [], 0
    for step in steps[:last]:
        total += step
        alive.append(total)
    return alive


def _greedy(graph: Graph) -> list[Node]:
    """List scheduling by growth of what is alive."""
    place = {id(n): k for k, n in enumerate(graph.nodes)}
    size = _model_bytes(graph)
    producers = {id(n): {id(p): p for i in n.inputs if i and (p := graph.producer(i)) is not None} for n in graph.nodes}
    waiting = {key: len(found) for key, found in producers.items()}
    readers = {v: len(graph.consumers(v)) + (v in graph.outputs) for v in graph.values}

    def growth(node: Node) -> int:
        freed = (i for i in dict.fromkeys(node.inputs) if i and readers[i] == 1 and not graph.is_const(i))
        return sum(size(o) for o in node.outputs if o and readers[o]) - sum(map(size, freed))

    ready = [n for n in graph.nodes if not waiting[id(n)]]
    done: list[Node] = []
    while ready:
        node = min(ready, key=lambda n: (growth(n), place[id(n)]))
        ready.remove(node)
        done.append(node)
        for name in dict.fromkeys(filter(None, node.inputs)):
            readers[name] -= 1
        following = {id(r): r for o in node.outputs if o for r in graph.consumers(o)}
        for key, reader in following.items():
            waiting[key] -= 1
            if not waiting[key]:
                ready.append(reader)
    return done
