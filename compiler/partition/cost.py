"""Rough times of nodes on the device and on the host, and of the link between them: enough to choose a side.

Device: for each node a start, and the longest of its products at the PE's rate, its elements at the vector engine's and
its constants at the memory's. Host: as CPU segments are charged when they run. Every number is the target's.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence

from compiler.ir import Graph, Node
from compiler.lower import macs
from isa.target import Target

_HELD = {"float64": 4, "int64": 4, "uint64": 4}


def device_ns(graph: Graph, nodes: Iterable[Node], target: Target) -> float:
    """Time of nodes one after the other on one core; they are those that lowering knows."""
    vector = target.engines["vector"]
    start = vector.latency_cycles / vector.clock_ghz
    lanes = target.partitions * vector.clock_ghz
    peak = max(target.peak_flops(d) for d in target.matmul_dtypes) / 1e9
    total = 2 * target.dma.start_latency_ns
    for node in nodes:
        elements = max((graph.value(name).size for name in (*node.inputs, *node.outputs) if name), default=0)
        constants = sum(graph.value(i).nbytes for i in set(node.inputs) if i and graph.is_const(i))
        total += start + max(2 * macs(graph, node) / peak, elements / lanes, constants / target.dram_bytes_per_ns)
    return total


def host_ns(nodes: Sequence[Node], graph: Graph, made_of: Iterable[Node], made: Graph, target: Target) -> float:
    """Time of nodes of `graph` on the host: a dispatch each, their products, and what they read and write.

    `made_of` are the same nodes in the operators that lowering knows, in the graph `made`: their products are counted.
    """
    flops = 2 * sum(macs(made, node) for node in made_of)
    moved = sum(graph.value(name).nbytes for n in nodes for name in {*n.inputs, *n.outputs} if name)
    work = flops / target.host_flops_per_ns + moved / target.host_bytes_per_cpu_ns
    return len(nodes) * target.host_dispatch_ns + work


def link_ns(graph: Graph, names: Iterable[str], target: Target) -> float:
    """Time of values over the host link."""
    return sum(_held_bytes(graph, name) for name in names) / target.host_bytes_per_ns


def _held_bytes(graph: Graph, name: str) -> int:
    value = graph.value(name)
    return value.size * _HELD[value.dtype] if value.dtype in _HELD else value.nbytes
