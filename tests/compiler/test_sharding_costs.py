"""Prices of nodes, the line they are laid out in, and where handed values lie."""
from __future__ import annotations

from collections.abc import Hashable
from itertools import pairwise

import numpy as np
import pytest

from compiler.ir import Graph
from compiler.lower import lower_graph
from compiler.options import CompileOptions
from compiler.precision import Precision
from compiler.sharding.costs import Cost, node_costs
from compiler.sharding.division import divide
from compiler.sharding.handover import buffer_bytes, spaces
from compiler.sharding.line import line_of
from compiler.sharding.look import look
from isa.program import IN_DRAM, IN_SBUF
from isa.target import load

TARGET = load("inf1.6xlarge")


def products(*widths: int, rows: int = 128) -> Graph:
    """A chain of products x @ w, each as wide as told, with a Relu behind the first."""
    random = np.random.default_rng(0)
    graph = Graph("chain")
    x = graph.add_input("x", (rows, widths[0]), "float32")
    for k, (wide, width) in enumerate(pairwise(widths)):
        w = graph.add_const(random.standard_normal((wide, width)).astype(np.float32), f"w{k}")
        y = graph.add_value(f"y{k}", (rows, width), "float32")
        graph.add_node("MatMul", [x, w], [y], name=f"m{k}", sources=[f"m{k}"])
        x = y
        if k == 0:
            x = graph.add_value("r", (rows, width), "float32")
            graph.add_node("Relu", [y], [x], name="relu", sources=["relu"])
    graph.outputs = [x]
    return graph


def costs_of(graph: Graph) -> tuple[dict[str, Cost], Precision]:
    precision = Precision(graph, TARGET, "matmult")
    program, _ = lower_graph(graph, TARGET, precision, CompileOptions(), list(graph.outputs))
    return node_costs(program, graph), precision


def test_a_product_costs_what_its_weights_do() -> None:
    costs, _ = costs_of(products(256, 256, 1024, 2048))
    assert costs["m2"].ns == pytest.approx(8 * costs["m1"].ns, rel=0.2)
    assert costs["m1"].weight_bytes == 2 * 1024 * 2  # two tiles of 128 rows, 1024 bf16 columns each
    assert costs["m2"].weight_bytes == 8 * 2048 * 2
    assert costs["relu"].weight_bytes == 0
    assert all(c.scratch_bytes > 0 for c in costs.values())


def test_large_nodes_are_several_atoms() -> None:
    graph = products(256, 256, 1024)
    costs, precision = costs_of(graph)
    line = line_of(graph, [n.name for n in graph.nodes], costs, precision, 4)
    pieces = [p for atom in line.atoms for p in atom]
    assert [p.node for p in pieces].count("m1") > [p.node for p in pieces].count("m0") > 1
    assert line.ns.sum() == pytest.approx(sum(c.ns for c in costs.values()))
    assert line.weights.sum() == pytest.approx(sum(c.weight_bytes for c in costs.values()))
    inside = next(k for k, atom in enumerate(line.atoms) if atom[0].node == "m1" and atom[0].first == 4)
    whole, half = 128 * 256, 128 * 512  # what m1 reads, the first half of what it makes, in elements
    assert line.crossing[inside] == whole * 2 + half * 4  # operands of products are bf16, results of the model fp32
    assert line.crossing[0] == line.crossing[-1] == 0


def test_a_shared_node_is_split_between_its_stages() -> None:
    graph = products(256, 1024)
    costs, precision = costs_of(graph)
    line = line_of(graph, [n.name for n in graph.nodes], costs, precision, 2)
    at = next(k for k, atom in enumerate(line.atoms) if atom[0].node == "m0" and atom[0].first == 4)
    made = divide(graph, line, [at, len(line.atoms)])
    assert [next(p[:3] for p in share) for share in made.shares] == [("m0", 0, 4), ("m0", 4, 8)]
    first, second = made.cut.stages
    assert [n.op for n in first.nodes if n.op == "MatMul"] == [n.op for n in second.nodes if n.op == "MatMul"]
    assert len(graph.nodes) == 2  # as it was
    widths = [first.shape(n.output)[1] for n in first.nodes if n.op == "MatMul"]
    assert widths == [512]


def test_a_graph_without_nodes_is_one_stage() -> None:
    graph = products(256, 256)
    graph.outputs = ["x"]
    graph.remove_dead()
    line = line_of(graph, [], *costs_of(graph), 4)
    assert len(line.atoms) == 1
    assert [len(stage) for stage in divide(graph, line, [1]).cut.stages] == [0]


def test_stages_that_differ_in_names_and_weights_look_alike() -> None:
    graph, other = products(256, 256), products(256, 256)
    for value in other.constants():
        value.const = value.const + 1
    assert look_of(graph) == look_of(other)
    assert look_of(graph) != look_of(graph, {"x": IN_SBUF})
    assert look_of(graph) != look_of(graph, auto_cast="none")
    assert look_of(graph) != look_of(products(256, 384))
    assert look_of(graph) != look_of(products(256, 256, rows=64))


def look_of(graph: Graph, spaces: dict[str, str] | None = None, auto_cast: str = "matmult") -> Hashable:
    return look(graph, Precision(graph, load("trn1.2xlarge"), auto_cast), spaces or {})


def test_values_lie_in_sbuf_up_to_a_quarter_of_it() -> None:
    """2 buffers of ceil(bytes / 128) bytes, each to a multiple of 32: 131072 / 4 = 32768 bytes of a partition."""
    assert buffer_bytes([128 * 96, 1], TARGET) == 2 * 96 + 2 * 32
    half = 128 * (32768 // 4)
    assert spaces({"a": half, "b": half}, TARGET) == {"a": IN_SBUF, "b": IN_SBUF}
    assert spaces({"a": half, "b": half + 1}, TARGET) == {"a": IN_SBUF, "b": IN_DRAM}
    assert spaces({"a": 4 * half, "b": half, "c": 8}, TARGET) == {"a": IN_DRAM, "b": IN_SBUF, "c": IN_SBUF}
