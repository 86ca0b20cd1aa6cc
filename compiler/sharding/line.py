"""The work of a segment in one line: nodes in order, large ones as runs of channel blocks, what crosses each cut."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from compiler.ir import Graph, Node
from compiler.precision import Precision
from compiler.sharding.balance import Line, Piece
from compiler.sharding.costs import Cost
from compiler.sharding.split import split_limits
from isa.dtypes import dtype as dtype_of

GRAIN = 24  # pieces of a stage's time into which nodes are split; finer ones would not balance better than the estimate
NOTHING_NS = 1e-3  # nodes of less time are views: they go with the work before them


class _Unit(NamedTuple):
    """A piece with its cost, and the bytes that cross a cut in front of it."""

    piece: Piece
    ns: float
    weights: float
    scratch: int
    crossing: float


def line_of(
    graph: Graph, names: Sequence[str], costs: Mapping[str, Cost], precision: Precision, stages: int
) -> Line:
    """The line of an optimised graph for a pipeline of `stages`.

    Args:
        names: of all nodes, producers before readers.
        costs: by node name. precision: tells in which type values are handed on.
    """
    nodes = {n.name: n for n in graph.nodes}
    crossing = crossing_bytes(graph, names, precision)
    grain = sum(c.ns for c in costs.values()) / stages / GRAIN
    units: list[_Unit] = []
    for at, name in enumerate(names):
        made = sum(size_bytes(graph, o, precision) for o in nodes[name].outputs if o)
        units += _units(graph, nodes[name], costs[name], grain, crossing[at], made)
    starts = _starts(units)
    ends = [*starts[1:], len(units)]
    runs = [units[lo:hi] for lo, hi in zip(starts, ends, strict=True)]
    return Line(
        [tuple(u.piece for u in run) for run in runs],
        np.array([sum(u.ns for u in run) for run in runs]),
        np.array([sum(u.weights for u in run) for run in runs]),
        np.array([max(u.scratch for u in run) for run in runs]),
        np.array([0.0, *(units[s].crossing for s in starts[1:]), 0.0]),
    )


def crossing_bytes(graph: Graph, names: Sequence[str], precision: Precision) -> np.ndarray:
    """[n] bytes alive between each node and the one before it: read there or later, or a result of the segment."""
    place = {name: at for at, name in enumerate(names)}
    change = np.zeros(len(names) + 2)
    born = dict.fromkeys(graph.inputs, -1) | {o: place[n.name] for n in graph.nodes for o in n.outputs if o}
    for value, at in born.items():
        last = max((place[n.name] for n in graph.consumers(value)), default=at)
        if value in graph.outputs and value not in graph.inputs:
            last = len(names)
        size = size_bytes(graph, value, precision)
        change[at + 1] += size
        change[last + 1] -= size
    return change.cumsum()[: len(names)]


def size_bytes(graph: Graph, name: str, precision: Precision) -> int:
    """Bytes of a value in the type in which it is kept on chip."""
    return graph.value(name).size * dtype_of(precision.storage(name)).size


def _units(graph: Graph, node: Node, cost: Cost, grain: float, crossing: float, made: int) -> list[_Unit]:
    blocks = split_limits(graph, node) if cost.ns > grain else 1
    count = min(blocks, max(1, round(cost.ns / grain))) if blocks > 1 else 1
    ends = [round(blocks * k / count) for k in range(count + 1)]
    return [
        _Unit(Piece(node.name, lo, hi, blocks), cost.ns * (hi - lo) / blocks, cost.weight_bytes * (hi - lo) / blocks,
              cost.scratch_bytes, crossing + made * lo / blocks)
        for lo, hi in pairwise(ends)
    ]


def _starts(units: Sequence[_Unit]) -> list[int]:
    """Where a stage may begin: between two units that take time, at the view where least crosses."""
    working = [k for k, u in enumerate(units) if u.ns > NOTHING_NS]
    between = (min(range(a + 1, b + 1), key=lambda k: (units[k].crossing, k)) for a, b in pairwise(working))
    return [0, *between]
