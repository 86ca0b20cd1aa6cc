"""The graph: its index stays true under edits, names are unique, the order is topological, the text is stable."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.ir import Graph
from compiler.verify import verify


def chain(length: int = 3) -> Graph:
    graph = Graph("chain")
    graph.add_input("v0", (2, 3), "float32")
    for k in range(length):
        graph.add_value(f"v{k + 1}", (2, 3), "float32")
        graph.add_node("Relu", [f"v{k}"], [f"v{k + 1}"], name=f"n{k}", sources=[f"src{k}"])
    graph.outputs.append(f"v{length}")
    return graph


def test_producers_and_consumers() -> None:
    graph = chain()
    n0, n1, n2 = graph.nodes
    assert graph.producer("v1") is n0
    assert graph.producer("v0") is None
    assert graph.consumers("v1") == [n1]
    assert graph.only_consumer("v2") is n2
    assert graph.only_consumer("v3") is None


def test_only_consumer_is_none_when_read_twice() -> None:
    graph = chain(1)
    graph.add_value("y", (2, 3), "float32")
    graph.add_node("Mul", ["v1", "v1"], ["y"])
    graph.outputs[:] = ["y"]
    assert graph.only_consumer("v1") is None


def test_replace_uses_and_set_input() -> None:
    graph = chain()
    graph.replace_uses("v1", "v0")
    assert graph.nodes[1].inputs == ["v0"]
    assert graph.consumers("v1") == []
    graph.set_input(graph.nodes[1], 2, "v1")
    assert graph.nodes[1].inputs == ["v0", "", "v1"]
    verify(graph)


def test_bypass_keeps_the_output_name() -> None:
    graph = chain()
    assert graph.bypass(graph.nodes[2], "v2")
    assert graph.outputs == ["v3"]
    producer = graph.producer("v3")
    assert producer is not None
    assert producer.name == "n1"
    verify(graph)


def test_bypass_refuses_an_output_that_is_an_input() -> None:
    graph = chain(1)
    assert not graph.bypass(graph.nodes[0], "v0")
    verify(graph)


def test_make_const_drops_the_producer() -> None:
    graph = chain()
    graph.make_const("v2", np.zeros((2, 3), np.float32))
    assert [n.name for n in graph.nodes] == ["n0", "n2"]
    assert graph.remove_dead() == 1
    assert [n.name for n in graph.nodes] == ["n2"]
    verify(graph)


def test_fresh_names_never_collide() -> None:
    graph = chain()
    names = [graph.add_const(np.zeros(1, np.float32), "v1") for _ in range(4)]
    assert len({*names, "v1"}) == 5
    with pytest.raises(ValueError, match="already"):
        graph.add_value("v1", (), "float32")


def test_topological_sort_finds_cycles() -> None:
    graph = chain()
    graph.set_inputs(graph.nodes[0], ["v2"])
    with pytest.raises(ValueError, match="cycle"):
        graph.topological_sort()


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(6)))
def test_topological_sort_restores_any_order(order: list[int]) -> None:
    graph = chain(6)
    graph.nodes = [graph.nodes[k] for k in order]
    graph.topological_sort()
    verify(graph)
    assert [n.name for n in graph.nodes] == [f"n{k}" for k in range(6)]


def test_copy_is_independent() -> None:
    graph = chain()
    twin = graph.copy()
    twin.bypass(twin.nodes[1], "v1")
    twin.nodes[0].attrs["x"] = 1
    assert len(graph) == 3
    assert graph.nodes[0].attrs == {}
    verify(graph)
    verify(twin)


def test_text_is_stable_and_complete() -> None:
    graph = chain(1)
    graph.add_const(np.array([1, 2], np.int64), "c")
    assert graph.to_text() == (
        "graph chain\n  input  %v0: float32[2,3]\n  const  %c: int64[2] = [1, 2]\n"
        "  %v1: float32[2,3] = Relu(%v0)  # src0\n  output %v1: float32[2,3]\n")
