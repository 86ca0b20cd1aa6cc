"""Drop nodes and values that no output needs."""
from __future__ import annotations

from compiler.ir import Graph


def run(graph: Graph) -> int:
    """Returns the number of dropped nodes."""
    return graph.remove_dead()
