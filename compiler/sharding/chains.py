"""Chains of nodes whose rows are computed in turn, so that a cut hands on few rows of what lies between them.

A convolution and the pool behind it, both split by rows: done one after the other, a cut between them hands on the
whole image. In turn, each part of the pool follows the parts of the convolution that it needs, and what is between
never crosses but for the rows that windows share.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from compiler.ir import Graph
from compiler.sharding.split import BY_ROWS, Split


@dataclass(frozen=True)
class Link:
    """A node of a chain.

    Attributes:
        how: it is split, None: not at all. ends: blocks at which its pieces begin and end, from 0 to all.
    """

    how: Split | None
    ends: Sequence[int]

    @property
    def blocks(self) -> int:
        return self.ends[-1]

    @property
    def by_rows(self) -> bool:
        return self.how is not None and self.how.by == BY_ROWS

    def rows(self, blocks: int) -> int:
        """Rows of so many blocks."""
        assert self.how is not None
        return min(blocks * self.how.unit, self.how.size)

    def read(self, blocks: int) -> int:
        """Rows of the node before that so many blocks need."""
        assert self.how is not None
        rows = self.rows(blocks)
        return self.how.reach.of(rows - 1, rows)[1] if self.how.reach is not None else rows

    def passed(self, blocks: int) -> int:
        """Rows of the node before that only the first so many blocks need."""
        assert self.how is not None
        rows = self.rows(blocks)
        if self.how.reach is None or rows == self.how.size:
            return rows if self.how.reach is None else self.how.reach.height
        return self.how.reach.of(rows, rows + 1)[0]


def chains(graph: Graph, names: Sequence[str], hows: Mapping[str, Split | None]) -> list[list[str]]:
    """The nodes, consecutive ones together where their rows should be computed in turn.

    They are where each is read by the next alone and what leaves the chain is less than what lies inside.
    """
    nodes = {n.name: n for n in graph.nodes}
    sizes = {name: graph.value(n.output).size for name, n in nodes.items()}
    found: list[list[str]] = []
    for name in names:
        last = nodes[found[-1][-1]] if found else None
        if last is not None and sizes[name] <= sizes[last.name] and _feeds(graph, last.name, name, hows):
            found[-1].append(name)
        else:
            found.append([name])
    return [part for run in found for part in ([run] if sizes[run[-1]] < sizes[run[0]] else [[n] for n in run])]


def _feeds(graph: Graph, first: str, then: str, hows: Mapping[str, Split | None]) -> bool:
    """Whether one node is all that reads another, row by row."""
    one, other = hows[first], hows[then]
    if one is None or other is None or one.by != BY_ROWS or other.by != BY_ROWS:
        return False
    made = next(n for n in graph.nodes if n.name == first).output
    reader = next(n for n in graph.nodes if n.name == then)
    at = [k for k, name in enumerate(reader.inputs) if name == made]
    alone = graph.only_consumer(made) is reader and made not in graph.outputs
    return alone and len(at) == 1 and at[0] in other.operands and (other.reach is None or at[0] == 0)


def turns(links: Sequence[Link]) -> Iterator[tuple[int, int, int]]:
    """(node, first block, end) of all pieces, each as late as the last node allows."""
    at = [0] * len(links)

    def advance(k: int) -> Iterator[tuple[int, int, int]]:
        low, high = links[k].ends[at[k]], links[k].ends[at[k] + 1]
        if k:
            yield from until(k - 1, links[k].read(high))
        at[k] += 1
        yield k, low, high

    def until(k: int, rows: int) -> Iterator[tuple[int, int, int]]:
        while at[k] + 1 < len(links[k].ends) and links[k].rows(links[k].ends[at[k]]) < rows:
            yield from advance(k)

    for k in reversed(range(len(links))):  # the last, then what it had no need of
        while at[k] + 1 < len(links[k].ends):
            yield from advance(k)
