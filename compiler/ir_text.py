"""Text form of a graph: one line per value that enters, one per node, stable from run to run."""
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from compiler.ir import Graph, Node, Value


def graph_to_text(graph: Graph) -> str:
    """Render a graph; constants of up to eight elements are shown with their values."""
    return "\n".join(_lines(graph)) + "\n"


def _lines(graph: Graph) -> Iterator[str]:
    yield f"graph {graph.name}"
    for name in graph.inputs:
        yield f"  input  {_typed(graph.value(name))}"
    for value in graph.constants():
        yield f"  const  {_typed(value)}{_small(value.const)}"
    for node in graph.nodes:
        yield "  " + _node(graph, node)
    for name in graph.outputs:
        yield f"  output {_typed(graph.value(name))}"


def _typed(value: Value) -> str:
    if value.host:
        return f"%{value.name}: host {value.dtype or '?'}"
    return f"%{value.name}: {value.dtype}[{','.join(map(str, value.shape))}]"


def _small(array: np.ndarray | None) -> str:
    if array is None or array.size > 8:
        return ""
    return " = " + str(array.tolist())


def _node(graph: Graph, node: Node) -> str:
    outputs = ", ".join(_typed(graph.value(o)) if o else "_" for o in node.outputs)
    inputs = ", ".join(f"%{i}" if i else "_" for i in node.inputs)
    attrs = ", ".join(f"{k}={_attr(v)}" for k, v in sorted(node.attrs.items()))
    sources = f"  # {', '.join(node.sources)}" if node.sources else ""
    op = f"{node.domain}::{node.op}" if node.domain else node.op
    host = f"  [host: {node.host}]" if node.host else ""
    return f"{outputs} = {op}({inputs}){' {' + attrs + '}' if attrs else ''}{host}{sources}"


def _attr(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_attr(v) for v in value) + "]"
    return str(value)
