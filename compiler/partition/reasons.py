"""Why the device cannot have a node: the graph is brought to the operators that lowering knows, and each is judged.

The passes run on a copy whose nodes remember the node they come from; a node of the model can go to the device when
everything made of it can.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compiler import ranges, sizes
from compiler.frontends.onnx.types import host_reason
from compiler.ir import Graph, Node
from compiler.lowering import CONDITIONS, LOWERINGS
from compiler.partition.choice import operator_name
from compiler.pipeline import GRAPH_PASSES, load_pass
from isa.target import Target

#: What brings a graph to operators that have lowerings.
PASSES = tuple(name for name, fuses in GRAPH_PASSES if not fuses)


@dataclass(frozen=True)
class Verdict:
    """What the device makes of a graph.

    Attributes:
        reasons: node name -> why the device cannot have it, in the graph's order; absent nodes it can have.
        made_of: node name -> what it became, nodes of `graph`; empty where passes drop it.
        graph: after the passes.
        constants: values that turned out to be known at compile time.
    """

    reasons: dict[str, str]
    made_of: dict[str, list[Node]]
    graph: Graph
    constants: dict[str, np.ndarray]


def judge(graph: Graph, target: Target, integers: bool = True) -> Verdict:
    """Judge every node of a graph, which is not changed.

    Args:
        graph: no node of it has `host` set and none touches a value of the host.
        target: whose conditions count.
        integers: whether integer arithmetic has to be proven exact; False for a part of a graph where it was proven.
    """
    work = graph.copy()
    unknown = {v.name for v in work.values.values() if v.const is None}
    for node in work.nodes:
        node.sources = [node.name]
    load_pass(PASSES[0])(work)  # folds constants
    constants = {v.name: v.const for v in work.constants() if v.name in unknown and v.const is not None}
    for name in PASSES[1:]:
        load_pass(name)(work)
    made_of: dict[str, list[Node]] = {n.name: [] for n in graph.nodes}
    found: dict[str, str] = {}
    bounds = ranges.ranges(work) if integers else {}
    for node in work.nodes:
        why = _reason(work, node, target) or (ranges.integer_reason(work, node, bounds) if integers else "")
        for source in node.sources:
            made_of[source].append(node)
            if why:
                found.setdefault(source, why)
    return Verdict({n.name: found[n.name] for n in graph.nodes if n.name in found}, made_of, work, constants)


def touches_host(graph: Graph, node: Node) -> str:
    """Why only the host can hold what a node reads or makes, "" otherwise."""
    return node.host or host_reason(graph, node.inputs, node.outputs)


def _reason(graph: Graph, node: Node, target: Target) -> str:
    why = touches_host(graph, node) or sizes.reason(graph, node, target)
    operator = operator_name(node)
    if not why and operator in CONDITIONS:
        why = CONDITIONS[operator](graph, node, target)
    if not why and operator not in LOWERINGS:
        why = f"the device has no {operator}"
    return why
