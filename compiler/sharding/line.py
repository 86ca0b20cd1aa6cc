"""The work of a segment in one line: nodes in order, large ones as runs of blocks, what crosses each cut."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from compiler.ir import Graph, Node
from compiler.precision import Precision
from compiler.sharding.chains import Link, chains, turns
from compiler.sharding.costs import Cost
from compiler.sharding.order import crossing_bytes
from compiler.sharding.split import BY_ROWS, Split, split_of
from compiler.windows import ROWS
from isa.dtypes import dtype as dtype_of

GRAIN = 24  # pieces of a stage's time into which nodes are split; finer ones would not balance better than the estimate
NOTHING_NS = 1e-3  # nodes of less time are views: they go with the work before them


class Piece(NamedTuple):
    """Blocks `first` .. `end`-1 of the `blocks` of one node, of channels or rows; (0, 1) of 1 is the whole node."""

    node: str
    first: int
    end: int
    blocks: int


@dataclass(frozen=True)
class Line:
    """Work in the order in which it may be cut.

    Attributes:
        atoms: [n] pieces that stay together.
        kinds: [n] number of each atom's kind: atoms of one kind are the same pieces of nodes that look alike.
        looks: [n, 2] numbers of the looks (operator, shapes) of each atom's first and last node.
        ns: [n] time of each. weights: [n] SBUF bytes per partition of its pinned weights. scratch: [n] of its other
            tiles at most.
        crossing: [n + 1] bytes handed on by a cut in front of each atom; 0 at both ends, which are the host's.
        values: (atom that makes it or -1, last atom that reads it or n, bytes) of each value that can cross a cut.
        enter, leave: [n + 1] ns that a cut in front of each atom costs the stage behind it and the one before.
        repeated: [n + 1] SBUF bytes per partition of weights that a stage needs beyond its atoms' if a cut is in front
            of an atom: parts of a node by rows all need its weights, which are those of the first in `weights`.
        known: (first atom, end) -> ns of stages whose time is no longer a guess.
    """

    atoms: Sequence[tuple[Piece, ...]]
    kinds: np.ndarray
    looks: np.ndarray
    ns: np.ndarray
    weights: np.ndarray
    scratch: np.ndarray
    crossing: np.ndarray
    values: Sequence[tuple[int, int, float]]
    enter: np.ndarray
    leave: np.ndarray
    repeated: np.ndarray
    known: Mapping[tuple[int, int], float] = field(default_factory=dict)


class _Unit(NamedTuple):
    """A piece with its cost, and the bytes that cross a cut in front of it."""

    piece: Piece
    ns: float
    weights: float
    scratch: int
    crossing: float
    repeated: float


def line_of(
    graph: Graph, names: Sequence[str], costs: Mapping[str, Cost], precision: Precision, stages: int, rows: bool = True,
) -> Line:
    """The line of an optimised graph for a pipeline of `stages`.

    Args:
        names: of all nodes, producers before readers.
        costs: by node name. precision: tells in which type values are handed on.
        rows: whether stages may share the rows of a node.
    """
    nodes = {n.name: n for n in graph.nodes}
    crossing = [sum(size_bytes(graph, i, precision) for i in graph.inputs),
                *crossing_bytes(graph, names, precision.storage)]
    grain = sum(c.ns for c in costs.values()) / stages / GRAIN
    place = {name: at for at, name in enumerate(names)}
    made = {name: sum(size_bytes(graph, o, precision) for o in nodes[name].outputs if o) for name in names}
    hows = {name: split_of(graph, nodes[name]) for name in names}
    if not rows:
        hows = {name: how if how is not None and how.by != BY_ROWS else None for name, how in hows.items()}
    runs = chains(graph, names, hows)
    units: list[_Unit] = []
    for run in runs:
        spent = [_spent(graph, nodes[n], [nodes[m] for m in run], place, precision) for n in run]
        units += _units([nodes[n] for n in run], _links(run, hows, costs, grain), [costs[n] for n in run],
                        crossing[place[run[0]]], spent, [made[n] for n in run])
    starts = _starts(units)
    parts = [units[lo:hi] for lo, hi in pairwise([*starts, len(units)])]
    atoms = [tuple(u.piece for u in part) for part in parts]
    inside = {nodes[n].output for run in runs for n in run[:-1]}
    return Line(
        atoms,
        *_kinds(graph, nodes, atoms),
        np.array([sum(u.ns for u in part) for part in parts]),
        np.array([sum(u.weights for u in part) for part in parts]),
        np.array([max((u.scratch for u in part), default=0) for part in parts]),
        np.array([0.0, *(units[s].crossing for s in starts[1:]), 0.0]),
        [v for name, v in _values(graph, atoms, hows, precision) if name not in inside],
        np.zeros(len(parts) + 1),
        np.zeros(len(parts) + 1),
        np.array([0.0, *(units[s].repeated for s in starts[1:]), 0.0]),
    )


def size_bytes(graph: Graph, name: str, precision: Precision) -> int:
    """Bytes of a value in the type in which it is kept on chip."""
    return graph.value(name).size * dtype_of(precision.storage(name)).size


def _lives(graph: Graph, place: Mapping[str, tuple[int, int]], n: int) -> dict[str, tuple[int, int]]:
    """(place that finishes it, -1 for inputs; last place that reads it, n for results) of each value.

    Args:
        place: where each node is finished, and where it last reads the whole of what it reads.
    """
    born = dict.fromkeys(graph.inputs, -1) | {o: place[v.name][0] for v in graph.nodes for o in v.outputs if o}
    found = {}
    for value, at in born.items():
        result = value in graph.outputs and value not in graph.inputs
        found[value] = at, n if result else max((place[v.name][1] for v in graph.consumers(value)), default=at)
    return found


def _values(
    graph: Graph, atoms: Sequence[tuple[Piece, ...]], hows: Mapping[str, Split | None], precision: Precision
) -> list[tuple[str, tuple[int, int, float]]]:
    """Name and entry in `Line.values` of each; where a node has begun to read rows, the rest is no longer all of it."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for at, atom in enumerate(atoms):
        for piece in atom:
            first.setdefault(piece.node, at)
            last[piece.node] = at
    by_rows = {name for name, how in hows.items() if how is not None and how.by == BY_ROWS}
    place = {name: (at, first[name] if name in by_rows else at) for name, at in last.items()}
    lives = _lives(graph, place, len(atoms))
    return [(v, (born, until, size_bytes(graph, v, precision))) for v, (born, until) in lives.items() if until > born]


