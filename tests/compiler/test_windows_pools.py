"""Pooling in every form against ONNX Runtime: norms, positions of maxima, divisors at borders, narrow types."""
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from compiler.lowering.conv import conv_condition
from compiler.lowering.pool import pool_condition, unpool_condition
from compiler.pipeline import optimise
from isa import target as targets
from tests.compiler.evaluate import imported, make
from tests.compiler.lowering_run import compare, run

RNG = np.random.default_rng(5)
#: x, kernel and the other attributes
WINDOWS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "1d": ((2, 3, 17), {"kernel_shape": [4], "strides": [3], "pads": [2, 1]}),
    "2d": ((1, 130, 9, 7), {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}),
    "3d": ((1, 2, 6, 5, 7), {"kernel_shape": [2, 3, 2], "strides": [2, 1, 2], "pads": [1, 1, 0, 0, 1, 1]}),
    "ceil": ((1, 4, 10, 9), {"kernel_shape": [3, 3], "strides": [3, 2], "ceil_mode": 1}),
    "ceil, pads": ((1, 4, 8, 9), {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 0], "ceil_mode": 1}),
    "dilated": ((1, 3, 11, 12), {"kernel_shape": [2, 3], "dilations": [3, 2], "strides": [2, 2], "pads": [1, 2, 0, 1]}),
    "same": ((2, 3, 10, 7), {"kernel_shape": [3, 4], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    "whole": ((1, 5, 6, 4), {"kernel_shape": [6, 4]}),
}


def node_of(op: str, form: str, outputs: tuple[str, ...] = ("y",), **more: Any) -> onnx.NodeProto:
    return helper.make_node(op, ["x"], list(outputs), **WINDOWS[form][1], **more)


@pytest.mark.parametrize("form", WINDOWS)
@pytest.mark.parametrize("target", ["trn1.2xlarge", "inf1.xlarge"])
@pytest.mark.parametrize("counted", [0, 1])
def test_average(form: str, target: str, counted: int) -> None:
    model = make([node_of("AveragePool", form, count_include_pad=counted)], {"x": WINDOWS[form][0]}, ["y"])
    compare(model, target)


@pytest.mark.parametrize("form", WINDOWS)
@pytest.mark.parametrize("p", [1, 2, 3])
def test_norm(form: str, p: int) -> None:
    model = make([node_of("LpPool", form, p=p)], {"x": WINDOWS[form][0]}, ["y"])
    compare(model, limit=2e-5)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_global_norm(p: int) -> None:
    node = helper.make_node("GlobalLpPool", ["x"], ["y"], p=p)
    compare(make([node], {"x": (2, 3, 7, 5)}, ["y"]), limit=2e-5)


@pytest.mark.parametrize("form", WINDOWS)
@pytest.mark.parametrize("columns_first", [0, 1])
def test_positions_of_maxima(form: str, columns_first: int) -> None:
    """Among equal elements the first one counts."""
    node = node_of("MaxPool", form, ("y", "i"), storage_order=columns_first)
    shape = WINDOWS[form][0]
    model = make([node], {"x": shape}, ["y", "i"], types={"i": TensorProto.INT64})
    compare(model, feeds={"x": RNG.integers(-4, 4, shape).astype(np.float32)})


def test_maxima_of_nothing_but_minus_infinity() -> None:
    """Fill is no element: its place is never given."""
    x = np.full((1, 2, 4, 4), -np.inf, np.float32)
    node = helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    result = run(make([node], {"x": x.shape}, ["y", "i"], types={"i": TensorProto.INT64}), {"x": x}).outputs
    assert np.isneginf(result["y"]).all()
    rows, columns = np.indices((4, 4)) - 1
    first = np.maximum(rows, 0) * 4 + np.maximum(columns, 0)
    np.testing.assert_array_equal(result["i"], first[None, None] + np.array([0, 16]).reshape(1, 2, 1, 1))


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_maxima_of_bytes(kind: str) -> None:
    shape, limits = WINDOWS["2d"][0], np.iinfo(kind)
    feeds = {"x": RNG.integers(limits.min, limits.min + 9, shape).astype(kind)}
    byte = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    for outputs in (("y",), ("y", "i")):
        model = make([node_of("MaxPool", "2d", outputs)], {"x": shape}, outputs,
                     types={"x": byte, "y": byte, "i": TensorProto.INT64})
        compare(model, feeds=feeds)


def test_positions_nobody_reads() -> None:
    graph = optimise(imported(make([node_of("MaxPool", "same", ("y", "i"))], {"x": WINDOWS["same"][0]}, ["y"])))
    assert [(n.op, n.outputs) for n in graph.nodes] == [("MaxPool", ["y"])]


def test_positions_in_large_windows_are_refused() -> None:
    node = helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[9, 9])
    model = make([node], {"x": (1, 1, 9, 9)}, ["y", "i"], types={"i": TensorProto.INT64})
    graph = optimise(imported(model))
    assert "more than 64 elements" in pool_condition(graph, graph.nodes[0], targets.load("trn1.2xlarge"))


