"""Scans whose steps do not depend on each other are imported as plain operators; others stay with the host."""
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.compiler.evaluate import assert_close, imported, make, random_feeds, run_graph, run_model
from tests.compiler.lowering_run import compare

node = helper.make_node


def model_of(body: list[onnx.NodeProto], opset: int = 18, consts: dict[str, np.ndarray] | None = None,
             **attrs: Any) -> onnx.ModelProto:
    """Scan over the rows of `stored` [7, 4] with `x` [5, 4] carried; the body makes `kept` and `out`."""
    faces = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names]
             for names in (("rows", "entry"), ("kept", "out"))]
    graph = helper.make_graph(body, "body", *faces,
                              [numpy_helper.from_array(a, n) for n, a in (consts or {}).items()])
    scan = node("Scan", ["x", "stored"], ["same", "y"], "every", body=graph, num_scan_inputs=1, **attrs)
    stored = np.random.default_rng(1).standard_normal((7, 4)).astype(np.float32)
    return make([scan], {"x": [5, 4], "around": [5, 1]}, ["same", "y"], {"stored": stored}, opset=opset)


def distances(opset: int, keepdims: int = 0) -> list[onnx.NodeProto]:
    """Squared distances of all rows to an entry; reductions have their axes as an input from opset 18 on."""
    total = node("ReduceSumSquare", ["d", "axis"], ["s"], keepdims=keepdims) if opset >= 18 else \
        node("ReduceSumSquare", ["d"], ["s"], keepdims=keepdims, axes=[-1])
    return [node("Identity", ["rows"], ["kept"]), node("Sub", ["rows", "entry"], ["d"]), total,
            node("Identity", ["s"], ["out"])]


def mapped(model: onnx.ModelProto) -> bool:
    """Whether the Scan is gone; what it computed is checked either way."""
    graph = imported(model)
    feeds = random_feeds(graph)
    every = {"x": feeds["x"], "around": feeds.get("around", np.ones((5, 1), np.float32))}
    assert_close(run_graph(graph, feeds), run_model(model, every))
    assert all(n.sources == ["every"] for n in graph.nodes)
    return "Scan" not in graph.op_counts()


@pytest.mark.parametrize("opset", [11, 13, 18, 22])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_the_distances_of_every_row_to_every_stored_one(opset: int, keepdims: int) -> None:
    model = model_of(distances(opset, keepdims), opset, {"axis": np.array([-1])} if opset >= 18 else None)
    assert mapped(model)
    del model.graph.input[1], model.graph.output[0]
    compare(model)


@pytest.mark.parametrize("opset", [11, 18])
def test_operands_of_other_ranks_and_of_the_graph_around(opset: int) -> None:
    """The entry's four numbers meet [5, 4], the sums [5] meet [5, 1] of the graph around and a constant [3, 1, 1]."""
    body = [*distances(opset)[:3], node("Add", ["s", "around"], ["wide"]), node("Mul", ["entry", "rows"], ["p"]),
            node("ReduceMax", ["p"], ["top"], keepdims=1, axes=[1]) if opset < 18 else
            node("ReduceMax", ["p", "axis"], ["top"], keepdims=1),
            node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones((3, 1, 1), np.float32))),
            node("Max", ["wide", "c", "top"], ["out"])]
    assert mapped(model_of(body, opset, {"axis": np.array([-1])} if opset >= 18 else None))


SAME = node("Identity", ["rows"], ["kept"])
SUB = node("Sub", ["rows", "entry"], ["out"])


@pytest.mark.parametrize(("body", "attrs"), [
    ([node("Add", ["rows", "entry"], ["kept"]), SUB], {}),
    ([SAME, SUB], {"scan_input_directions": [1]}),
    ([SAME, SUB], {"scan_output_axes": [1]}),
    ([SAME, node("CumSum", ["entry", "zero"], ["out"])], {}),
    ([SAME, node("Neg", ["rows"], ["out"])], {}),
], ids=["carries", "backwards", "other axis", "other operator", "same for all"])
def test_other_scans_are_kept(body: list[onnx.NodeProto], attrs: dict[str, Any]) -> None:
    assert not mapped(model_of(body, consts={"zero": np.array(0)}, **attrs))
