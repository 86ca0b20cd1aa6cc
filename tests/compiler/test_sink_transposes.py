"""Layout changes around windowed operators cancel, and what lies between them computes what it did."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from compiler.frontends.builder import GraphBuilder
from compiler.frontends.layout import channels_first, channels_last
from compiler.ir import Graph
from compiler.passes import canonicalise, fold_pads, remove_identities, sink_transposes
from compiler.verify import verify
from tests.compiler.evaluate import run_graph

RNG = np.random.default_rng(3)
SHAPE = (2, 6, 5, 4)


def numbers(*shape: int) -> np.ndarray:
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def conv(b: GraphBuilder, x: str, channels: int = 4) -> str:
    """A convolution of a value with channels last."""
    weight = numbers(channels, b.shape(x)[-1], *[3] * (b.rank(x) - 2))
    return channels_last(b, b.op("Conv", [channels_first(b, x), weight], pads=[1] * (2 * b.rank(x) - 4)))


def sunk(make: Callable[[GraphBuilder, str], str], shape: tuple[int, ...] = SHAPE) -> Graph:
    """The graph between two convolutions, checked to compute the same after the pass as before."""
    b = GraphBuilder("net")
    b.input("x", shape, "float32")
    b.output(make(b, conv(b, "x")), "y")
    graph = b.finish()
    x = numbers(*shape)
    wanted = run_graph(graph, {"x": x})
    for rewrite in (canonicalise, remove_identities, sink_transposes, remove_identities):
        rewrite.run(graph)
        verify(graph)
    for found, array in zip(run_graph(graph, {"x": x}), wanted, strict=True):
        np.testing.assert_allclose(found, array, rtol=1e-4, atol=1e-5)
    return graph


def gate(b: GraphBuilder, x: str) -> str:
    """Squeeze and excitation."""
    mean = b.op("ReduceMean", [x, np.array([1, 2])], keepdims=0)
    weight = b.op("Sigmoid", [b.op("MatMul", [mean, numbers(4, 4)])])
    return b.op("Mul", [x, b.op("Reshape", [weight, np.array([2, 1, 1, 4])])])


def convolved_gate(b: GraphBuilder, x: str) -> str:
    """Squeeze and excitation by convolutions of one pixel."""
    mean = b.op("ReduceMean", [x, np.array([1, 2])], keepdims=1)
    for act in ("Relu", "HardSigmoid"):
        turned = b.op("Conv", [channels_first(b, mean), numbers(4, 4, 1, 1)])
        mean = b.op(act, [b.op("Add", [channels_last(b, turned), numbers(4)])])
    return b.op("Mul", [x, mean])


BETWEEN: dict[str, Callable[[GraphBuilder, str], str]] = {
    "bias": lambda b, x: b.op("Add", [x, numbers(4)]),
    "scalar": lambda b, x: b.op("Mul", [np.float32(2), x]),
    "affine of pixels": lambda b, x: b.op("Add", [x, numbers(6, 5, 1)]),
    "clip": lambda b, x: b.op("Clip", [x, np.float32(0), np.float32(6)]),
    "prelu": lambda b, x: b.op("PRelu", [x, numbers(1, 1, 4)]),
    "swish": lambda b, x: b.op("Mul", [x, b.op("Sigmoid", [x])]),
    "residual": lambda b, x: b.op("Add", [x, conv(b, b.op("Relu", [x]))]),
    "gate": gate,
    "convolved gate": convolved_gate,
    "concat": lambda b, x: b.op("Concat", [x, conv(b, x), x], axis=-1),
    "concat of rows": lambda b, x: b.op("Concat", [x, x], axis=1),
    "slice": lambda b, x: b.op("Slice", [x, np.array([1, 0]), np.array([6, 2]), np.array([1, 3])]),
    "pad": lambda b, x: b.op("Pad", [x, np.array([0, 1, 0, 0, 0, 2, 3, 0]), np.float32(0)]),
    "mean kept": lambda b, x: b.op("Sub", [x, b.op("ReduceMean", [x, np.array([1, 2])], keepdims=1)]),
    "split": lambda b, x: b.op("Add", b.ops("Split", [x], 2, axis=3, num_outputs=2)),
    "where": lambda b, x: b.op("Where", [b.op("Greater", [x, np.float32(0)]), x, b.op("Exp", [x])]),
    "quantised": lambda b, x: b.op("DequantizeLinear", [b.op("QuantizeLinear", [
        x, np.full(4, 0.1, np.float32), np.zeros(4, np.int8)], axis=-1), np.full(4, 0.1, np.float32),
        np.zeros(4, np.int8)], axis=-1),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_nothing_is_transposed_between_windowed_operators(name: str) -> None:
    graph = sunk(lambda b, x: conv(b, BETWEEN[name](b, x)))
    counts = graph.op_counts()
    assert (counts["Transpose"], counts.get("Reshape", 0)) == (2, 2 if name == "gate" else 0), graph.to_text()
    assert graph.nodes[0].op == "Transpose" and graph.nodes[-1].op == "Transpose"


@pytest.mark.parametrize("shape", [(2, 7, 4), (1, 3, 4, 5, 4)])
def test_one_and_three_dimensions(shape: tuple[int, ...]) -> None:
    graph = sunk(lambda b, x: conv(b, b.op("Relu", [b.op("Add", [x, numbers(4)])])), shape)
    assert graph.op_counts()["Transpose"] == 2


def test_flattened_pixels_take_weights_in_the_other_order() -> None:
    graph = sunk(lambda b, x: b.op("MatMul", [b.op("Reshape", [x, np.array([2, -1])]), numbers(120, 3)]))
    assert graph.op_counts()["Transpose"] == 1


def test_the_mean_of_pixels_needs_no_layout() -> None:
    graph = sunk(lambda b, x: b.op("ReduceMean", [x, np.array([1, 2])], keepdims=0))
    assert graph.op_counts()["Transpose"] == 1


def test_sums_over_channels_stay_where_channels_are_last() -> None:
    graph = sunk(lambda b, x: b.op("ReduceSum", [x, np.array([3])], keepdims=1))
    assert [n.op for n in graph.nodes][-2:] == ["Transpose", "ReduceSum"]


def test_a_pad_in_front_becomes_that_of_the_convolution() -> None:
    b = GraphBuilder("net")
    b.input("x", SHAPE, "float32")
    padded = b.op("Pad", ["x", np.array([0, 1, 1, 0, 0, 2, 2, 0]), np.float32(0)])
    b.output(channels_last(b, b.op("Conv", [channels_first(b, padded), numbers(4, 4, 3, 3)])), "y")
    graph = b.finish()
    x = numbers(*SHAPE)
    wanted = run_graph(graph, {"x": x})[0]
    for rewrite in (canonicalise, remove_identities, sink_transposes, fold_pads):
        rewrite.run(graph)
    assert sorted(graph.op_counts()) == ["Conv", "Transpose"]
    np.testing.assert_allclose(run_graph(graph, {"x": x})[0], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("source", "folded"), [("Relu", True), ("Tanh", False)])
def test_zeros_around_a_maximum_of_what_is_not_negative(source: str, folded: bool) -> None:
    b = GraphBuilder("net")
    b.input("x", (1, 2, 5, 6), "float32")
    padded = b.op("Pad", [b.op(source, ["x"]), np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(0)])
    b.output(b.op("MaxPool", [padded], kernel_shape=[3, 3], strides=[2, 2]), "y")
    graph = b.finish()
    x = numbers(1, 2, 5, 6) - 1
    wanted = run_graph(graph, {"x": x})[0]
    assert fold_pads.run(graph) == folded
    np.testing.assert_array_equal(run_graph(graph, {"x": x})[0], wanted)


def test_attention_keeps_its_transposes() -> None:
    b = GraphBuilder("net")
    b.input("x", (2, 5, 4), "float32")
    turned = b.op("Transpose", [b.op("MatMul", ["x", numbers(4, 4)])], perm=[0, 2, 1])
    b.output(b.op("MatMul", ["x", b.op("Mul", [turned, np.float32(0.5)])]), "y")
    graph = b.finish()
    assert sink_transposes.run(graph) == 0
