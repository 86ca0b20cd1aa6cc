"""Which parts of a model run on the device and which on the host's CPU, and why: the graph cut into segments.

`reasons` judges single nodes, `phases` puts them into as few segments as there can be, `cost` weighs what crosses the
host link, `choice` is what the user asked for. Not responsible for compiling a segment.
"""
from __future__ import annotations

from compiler.ir import Graph
from compiler.options import CompileOptions
from compiler.partition.partitioner import Partition, Partitioner, Segment
from isa.target import Target

__all__ = ["Partition", "Partitioner", "Segment", "partition"]


def partition(graph: Graph, target: Target, options: CompileOptions) -> Partition:
    """Cut a graph into segments; `graph` is not changed.

    Raises: ErrorList of OptionError (names nobody has), of UnsupportedOp (`fallback=False`, `device_ops`).
    """
    return Partitioner(graph, target, options).partition()
