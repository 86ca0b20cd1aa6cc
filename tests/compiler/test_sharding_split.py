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
    whole = run_stages(compile_stages(graph, cut(graph, [[n.name for n in graph.nodes]])), feeds)
    assert_close(list(whole.outputs.values()), run_graph(graph, feeds), 1e-5)
    made = split(graph, first(graph, op), blocks)
    verify(graph)
    parts = [n for n in graph.nodes if n.name in made]
    assert [graph.shape(n.output) for n in parts] != [graph.shape(n.output) for n in parts[:1]] * len(blocks) or (
        len(set(blocks)) == 1)
    names = [n.name for n in graph.nodes]
    behind = names.index(made[0]) + 1
    for groups in ([names], [names[:behind], names[behind:]]):
        ran = run_stages(compile_stages(graph, cut(graph, groups)), feeds)
        for name, want in whole.outputs.items():
            np.testing.assert_array_equal(ran.outputs[name], want)