def _units(
    run: Sequence[Node], links: Sequence[Link], costs: Sequence[Cost], crossing: float, spent: Sequence[int],
    made: Sequence[int],
) -> list[_Unit]:
    """Pieces of the nodes of a chain, in the order in which their rows are computed.

    Args:
        crossing: bytes that a cut in front of the chain hands on. made: of the results of each node. spent: of its
            operands from before the chain that nobody reads later: of those that are cut with its rows only the rest is
            handed on.
    """
    done = [0] * len(run)
    units = []
    for k, lo, hi in turns(links):
        link, cost = links[k], costs[k]
        share = (hi - lo) / link.blocks
        weights = cost.weight_bytes * (float(lo == 0) if link.by_rows else share)
        repeated = sum(c.weight_bytes for c, n, d in zip(costs, links, done, strict=True)
                       if n.by_rows and 0 < d < n.blocks)
        units.append(_Unit(Piece(run[k].name, lo, hi, link.blocks), cost.ns * share, weights, cost.scratch_bytes,
                           crossing + _between(links, done, spent, made), repeated))
        done[k] = hi
    return units


def _between(links: Sequence[Link], done: Sequence[int], spent: Sequence[int], made: Sequence[int]) -> float:
    """Bytes that a cut hands on beyond those in front of the chain when so many blocks of each node are done."""
    found = 0.0
    for k, (link, blocks) in enumerate(zip(links, done, strict=True)):
        if link.by_rows:
            found -= spent[k] * blocks / link.blocks
        if k + 1 < len(links):
            ready = link.rows(blocks)
            found += made[k] * max(0, ready - links[k + 1].passed(done[k + 1])) / link.rows(link.blocks)
        else:
            found += made[k] * blocks / link.blocks
    return found


def _links(names: Sequence[str], hows: Mapping[str, Split | None], costs: Mapping[str, Cost],
           grain: float) -> list[Link]:
    """Nodes of a chain in pieces of about `grain` ns, and as many as those of the node with the most."""
    limits = [how.limit if how is not None else 1 for how in (hows[n] for n in names)]
    most = max(round(costs[n].ns / grain) if costs[n].ns > grain else 1 for n in names)
    found = []
    for name, blocks in zip(names, limits, strict=True):
        count = min(blocks, max(1, most))
        found.append(Link(hows[name], [round(blocks * k / count) for k in range(count + 1)]))
    return found


def _spent(graph: Graph, node: Node, chain: Sequence[Node], place: Mapping[str, int], precision: Precision) -> int:
    """Bytes of operands with the rows of the result, known before the chain, that no later node reads."""
    inside = {n.output for n in chain}
    read = [i for i in dict.fromkeys(node.inputs) if i and not graph.is_const(i) and i not in graph.outputs]
    last = (i for i in read if all(place[n.name] <= place[node.name] for n in graph.consumers(i)))
    return sum(size_bytes(graph, i, precision) for i in last if i not in inside and len(graph.shape(i)) > ROWS)


def _starts(units: Sequence[_Unit]) -> list[int]:
    """Where a stage may begin: between two units that take time, at the view where least crosses."""
    working = [k for k, u in enumerate(units) if u.ns > NOTHING_NS]
    between = (min(range(a + 1, b + 1), key=lambda k: (units[k].crossing, k)) for a, b in pairwise(working))
    return [0, *between]


def _kinds(
    graph: Graph, nodes: Mapping[str, Node], atoms: Sequence[tuple[Piece, ...]]
) -> tuple[np.ndarray, np.ndarray]:
    """`Line.kinds` and `Line.looks`."""
    numbers: dict[object, int] = {}
    looks: dict[str, int] = {}
    for name, node in nodes.items():
        faces = tuple((graph.shape(v), graph.dtype(v), graph.is_const(v)) for v in (*node.inputs, *node.outputs) if v)
        looks[name] = numbers.setdefault((node.op, faces, repr(sorted(node.attrs.items()))), len(numbers))
    kinds = [numbers.setdefault(tuple((looks[p.node], p[1:]) for p in a), len(numbers)) for a in atoms]
    return np.array(kinds), np.array([[looks[p.node] for p in (a[0], a[-1])] if a else [-1, -1] for a in atoms])
