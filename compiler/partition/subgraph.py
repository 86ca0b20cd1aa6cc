"""Cuts nodes out of a graph: what they read from elsewhere becomes an input, what others read of them an output."""
from __future__ import annotations

from collections.abc import Collection, Iterable

from compiler.ir import Graph, Node, Value


def subgraph(graph: Graph, nodes: Collection[str], name: str = "", more_outputs: Iterable[str] = ()) -> Graph:
    """The nodes of these names as a graph of their own; arrays are shared, everything else is copied.

    Args:
        graph: not changed.
        nodes: names of nodes; their order is the graph's.
        name: of the new graph.
        more_outputs: values of `graph` that have to be outputs although no node outside reads them.
    """
    part = Graph(name or graph.name)
    part.opsets = dict(graph.opsets)
    inside = [n for n in graph.nodes if n.name in nodes]
    for node in inside:  # before the values: a node may have the name of a value, and has to keep it
        _add_copy(part, node)
    made = {o for n in inside for o in n.outputs if o}
    read = dict.fromkeys(i for n in inside for i in n.inputs if i and i not in made)
    wanted = {*graph.outputs, *more_outputs}
    part.inputs = [i for i in _in_order(graph, read) if not graph.is_const(i)]
    results = (o for n in inside for o in n.outputs if o and (o in wanted or _read_outside(graph, o, nodes)))
    part.outputs = list(dict.fromkeys([*results, *(o for o in more_outputs if o not in made)]))
    for value in dict.fromkeys([*part.inputs, *read, *(o for n in inside for o in n.outputs if o), *part.outputs]):
        part.values[value] = _copied(graph.value(value))
    return part


def _add_copy(part: Graph, node: Node) -> None:
    attrs = {k: list(v) if isinstance(v, list) else v for k, v in node.attrs.items()}
    part.add_node(node.op, node.inputs, node.outputs, attrs, name=node.name, sources=node.sources, domain=node.domain,
                  host=node.host, proto=node.proto, version=node.version)


def _copied(value: Value) -> Value:
    return Value(value.name, value.shape, value.dtype, value.const, value.host)


def _in_order(graph: Graph, names: Iterable[str]) -> list[str]:
    """Model inputs first, in the model's order."""
    place = {name: i for i, name in enumerate(graph.inputs)}
    return sorted(names, key=lambda n: place.get(n, len(place)))


def _read_outside(graph: Graph, value: str, nodes: Collection[str]) -> bool:
    return any(reader.name not in nodes for reader in graph.consumers(value))
