"""From ends of stages to graphs: nodes that two stages share are split, then each stage gets a graph of its own."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from compiler.ir import Graph
from compiler.sharding.balance import spans
from compiler.sharding.cut import Cut, cut
from compiler.sharding.line import Line, Piece
from compiler.sharding.split import split, split_of


@dataclass(frozen=True)
class Division:
    """A segment in stages.

    Attributes:
        graph: the segment with shared nodes split. cut: its stages.
        shares: what each stage does, blocks of one node joined.
    """

    graph: Graph
    cut: Cut
    shares: list[tuple[Piece, ...]]


def divide(graph: Graph, line: Line, ends: Sequence[int]) -> Division:
    """The stages that end after so many atoms of the line. `graph` is not changed."""
    found = [_share(line, lo, hi) for lo, hi in spans(ends)]
    holders: dict[str, list[tuple[int, Piece]]] = {}
    for k, share in enumerate(found):
        for piece in share:
            holders.setdefault(piece.node, []).append((k, piece))
    work = graph.copy()
    groups: list[list[str]] = [[] for _ in found]
    for name, held in holders.items():
        for k, part in [(held[0][0], name)] if len(held) == 1 else _split(work, name, held):
            groups[k].append(part)
    return Division(work, cut(work, groups), found)


def _share(line: Line, lo: int, hi: int) -> tuple[Piece, ...]:
    joined: dict[str, Piece] = {}
    for piece in (p for atom in line.atoms[lo:hi] for p in atom):
        first = joined.get(piece.node, piece)
        joined[piece.node] = first._replace(end=piece.end)
    return tuple(joined.values())


def _split(work: Graph, name: str, held: Sequence[tuple[int, Piece]]) -> list[tuple[int, str]]:
    """Split a node in place; (stage, name) of all that stands for it now, in order.

    Where what has been split before keeps it whole, it goes to its last stage.
    """
    known = {n.name for n in work.nodes}
    how = split_of(work, next(n for n in work.nodes if n.name == name))
    if how is None or how.limit != held[0][1].blocks:
        return [(held[-1][0], name)]
    bounds = [0, *(min(piece.end * how.unit, how.size) for _, piece in held)]
    parts = split(work, name, [hi - lo for lo, hi in pairwise(bounds)])
    stage_of = dict(zip(parts, (k for k, _ in held), strict=True))
    stage = held[-1][0]
    found: list[tuple[int, str]] = []
    for node in reversed([n for n in work.nodes if n.name not in known]):  # what cuts an operand goes with its reader
        stage = stage_of.get(node.name, stage)
        found.append((stage, node.name))
    return found[::-1]
