"""Chunks: the order in which nodes are lowered, and which part of the batch and of the image rows each visit computes.

A stretch of the graph whose whole activations would not fit in SBUF is computed several times over, each time for some
images or some rows of its results; what the producers must deliver follows from the consumers' windows (with the rows that
neighbouring chunks share computed twice). Everything else is lowered once, whole.
"""
from __future__ import annotations

from dataclasses import dataclass, field

from compiler.ir import Graph, Node
from compiler.options import CompileOptions
from compiler.precision import Precision
from isa.target import Target

Box = dict[int, tuple[int, int]]


@dataclass
class Chunk:
    """One visit to a stretch of nodes.

    Attributes:
        nodes: to lower, in order. windows: the part of each value to compute (absent: all of it).
        whole: values that outlive the chunk and are assembled over several chunks.
        fresh: values recomputed by this chunk. finished: values complete after it. dead: values not needed after it.
        number: counts the chunks of a stretch. parts: how many there are.
    """

    nodes: list[Node]
    windows: dict[str, Box] = field(default_factory=dict)
    whole: dict[str, Box] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    number: int = 0
    parts: int = 1

    def share(self, macs: int) -> int:
        """This chunk's part of a node's useful work, adding up to exactly the whole over the chunks."""
        return macs * (self.number + 1) // self.parts - macs * self.number // self.parts


def plan_chunks(graph: Graph, target: Target, precision: Precision, options: CompileOptions) -> list[Chunk]:
    """The graph's nodes as chunks, in order."""
    last_use = {name: k for k, node in enumerate(graph.nodes) for name in node.inputs if name}
    chunks = []
    for k, node in enumerate(graph.nodes):
        dead = [n for n in dict.fromkeys(node.inputs) if n and last_use[n] == k and n not in graph.outputs]
        chunks.append(Chunk([node], dead=dead))
    return chunks
