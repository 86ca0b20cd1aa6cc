"""Products split by output channels: the same bits, whichever stages compute the parts."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from compiler.ir import Graph
from compiler.sharding.cut import cut
from compiler.sharding.split import split, split_limits, split_of
from compiler.verify import verify
from tests.compiler.evaluate import assert_close, make, random_feeds, run_graph
from tests.compiler.random_graphs import FAMILIES
from tests.compiler.random_operators import floats, node
from tests.compiler.sharding_run import compile_stages, run_stages
from tests.compiler.test_sharding_cut import optimised, random_groups

RNG = np.random.default_rng(5)


def dense() -> onnx.ModelProto:
    """relu(x W + b) + x, then another product."""
    nodes = [node("MatMul", ["x", "w"], ["u"]), node("Add", ["u", "b"], ["v"]), node("Add", ["v", "x"], ["s"]),
             node("Relu", ["s"], ["r"]), node("MatMul", ["r", "k"], ["y"])]
    weights = {"w": floats(RNG, 300, 300), "b": floats(RNG, 300), "k": floats(RNG, 300, 20)}
    return make(nodes, {"x": [1, 40, 300]}, ["y"], weights)


def convolution(group: int = 1, channels: int = 256) -> onnx.ModelProto:
    """relu(conv(x) + bias + x), then a pool."""
    nodes = [node("Conv", ["x", "w", "b"], ["u"], pads=[1] * 4, group=group), node("Add", ["u", "x"], ["s"]),
             node("Relu", ["s"], ["r"]), node("MaxPool", ["r"], ["y"], kernel_shape=[2, 2], strides=[2, 2])]
    weights = {"w": floats(RNG, channels, channels // group, 3, 3), "b": floats(RNG, channels)}
    return make(nodes, {"x": [1, channels, 6, 8]}, ["y"], weights)


def attention() -> onnx.ModelProto:
    """softmax(q k) v for 4 heads with a mask that all heads share."""
    nodes = [node("MatMul", ["q", "k"], ["s"]), node("Add", ["s", "m"], ["t"]), node("Softmax", ["t"], ["p"], axis=-1),
             node("MatMul", ["p", "v"], ["y"])]
    return make(nodes, {"q": [1, 4, 9, 16], "k": [1, 4, 16, 9], "v": [1, 4, 9, 16], "m": [1, 1, 9, 9]}, ["y"])


CASES: dict[str, tuple[Callable[[], onnx.ModelProto], str, list[int]]] = {
    "dense": (dense, "MatMul", [128, 172]),
    "three parts": (dense, "MatMul", [128, 128, 44]),
    "convolution": (convolution, "Conv", [128, 128]),
    "groups": (lambda: convolution(group=8), "Conv", [128, 128]),
    "depthwise": (lambda: convolution(group=300, channels=300), "Conv", [256, 44]),
    "heads": (attention, "MatMul", [1, 3]),
}


def first(graph: Graph, op: str) -> str:
    return next(n.name for n in graph.nodes if n.op == op)


@pytest.mark.parametrize("case", sorted(CASES))
def test_parts_compute_the_same_bits(case: str) -> None:
    """In one stage, and with a part in the stage before the rest."""
    model, op, blocks = CASES[case]
    graph = optimised(model())
    feeds = random_feeds(graph)
    names = [n.name for n in graph.nodes]
    whole = run_stages(compile_stages(graph, cut(graph, [names])), feeds)
    assert_close(list(whole.outputs.values()), run_graph(graph, feeds), 1e-5)
    node = next(n for n in graph.nodes if n.op == op)
    how = split_of(graph, node)
    assert how is not None
    made = split(graph, node.name, blocks)
    verify(graph)
    parts = {n.name: n for n in graph.nodes if n.name in made}
    assert [graph.shape(parts[name].output)[how.axis] for name in made] == blocks
    assert all(parts[name].attrs.get("epilogue") == node.attrs.get("epilogue") for name in made)
    names = [n.name for n in graph.nodes]
    behind = names.index(made[0]) + 1
    for groups in ([names], [names[:behind], names[behind:]]):
        ran = run_stages(compile_stages(graph, cut(graph, groups)), feeds)
        for name, want in whole.outputs.items():
            np.testing.assert_array_equal(ran.outputs[name], want)


def test_heads_go_their_own_ways() -> None:
    """Scores, mask, softmax and weighted sum of a head need nothing of the others: no joins, and the same bits."""
    graph = optimised(attention())
    feeds = random_feeds(graph)
    names = [n.name for n in graph.nodes]
    whole = run_stages(compile_stages(graph, cut(graph, [names])), feeds)
    groups: list[list[str]] = [[], [], []]
    for name in [n.name for n in graph.nodes]:
        for k, part in enumerate(split(graph, name, [1, 3])):
            groups[k].append(part)
    parts = {name for group in groups for name in group}
    slices = [n.name for n in graph.nodes if n.op == "Slice"]
    groups[0] = [*slices, *groups[0]]
    groups[2] = [n.name for n in graph.nodes if n.name not in parts and n.op != "Slice"]
    found = cut(graph, groups)
    assert [len(s.op_counts()) and s.op_counts().get("Concat", 0) for s in found.stages] == [0, 0, 1]
    ran = run_stages(compile_stages(graph, found), feeds)
    np.testing.assert_array_equal(ran.outputs["y"], whole.outputs["y"])


def test_what_cannot_be_split_and_blocks_that_do_not_fit() -> None:
    graph = optimised(dense())
    limits = {n.op: split_limits(graph, n) for n in graph.nodes}
    assert limits == {"MatMul": 1}  # the last one, of 20 columns
    name = first(graph, "MatMul")
    assert split_limits(graph, graph.nodes[0]) == 3
    assert split(graph, name, [300]) == [name]
    for blocks in ([100, 200], [128, 128], [256, 44, 0], []):
        with pytest.raises(ValueError, match="300 in multiples of 128"):
            split(graph, name, blocks)
    pooled = optimised(convolution())
    with pytest.raises(ValueError, match="3 in multiples of 3"):  # rows
        split(pooled, first(pooled, "MaxPool"), [2, 1])
    means = optimised(make([node("ReduceMax", ["x"], ["y"], keepdims=1)], {"x": [4, 5]}, ["y"]))
    with pytest.raises(ValueError, match="it does not fall into parts"):
        split(means, means.nodes[0].name, [2, 2])


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_split_and_cut_at_random(seed: int) -> None:
    """Every node that can be split is, and the cuts are anywhere."""
    rng = np.random.default_rng(300 + seed)
    model = FAMILIES["network"](rng)
    assert model is not None
    graph = optimised(model)
    feeds = random_feeds(graph, seed)
    want = run_graph(graph, feeds)
    for one in list(graph.nodes):
        how = split_of(graph, one)
        if how is not None and how.limit > 1:
            middle = how.unit * int(rng.integers(1, how.limit))
            split(graph, one.name, [middle, how.size - middle])
    verify(graph)
    groups = random_groups(rng, [n.name for n in graph.nodes])
    ran = run_stages(compile_stages(graph, cut(graph, groups)), feeds)
    assert_close([ran.outputs[o] for o in graph.outputs], want, 3e-5)
