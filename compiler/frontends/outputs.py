"""The results that the user wants of a model, among those it has."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.errors import ShapeError
from compiler.ir import Graph


def select(graph: Graph, names: Sequence[str]) -> None:
    """Make `names`, in that order, the results of a graph; () leaves it as it is. Raises: ShapeError OUTPUT_NAME."""
    if not names or list(names) == graph.outputs:
        return
    for name in names:
        if name not in graph.outputs and graph.producer(name) is None:
            raise ShapeError(f"the model has no result {name!r}", code="OUTPUT_NAME", actual=name,
                             limit=", ".join(graph.outputs), help="use names of the list in `limit`")
    graph.outputs = list(names)
    graph.remove_dead()
