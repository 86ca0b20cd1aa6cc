"""Opsets: nodes are brought over one by one, and graphs are written at the lowest version that says the same."""
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compiler.errors import CompileError
from compiler.frontends.onnx.export import to_model, version_intervals
from tests.compiler.evaluate import assert_close, imported, make, random_feeds, run_model
from tests.compiler.test_import_host import body, evaluated, info

NEWEST = onnx.defs.onnx_opset_version()
PER_CHANNEL = {"scale": np.array([1, 2], np.float32), "zero": np.array([0, 1], np.int8)}
PER_TENSOR = {"scale": np.array(1, np.float32), "zero": np.array(0, np.int8)}


def one(op: str, opset: int, weights: dict[str, np.ndarray] | None = None, kind: int = TensorProto.FLOAT,
        out: int | None = None, **attrs: Any) -> onnx.ModelProto:
    node = helper.make_node(op, ["x", *(weights or {})], ["y"], **attrs)
    return make([node], {"x": [2, 4]}, ["y"], weights, opset, types={"x": kind, "y": kind if out is None else out})


@pytest.mark.parametrize("model, interval", [
    (one("Relu", 22), (11, NEWEST)),
    (one("Relu", 22, kind=TensorProto.INT8), (14, NEWEST)),  # integers came with 14
    (one("Relu", 22, kind=TensorProto.BFLOAT16), (13, NEWEST)),
    (one("Transpose", 25, kind=TensorProto.INT2), (25, NEWEST)),
    (one("Reshape", 21, {"s": np.array([4, 2])}), (11, NEWEST)),
    (one("Reshape", 21, {"s": np.array([4, 2])}, allowzero=1), (14, NEWEST)),
    (one("Softmax", 13, axis=1), (13, NEWEST)),
    (one("QuantizeLinear", 21, PER_TENSOR, out=TensorProto.INT8, axis=0), (13, NEWEST)),
    (one("QuantizeLinear", 21, PER_CHANNEL, out=TensorProto.INT8, axis=0), (13, NEWEST)),
    (one("Cast", 24, out=TensorProto.DOUBLE, to=TensorProto.DOUBLE), (11, NEWEST)),
    (one("Cast", 24, out=TensorProto.FLOAT8E5M2, to=TensorProto.FLOAT8E5M2), (19, NEWEST)),
    (one("Pad", 21, {"p": np.array([0, 1, 0, 1])}, mode="reflect"), (11, NEWEST)),
    (one("Pad", 21, {"p": np.array([0, 1, 0, 1])}, mode="wrap"), (19, NEWEST)),
    (one("ReduceSum", 22, {"a": np.array([1])}), (13, NEWEST)),
    (one("Split", 22, {"s": np.array([1, 1])}), (18, NEWEST)),
])
def test_versions_at_which_a_node_means_the_same(model: onnx.ModelProto, interval: tuple[int, int]) -> None:
    model.graph.node[0].output[:] = ["y", "z"] if model.graph.node[0].op_type == "Split" else ["y"]
    graph = imported(model)
    assert version_intervals(graph, graph.nodes[0]) == {"": interval}
    back = to_model(graph)
    assert [(o.domain, o.version) for o in back.opset_import] == [("", interval[0])]
    onnx.shape_inference.infer_shapes(back, check_type=True, strict_mode=True)


def test_format_is_as_old_as_the_operators() -> None:
    assert to_model(imported(one("Relu", 22))).ir_version == 6
    assert to_model(imported(one("Transpose", 25, kind=TensorProto.INT2))).ir_version > 10


def test_a_node_that_cannot_be_converted_stays_as_it_is() -> None:
    weights = {k: np.linspace(0.5, 1.5, 4, dtype=np.float32) for k in "abcd"}
    nodes = [helper.make_node("BatchNormalization", ["x", *weights], ["n"], spatial=0),
             helper.make_node("Exp", ["n"], ["y"])]
    graph = imported(make(nodes, {"x": [2, 4]}, ["y"], weights, 7))
    kept, free = graph.nodes
    assert (kept.host, kept.version) == ("opset 7 defines it differently", 7)
    assert not free.host
    assert version_intervals(graph, kept) == {"": (7, 8)}
    with pytest.raises(CompileError) as caught:
        to_model(graph)
    assert caught.value.code == "OPSET_CONFLICT"
    assert "'BatchNormalization_0': 7 to 8" in caught.value.where


def test_subgraphs_count_with_the_versions_of_their_nodes() -> None:
    inner = body("side", [helper.make_node("Squeeze", ["x"], ["z"], axes=[0])], [], [info("z")])
    choose = helper.make_node("If", ["c"], ["a"], then_branch=inner, else_branch=inner)
    model = make([choose, helper.make_node("Exp", ["a"], ["y"])], {"x": [1, 3], "c": []}, ["y"],
                 types={"c": TensorProto.BOOL}, opset=11)
    graph = imported(model)
    assert version_intervals(graph, graph.nodes[0]) == {"": (11, 12)}
    feeds = {"x": np.ones((1, 3), np.float32), "c": np.array(True)}
    assert_close(run_model(to_model(graph), feeds), run_model(model, feeds))


def test_old_nodes_beside_control_flow_are_converted() -> None:
    inner = body("side", [helper.make_node("Neg", ["s"], ["z"])], [], [info("z")])
    nodes = [helper.make_node("Softmax", ["x"], ["s"], axis=1),
             helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)]
    model = make(nodes, {"x": [2, 3, 4], "c": []}, ["y"], types={"c": TensorProto.BOOL}, opset=11)
    graph = imported(model)
    assert [n.op for n in graph.nodes] == ["Flatten", "Softmax", "Reshape", "If"]
    feeds = {"x": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "c": np.array(True)}
    assert_close(run_model(to_model(graph), feeds), run_model(model, feeds))


def test_slopes_of_old_prelu_go_with_channels() -> None:
    slope = np.array([0.5, 2], np.float32)
    model = make([helper.make_node("PRelu", ["x", "w"], ["y"])], {"x": [1, 2, 3]}, ["y"], {"w": slope}, 6)
    graph = imported(model)
    feeds = random_feeds(graph)
    x = feeds["x"]
    assert_close(evaluated(to_model(graph), feeds), [np.where(x < 0, x * slope.reshape(1, 2, 1), x)])


def test_equal_parts_of_an_old_split() -> None:
    model = make([helper.make_node("Split", ["x"], ["y", "z"], axis=1)], {"x": [2, 4]}, ["y", "z"], opset=13)
    graph = imported(model)
    feeds = random_feeds(graph)
    assert graph.nodes[0].attrs["num_outputs"] == 2
    assert_close(evaluated(to_model(graph), feeds), evaluated(model, feeds))
