"""Random graphs with random places: phases are a partition, alternate, never form a cycle, and are as few as can be."""

from __future__ import annotations

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.ir import Graph
from compiler.partition.phases import Phases, Place, earliest, phases
from compiler.partition.subgraph import subgraph

Case = tuple[Graph, dict[str, Place]]
MEMBERS = (Place.DEVICE, Place.CPU, Place.EITHER)


@st.composite
def cases(draw: st.DrawFn, most: int = 14) -> Case:
    """A graph of up to `most` nodes, each reading up to three earlier values; tensors of 1 to 9 elements."""
    graph = Graph("random")
    values = [graph.add_input(f"x{k}", (draw(st.integers(1, 9)),), "float32") for k in range(draw(st.integers(1, 3)))]
    places: dict[str, Place] = {}
    for k in range(draw(st.integers(1, most))):
        reads = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
        count = draw(st.integers(1, 2))
        made = [graph.add_value(f"v{k}.{o}", (draw(st.integers(1, 9)),), "float32") for o in range(count)]
        node = graph.add_node("Any", reads, made, name=f"n{k}", sources=[f"n{k}"])
        places[node.name] = draw(st.sampled_from(MEMBERS))
        values += made
    unread = [v for v in values if not graph.consumers(v) and graph.producer(v) is not None]
    graph.outputs = unread + draw(st.lists(st.sampled_from(values), max_size=2, unique=True).map(
        lambda more: [m for m in more if m not in unread]))
    return graph, places


def longest_alternation(graph: Graph, places: dict[str, Place]) -> int:
    """Most runs of one place on any path, nodes that may be anywhere left out: no execution needs fewer phases."""

    @cache
    def runs(name: str, after: Place) -> int:
        node = next(n for n in graph.nodes if n.name == name)
        mine = places[name]
        now = after if mine is Place.EITHER else mine
        readers = {r.name for o in node.outputs for r in graph.consumers(o)}
        return int(now is not after) + max((runs(r, now) for r in readers), default=0)

    return max(runs(n.name, Place.EITHER) for n in graph.nodes)


@settings(max_examples=100, deadline=None)
@given(cases())
def test_partition_in_execution_order(case: Case) -> None:
    """Every node is in one group of its own place, and reads only what its group or an earlier one makes."""
    graph, places = case
    groups = phases(graph, places).groups(graph)
    assert sorted(n.name for _, nodes in groups for n in nodes) == sorted(places)
    known = set(graph.inputs)
    for place, nodes in groups:
        for node in nodes:
            assert places[node.name] in (place, Place.EITHER)
            assert known.issuperset(node.inputs)
            known.update(node.outputs)


@settings(max_examples=100, deadline=None)
@given(cases())
def test_convex(case: Case) -> None:
    """No path leaves a group and comes back, which is what a cycle between groups would be."""
    graph, places = case
    found = phases(graph, places)
    for node in graph.nodes:
        for output in node.outputs:
            assert all(found.of[r.name] >= found.of[node.name] for r in graph.consumers(output))


@settings(max_examples=100, deadline=None)
@given(cases())
def test_as_few_as_possible(case: Case) -> None:
    """One group more than the bound is needed only when two longest paths begin at different places."""
    graph, places = case
    bound = longest_alternation(graph, places)
    assert len(phases(graph, places).groups(graph)) in (max(bound, 1), bound + 1)


def crossing(graph: Graph, found: Phases) -> int:
    """Bytes over the host link, counted from the device groups' own inputs and outputs."""
    total = 0
    for place, nodes in found.groups(graph):
        part = subgraph(graph, {n.name for n in nodes})
        if place is Place.DEVICE:
            total += sum(part.value(v).nbytes for v in (*part.inputs, *part.outputs))
    return total


@settings(max_examples=100, deadline=None)
@given(cases())
def test_moving_nodes_towards_their_readers_saves_bytes(case: Case) -> None:
    """What the module weighs are the bytes of the device groups' inputs and outputs: no move makes them more."""
    graph, places = case
    found = phases(graph, places)
    assert crossing(graph, found) <= crossing(graph, earliest(graph, places, found.first))


def test_a_small_value_is_made_beside_its_reader() -> None:
    """x -> (wide) -> CPU -> device, and x -> (widened) -> the last: the widening is done where it is read."""
    graph = Graph("side")
    graph.add_input("x", (1,), "float32")
    for name, reads, size in (("a", ["x"], 1), ("b", ["a"], 1), ("wide", ["x"], 1000), ("y", ["b", "wide"], 1)):
        graph.add_node("Any", reads, [graph.add_value(name, (size,), "float32")], name=f"n_{name}")
    graph.outputs = ["y"]
    places = {"n_a": Place.DEVICE, "n_b": Place.CPU, "n_wide": Place.DEVICE, "n_y": Place.DEVICE}
    assert phases(graph, places).of == {"n_a": 0, "n_b": 1, "n_wide": 2, "n_y": 2}


@settings(max_examples=50, deadline=None)
@given(cases())
def test_same_answer_twice(case: Case) -> None:
    graph, places = case
    assert phases(graph, places) == phases(graph.copy(), dict(reversed(places.items())))


@settings(max_examples=100, deadline=None)
@given(cases())
def test_segments_hand_over_each_value_once(case: Case) -> None:
    """A segment's inputs and outputs are exactly what crosses; together the segments make every output of the model."""
    graph, places = case
    made = set(graph.inputs)
    for _, nodes in phases(graph, places).groups(graph):
        part = subgraph(graph, {n.name for n in nodes})
        inside = {o for n in nodes for o in n.outputs}
        assert len(set(part.inputs)) == len(part.inputs)
        assert set(part.inputs) == {i for n in nodes for i in n.inputs} - inside
        assert made.issuperset(part.inputs)
        read_outside = {i for n in graph.nodes if n not in nodes for i in n.inputs}
        assert set(part.outputs) == inside & (read_outside | set(graph.outputs))
        made.update(part.outputs)
    assert made.issuperset(graph.outputs)


def chain(kinds: str) -> Case:
    """One chain of nodes: D on the device, C on the CPU, E anywhere."""
    graph = Graph("chain")
    value = graph.add_input("x", (4,), "float32")
    places = {}
    for k, kind in enumerate(kinds):
        made = graph.add_value(f"v{k}", (4,), "float32")
        graph.add_node("Any", [value], [made], name=f"n{k}")
        places[f"n{k}"] = dict(zip("DCE", MEMBERS, strict=True))[kind]
        value = made
    graph.outputs = [value]
    return graph, places


def groups_of(kinds: str) -> str:
    graph, places = chain(kinds)
    return " ".join(("D" if place is Place.DEVICE else "C") + str(len(nodes))
                    for place, nodes in phases(graph, places).groups(graph))


def test_nodes_that_may_be_anywhere_join_their_neighbours() -> None:
    assert groups_of("EEE") == "D3"
    assert groups_of("DEC") == "D2 C1"
    assert groups_of("CED") == "C1 D2"
    assert groups_of("CEC") == "C3"
    assert groups_of("DED") == "D3"
    assert groups_of("ECE") == "C3"


def test_thousands_of_nodes() -> None:
    """Time grows with the nodes, not with their pairs."""
    assert groups_of("DDC" * 2000).count("D") == 2000
