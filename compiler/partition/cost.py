"""Rough times of nodes on the device and on the host, and of the link between them: enough to choose a side.

Device: for each node a start, and the longest of its products at the PE's rate, its elements at the vector engine's,
its constants at the memory's and, where products read them, at the rate at which they enter the PE; a TopK reads its
rows again for every eight results. Host: as CPU
segments are charged when they run. Every number is the target's.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import log2

from compiler.ir import Graph, Node
from compiler.lower import macs
from compiler.lowering.top_k import scans
from isa.target import Target

_HELD = {"float64": 4, "int64": 4, "uint64": 4}
#: Operators that cost the host steps down trees instead of the products that the device makes of them.
TREES = frozenset({"TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"})
#: Bytes that a step down a tree moves: a cache line.
_STEP_BYTES = 64
#: Bytes of the place of an element that is sorted.
_PLACE_BYTES = 8


def device_ns(graph: Graph, nodes: Iterable[Node], target: Target) -> float:
    """Time of nodes one after the other on one core; they are those that lowering knows."""
    vector = target.engines["vector"]
    start = vector.latency_cycles / vector.clock_ghz
    lanes = target.partitions * vector.clock_ghz
    peak = max(target.peak_flops(d) for d in target.matmul_dtypes) / 1e9
    load = target.partitions * target.engines["tensor"].clock_ghz
    total = 2 * target.dma.start_latency_ns
    for node in nodes:
        elements = max((graph.value(name).size for name in (*node.inputs, *node.outputs) if name), default=0)
        constants = sum(graph.value(i).nbytes for i in set(node.inputs) if i and graph.is_const(i))
        products = macs(graph, node)
        held = sum(graph.value(i).size for i in set(node.inputs) if i and graph.is_const(i)) if products else 0
        if is_search(node):
            total += scans(graph, node, target.partitions) / vector.clock_ghz
        total += start + max(2 * products / peak, elements / lanes, constants / target.dram_bytes_per_ns, held / load)
    return total


def host_ns(nodes: Sequence[Node], graph: Graph, made_of: Iterable[Node], made: Graph, target: Target) -> float:
    """Time of nodes of `graph` on the host: a dispatch each, their products, and what they read and write.

    `made_of` are the same nodes in the operators that lowering knows, in the graph `made`: their products are counted.
    """
    trees = {n.name for n in nodes if is_trees(n)}
    flops = 2 * sum(macs(made, node) for node in made_of if not trees & set(node.sources))
    steps = sum(_steps(graph, n) for n in nodes if n.name in trees)
    moved: float = sum(graph.value(name).nbytes for n in nodes for name in {*n.inputs, *n.outputs} if name)
    moved += _STEP_BYTES * steps + sum(_sorted_bytes(graph, n) for n in nodes if is_search(n))
    work = flops / target.host_flops_per_ns + moved / target.host_bytes_per_cpu_ns
    return len(nodes) * target.host_dispatch_ns + work


def is_trees(node: Node) -> bool:
    """Whether a node is a tree ensemble."""
    return node.domain == "ai.onnx.ml" and node.op in TREES


def is_search(node: Node) -> bool:
    """Whether a node looks for the largest elements of rows, in order."""
    return not node.domain and node.op == "TopK"


def _sorted_bytes(graph: Graph, node: Node) -> float:
    """Bytes of log2 k passes that read and write every element and its place, as a merge sort of that depth does."""
    data, found = graph.value(node.inputs[0]), graph.shape(node.output or node.outputs[1])
    count = found[node.attrs.get("axis", -1)]
    return 2 * (data.nbytes + _PLACE_BYTES * data.size) * log2(max(2, count))


def _steps(graph: Graph, node: Node) -> float:
    """Steps down the trees of an ensemble, for all rows: as many as balanced trees of that many leaves have levels."""
    rows, attrs = graph.shape(node.inputs[0])[0], node.attrs
    if node.op == "TreeEnsemble":
        trees = len(attrs["tree_roots"])
        return float(rows * trees * log2(max(2.0, len(attrs["leaf_targetids"]) / max(1, trees))))
    leaves = Counter(tree for tree, mode in zip(attrs["nodes_treeids"], attrs["nodes_modes"], strict=True)
                     if mode == "LEAF")
    return float(rows * sum(log2(max(2, count)) for count in leaves.values()))


def link_ns(graph: Graph, names: Iterable[str], target: Target) -> float:
    """Time of values over the host link."""
    return sum(_held_bytes(graph, name) for name in names) / target.host_bytes_per_ns


def _held_bytes(graph: Graph, name: str) -> int:
    value = graph.value(name)
    return value.size * _HELD[value.dtype] if value.dtype in _HELD else value.nbytes
