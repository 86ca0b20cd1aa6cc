"""What decides a stage's time: its graph but for names and the values of its weights."""
from __future__ import annotations

from collections.abc import Hashable, Mapping

from compiler.ir import Graph
from compiler.precision import Precision

SMALL = 64  # elements of constants whose values may decide how a node is lowered: axes, sizes, permutations


def look(graph: Graph, precision: Precision, spaces: Mapping[str, str]) -> Hashable:
    """Equal for stages that take the same time.

    Args:
        precision: of the segment. spaces: memory of the values that are handed over, by name.
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
        if v.const is not None:
            return number, v.shape, v.dtype, v.const.tobytes() if v.const.size <= SMALL else "weight"
        return number, v.shape, v.dtype, precision.storage(name), spaces.get(name, "")

    faces = tuple(value(i) for i in graph.inputs)
    nodes = tuple(
        (n.op, repr(sorted(n.attrs.items())), tuple(map(value, n.inputs)), tuple(map(value, n.outputs)))
        for n in graph.nodes
    )
    return faces, nodes, tuple(value(o) for o in graph.outputs)
