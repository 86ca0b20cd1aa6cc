"""Nodes whose rows are computed in turn: which ones, in what order, what a cut hands on, and the same bits."""
from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.ir import Graph
from compiler.lower import lower_graph
from compiler.options import from_keywords
from compiler.precision import Precision
from compiler.sharding.chains import Link, chains, turns
from compiler.sharding.costs import node_costs
from compiler.sharding.cut import cut
from compiler.sharding.division import divide
from compiler.sharding.line import Line, line_of
from compiler.sharding.order import order
from compiler.sharding.rows import Reach
from compiler.sharding.split import BY_ROWS, Split, split_of
from isa.target import load
from tests.compiler.evaluate import make, random_feeds
from tests.compiler.random_operators import floats, node
from tests.compiler.sharding_run import TARGET, compile_stages, run_stages
from tests.compiler.test_sharding_cut import optimised

FP32 = 4  # bytes


@st.composite
def links(draw: st.DrawFn) -> list[Link]:
    """A chain of random windows, each in random pieces."""
    height = draw(st.integers(12, 40))
    found = []
    for _ in range(draw(st.integers(1, 4))):
        stride, span = draw(st.integers(1, 2)), draw(st.integers(1, 4))
        before, after = draw(st.integers(0, span - 1)), draw(st.integers(0, span - 1))
        size = (height + before + after - span) // stride + 1
        unit = draw(st.integers(1, 3))
        blocks = -(-size // unit)
        inner = draw(st.sets(st.integers(1, blocks - 1))) if blocks > 1 else set()
        found.append(Link(Split(2, size, unit, {0: 2}, BY_ROWS, Reach(stride, span, before, height)),
                          [0, *sorted(inner), blocks]))
        height = size
        if height < 4:
            break
    return found


@settings(deadline=None, derandomize=True, database=None, max_examples=150)
@given(links())
def test_turns_compute_rows_in_time_and_no_earlier(chain: list[Link]) -> None:
    """Every piece once, after the rows it needs, and none before the last node has use for it."""
    order = list(turns(chain))
    assert sorted(order) == sorted((k, *ends) for k, n in enumerate(chain) for ends in pairwise(n.ends))
    done = [0] * len(chain)
    for at, (k, low, high) in enumerate(order):
        assert done[k] == low
        if k:
            assert chain[k - 1].rows(done[k - 1]) >= chain[k].read(high)
        then = next(((j, b) for j, _, b in order[at + 1 :] if j == k + 1), None)
        if then is not None:
            assert chain[k].rows(low) < chain[k + 1].read(then[1])
        done[k] = high


def images() -> onnx.ModelProto:
    """Two convolutions and a pool that shrinks what they make, then a convolution that makes more."""
    rng = np.random.default_rng(3)
    nodes = [node("Conv", ["x", "v"], ["a"], pads=[1] * 4), node("Relu", ["a"], ["b"]),
             node("Conv", ["b", "w"], ["c"], pads=[2] * 4, dilations=[2, 2]), node("Relu", ["c"], ["d"]),
             node("MaxPool", ["d"], ["e"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
             node("Conv", ["e", "k"], ["y"])]
    weights = {"v": floats(rng, 64, 40, 3, 3), "w": floats(rng, 64, 64, 3, 3), "k": floats(rng, 512, 64, 1, 1)}
    return make(nodes, {"x": [1, 40, 56, 48]}, ["y"], weights)


def line_with(graph: Graph, stages: int) -> Line:
    target = load(TARGET)
    precision = Precision(graph, target, "none")
    program, _ = lower_graph(graph, target, precision, from_keywords({"target": TARGET}), list(graph.outputs))
    return line_of(graph, order(graph), node_costs(program, graph), precision, stages)


def test_what_shrinks_is_computed_in_turn() -> None:
    graph = optimised(images())
    names = [n.name for n in graph.nodes]
    hows = {n.name: split_of(graph, n) for n in graph.nodes}
    assert [len(run) for run in chains(graph, names, hows)] == [3, 1]
    graph.outputs.append(graph.nodes[0].output)  # it is needed whole
    assert [len(run) for run in chains(graph, names, hows)] == [1, 2, 1]


@pytest.mark.parametrize("at", [2, 5, 8, 11])
def test_cuts_inside_a_chain(at: int) -> None:
    """Little more than the rows that windows share crosses, as the line foresaw, and no bit changes."""
    graph = optimised(images())
    line = line_with(graph, 8)
    feeds = random_feeds(graph)
    whole = run_stages(compile_stages(graph, cut(graph, [[n.name for n in graph.nodes]])), feeds)
    division = divide(graph, line, [at, len(line.atoms)])
    early = division.cut.stages[0]
    crossing = sum(early.value(o).size * FP32 for o in early.outputs)
    assert crossing == pytest.approx(line.crossing[at], rel=0.15)
    assert crossing < graph.value("x").size * FP32 + graph.value(graph.nodes[0].output).size * FP32 / 4
    ran = run_stages(compile_stages(division.graph, division.cut), feeds)
    np.testing.assert_array_equal(ran.outputs["y"], whole.outputs["y"])
