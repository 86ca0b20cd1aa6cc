"""What decides a stage's time: its graph but for names and the values of its weights."""
from __future__ import annotations

from collections.abc import Hashable, Mapping

from compiler.ir import Graph

SMALL = 64  # elements of constants whose values may decide how a node is lowered: axes, sizes, permutations


def look(graph: Graph, spaces: Mapping[str, str]) -> Hashable:
    """Equal for stages that take the same time.

    Args:
        spaces: memory of the values that are handed over, by name.
    """
    numbers: dict[str, int] = {}

    def value(name: str) -> Hashable:
        if not name:
            return ""
        known = name in numbers
        number = numbers.setdefault(name, len(numbers))
        if known:
            return number
        v = graph.value(name)
        const = None if v.const is None else v.const.tobytes() if v.const.size <= SMALL else "weight"
        return number, v.shape, v.dtype, const, spaces.get(name, "")

    faces = tuple(value(i) for i in graph.inputs)
    nodes = tuple(
        (n.op, repr(sorted(n.attrs.items())), tuple(map(value, n.inputs)), tuple(map(value, n.outputs)))
        for n in graph.nodes
    )
    return faces, nodes, tuple(value(o) for o in graph.outputs)
