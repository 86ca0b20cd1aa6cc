"""Operators that the device has no lowering for, as operators it has: one rule for each, one file for each family.

A rule returns False, and changes nothing, for a form it cannot express. What it makes is expanded again. The nodes it
makes inherit `sources`, so that reports count the model's own operator.
"""
from __future__ import annotations

from collections.abc import Callable

from compiler.ir import Graph, Node
from compiler.passes import (
    expand_elementwise,
    expand_movement,
    expand_normalise,
    expand_products,
    expand_quantised,
    expand_recurrent,
    expand_reduce,
    expand_trees,
    expand_windows,
)
from compiler.passes.rewrite import settle

Rule = Callable[[Graph, Node], bool]

#: operator, with its domain and "::" in front unless it is ONNX's own -> rule
RULES: dict[str, Rule] = {
    **expand_elementwise.RULES,
    **expand_movement.RULES,
    **expand_normalise.RULES,
    **expand_products.RULES,
    **expand_quantised.RULES,
    **expand_recurrent.RULES,
    **expand_reduce.RULES,
    **expand_trees.RULES,
    **expand_windows.RULES,
}


def run(graph: Graph) -> int:
    """Expand until nothing changes; returns the number of rewrites."""
    return settle(graph, _expand)


def _expand(graph: Graph, node: Node) -> int:
    rule = None if node.host else RULES.get(f"{node.domain}::{node.op}" if node.domain else node.op)
    return int(rule is not None and any(node.outputs) and rule(graph, node))
