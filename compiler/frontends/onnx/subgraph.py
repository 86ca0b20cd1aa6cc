"""Nodes that carry subgraphs: which outer values these read, and the same node with other names."""
from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import chain, count

import onnx


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs among a node's attributes, in order."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and all subgraphs in it, the outer before the inner."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from all_graphs(inner)


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of all subgraphs in it."""
    for each in all_graphs(graph):
        yield from each.node


def captures(node: onnx.NodeProto) -> list[str]:
    """Names of the outer graph that the subgraphs of a node read, each once, in order of first use."""
    return list(dict.fromkeys(name for graph in subgraphs(node) for name in _free(graph)))


def _free(graph: onnx.GraphProto) -> Iterator[str]:
    own = set(_entering(graph))
    for node in graph.node:
        yield from (i for i in (*node.input, *captures(node)) if i and i not in own)
        own.update(node.output)
    yield from (o.name for o in graph.output if o.name not in own)


def _entering(graph: onnx.GraphProto) -> list[str]:
    """Names a graph defines before its first node, each once."""
    values = (*graph.input, *graph.initializer, *(s.values for s in graph.sparse_initializer))
    return list(dict.fromkeys(v.name for v in values))


def renamed(node: onnx.NodeProto, names: Mapping[str, str], taken: Collection[str] = ()) -> onnx.NodeProto:
    """A copy of a node with its inputs, and what its subgraphs read of the outer graph, renamed.

    Args:
        node: any node; its outputs keep their names.
        names: new name by old name; names that are missing stay.
        taken: names of the outer graph; values that subgraphs define under such a name get another one.
    """
    result = onnx.NodeProto()
    result.CopyFrom(node)
    result.input[:] = [names.get(i, i) for i in node.input]
    for graph in subgraphs(result):
        _rename(graph, dict(names), {*taken, *names.values()})
    return result


def _rename(graph: onnx.GraphProto, names: dict[str, str], outer: Collection[str]) -> None:
    """Rename in place; `names` maps the names visible from outside."""
    taken = set(outer)

    def define(name: str) -> str:
        new = next(n for n in chain([name], (f"{name}.{k}" for k in count(1))) if n not in taken)
        names[name] = new
        taken.add(new)
        return new

    for name in _entering(graph):
        define(name)
    for value in (*graph.input, *graph.initializer, *(s.values for s in graph.sparse_initializer)):
        value.name = names[value.name]
    for node in graph.node:
        node.input[:] = [names.get(i, i) for i in node.input]
        for inner in subgraphs(node):
            _rename(inner, dict(names), taken)
        node.output[:] = [define(o) if o else "" for o in node.output]
    for value in graph.output:
        value.name = names.get(value.name, value.name)
    del graph.value_info[:]