@pytest.mark.parametrize("op", ["AveragePool", "Conv"])
def test_four_axes_are_refused(op: str) -> None:
    attrs = {"kernel_shape": [2, 2, 2, 2]} if op == "AveragePool" else {}
    inputs = {"x": (1, 1, 3, 3, 3, 3), "w": (1, 1, 2, 2, 2, 2)}
    names = list(inputs)[: 1 if attrs else 2]
    graph = imported(make([helper.make_node(op, names, ["y"], **attrs)], {n: inputs[n] for n in names}, ["y"]))
    condition = conv_condition if op == "Conv" else pool_condition
    assert "three axes" in condition(graph, graph.nodes[0], targets.load("trn1.2xlarge"))


def test_unpooling_into_another_shape_is_refused() -> None:
    node = helper.make_node("MaxUnpool", ["x", "i", "s"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    model = make([node], {"x": (1, 1, 2, 2), "i": (1, 1, 2, 2)}, ["y"], {"s": np.array([1, 1, 5, 5])},
                 types={"i": TensorProto.INT64})
    graph = optimise(imported(model))
    assert [n.op for n in graph.nodes] == ["MaxUnpool"]
    assert "output shape" in unpool_condition(graph, graph.nodes[0], targets.load("trn1.2xlarge"))


def test_maxima_go_back_to_their_places() -> None:
    nodes = [helper.make_node("MaxPool", ["x"], ["m", "i"], kernel_shape=[2, 3], strides=[2, 3]),
             helper.make_node("MaxUnpool", ["m", "i"], ["y"], kernel_shape=[2, 3], strides=[2, 3])]
    compare(make(nodes, {"x": (2, 3, 6, 9)}, ["y"]))


def test_half_precision_sums_do_not_overflow() -> None:
    half = dict.fromkeys("xy", TensorProto.FLOAT16)
    x = np.full((1, 2, 5, 5), 3e4, np.float16)
    node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3])
    model = make([node], {"x": x.shape}, ["y"], types=half)
    np.testing.assert_array_equal(run(model, {"x": x}).outputs["y"], x[:, :, :3, :3])


@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("activation", ["none", "silu"])
@pytest.mark.parametrize("length", [2, 9])
def test_causal_convolution(past: bool, activation: str, length: int) -> None:
    """Also of fewer steps than the state keeps. ONNX Runtime does not know it: against ONNX's own evaluator."""
    shapes = {"x": (2, 3, length), "w": (3, 1, 4), "b": (3,)} | ({"s": (2, 3, 3)} if past else {})
    feeds = {k: RNG.standard_normal(s).astype(np.float32) for k, s in shapes.items()}
    node = helper.make_node("CausalConvWithState", list(shapes), ["y", "t"], activation=activation)
    model = make([node], shapes, ["y", "t"], opset=27)
    model.ir_version = 13
    result = run(model, feeds).outputs
    for name, want in zip(("y", "t"), ReferenceEvaluator(model).run(None, feeds), strict=True):
        np.testing.assert_allclose(result[name], want, rtol=1e-5, atol=1e-6)
