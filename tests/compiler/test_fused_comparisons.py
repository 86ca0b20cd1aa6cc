"""Comparisons of convolutions with constants, answered where the product is read from PSUM."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.pipeline import optimise
from tests.compiler.evaluate import imported
from tests.compiler.lowering_run import compare

OPERATORS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")


def model_of(op: str, limit: np.ndarray, to: int | None, bias: bool = False, groups: int = 1) -> onnx.ModelProto:
    """x [3, 6, 5, 4] -> Conv of whole numbers -> comparison -> perhaps a cast."""
    rng = np.random.default_rng(0)
    constants = {"w": rng.integers(-2, 3, (8, 6 // groups, 3, 3)).astype(np.float32), "limit": limit}
    if bias:
        constants["b"] = rng.integers(-3, 4, 8).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w", "b"] if bias else ["x", "w"], ["c"], pads=[1] * 4, group=groups),
             helper.make_node(op, ["c", "limit"], ["a" if to else "y"])]
    if to:
        nodes.append(helper.make_node("Cast", ["a"], ["y"], to=to))
    graph = helper.make_graph(nodes, "test", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 6, 5, 4])],
                              [helper.make_tensor_value_info("y", to or TensorProto.BOOL, None)],
                              [numpy_helper.from_array(v, k) for k, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


CHANNELS = np.arange(-4, 4, dtype=np.float32).reshape(1, 8, 1, 1)
FEEDS = {"x": np.random.default_rng(1).integers(-3, 4, (3, 6, 5, 4)).astype(np.float32)}  # many answers are ties


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("to", [None, TensorProto.FLOAT, TensorProto.INT64])
@pytest.mark.parametrize("limit", [CHANNELS, np.float32(2.0), CHANNELS.reshape(8, 1, 1)], ids=["channels", "one", "3d"])
def test_answers(op: str, to: int | None, limit: np.ndarray) -> None:
    compare(model_of(op, np.asarray(limit), to, bias=op == "Less", groups=2 if op == "Greater" else 1), feeds=FEEDS)


def test_what_joins() -> None:
    def steps(op: str, limit: np.ndarray, to: int | None, bias: bool = False) -> list[str]:
        graph = imported(model_of(op, limit, to, bias))
        optimise(graph)
        return [step[0] for step in graph.nodes[0].attrs.get("epilogue", ())]

    assert steps("Less", CHANNELS, TensorProto.FLOAT) == ["compare", "as"]
    assert steps("Less", CHANNELS, TensorProto.INT64) == ["compare"]
    assert steps("Less", CHANNELS, None) == ["compare"]
    assert steps("Less", np.zeros((3, 8, 1, 1), np.float32), None) == []
    assert steps("Less", CHANNELS, None, bias=True) == ["bias"]
