"""Reductions, arg-reductions, top-k and running sums on the device, against onnxruntime and onnx's reference."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_node as node
from onnx.reference import ReferenceEvaluator

from compiler.ir import Graph
from compiler.lowering import CONDITIONS
from compiler.passes import expand
from isa.target import load
from tests.compiler.evaluate import Feeds, make
from tests.compiler.lowering_run import compare, run

REDUCTIONS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
              "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")


def reduction(op: str, shape: Sequence[int], axes: Sequence[int] | None, kind: int = TensorProto.FLOAT,
              **attrs: Any) -> onnx.ModelProto:
    """y = op(x) over constant axes."""
    weights = {} if axes is None else {"axes": np.array(axes, np.int64)}
    return make([node(op, ["x", *weights], ["y"], **attrs)], {"x": shape}, ["y"], weights, types={"x": kind, "y": kind})


def from_int16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with x int32 made of an int16 input, so that sums are known to be exact."""
    for n in model.graph.node:
        n.input[:] = ["wide" if i == "x" else i for i in n.input]
    model.graph.node.insert(0, node("Cast", ["x"], ["wide"], to=TensorProto.INT32))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT16
    return model


def positive(shape: Sequence[int]) -> Feeds:
    """Numbers near one, which have a logarithm and whose products stay small."""
    return {"x": np.random.default_rng(1).uniform(0.8, 1.25, shape).astype(np.float32)}


@pytest.mark.parametrize("axes", [None, [0], [1], [2], [0, 2], [-1, 1], [0, 1, 2]])
@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions_over_any_axes(op: str, axes: list[int] | None) -> None:
    shape = (3, 40, 6)
    compare(reduction(op, shape, axes, keepdims=int(axes != [0])), feeds=positive(shape))


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin", "ReduceProd"])
def test_what_is_too_large_for_one_partition_is_reduced_in_place_first(op: str) -> None:
    shape = (200, 2000)
    feeds = positive(shape)
    feeds["x"] **= np.float32(0.01)
    compare(reduction(op, shape, None), feeds=feeds, limit=1e-3 if op == "ReduceProd" else None)


def test_reductions_of_many_separate_dimensions() -> None:
    compare(reduction("ReduceSum", (2, 3, 2, 3, 2, 3, 2, 5), [0, 2, 4, 6]))


def test_a_long_row_of_small_numbers_is_reduced_in_pieces() -> None:
    x = np.random.default_rng(0).integers(-100, 100, (2, 70_000)).astype(np.int8)
    x[0, 69_999] = 101
    compare(reduction("ReduceMax", x.shape, [1], TensorProto.INT8), feeds={"x": x})


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("kind", [TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32, TensorProto.BOOL])
def test_extremes_of_whole_numbers_are_exact(op: str, kind: int) -> None:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    x = np.random.default_rng(3).integers(0, 2 if dtype.kind == "b" else 120, (5, 33)).astype(dtype)
    model = reduction(op, x.shape, [0], kind)
    if kind == TensorProto.INT32:
        compare(from_int16(model), feeds={"x": x.astype(np.int16)})
        return
    if dtype.kind != "b":
        compare(model, feeds={"x": x})
        return
    (want,) = ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_array_equal(run(model, {"x": x}).outputs["y"], want)


def test_sums_of_integers_do_not_pass_through_narrow_products() -> None:
    x = np.random.default_rng(3).integers(-5000, 5000, (64, 33)).astype(np.int16)
    model = from_int16(reduction("ReduceSum", x.shape, [0], TensorProto.INT32))
    for target in ("trn1.2xlarge", "inf1.xlarge"):
        compare(model, target, feeds={"x": x})


@pytest.mark.parametrize("op", ["ReduceL2", "ReduceSumSquare", "ReduceMean", "ReduceSum"])
def test_half_precision_is_accumulated_in_full(op: str) -> None:
    x = np.full((4, 3000), 3.0, np.float16)
    if op in ("ReduceSum", "ReduceSumSquare"):
        x = x[:, :700]
    want = {"ReduceL2": np.sqrt(9.0 * 3000), "ReduceSumSquare": 9.0 * 700, "ReduceMean": 3.0, "ReduceSum": 2100.0}[op]
    got = run(reduction(op, x.shape, [1], TensorProto.FLOAT16), {"x": x}).outputs["y"]
    np.testing.assert_array_equal(got, np.full((4, 1), want, np.float16))


@pytest.mark.filterwarnings("ignore:input .x. holds")
def test_extremes_know_infinity_and_nan_and_log_sum_exp_is_stable() -> None:
    x = np.array([[1, np.inf, 2], [-np.inf, -np.inf, -np.inf], [1000, 999, -1000], [-1000, -1001, -np.inf]], np.float32)
    for op in ("ReduceMax", "ReduceMin"):
        model = reduction(op, (5, 3), [1])
        data = np.vstack([x, [[np.nan, 1, 2]]]).astype(np.float32)
        (want,) = ReferenceEvaluator(model).run(None, {"x": data})
        np.testing.assert_array_equal(run(model, {"x": data}).outputs["y"], want)
    got = run(reduction("ReduceLogSumExp", x.shape, [1]), {"x": x}).outputs["y"]
    want = [[np.inf], [-np.inf], [1000 + np.log1p(np.exp(-1))], [-1000 + np.log1p(np.exp(-1))]]
    np.testing.assert_allclose(got, np.array(want, np.float32), rtol=1e-6)


def _run_time_axes(op: str, shape: Sequence[int], reduced: Sequence[int], keepdims: int) -> Graph:
    graph = Graph()
    graph.add_input("x", shape, "float32")
    graph.add_input("axes", (len(shape) - len(reduced) or 1,), "int64")
    graph.add_node(op, ["x", "axes"], [graph.add_value("y", reduced, "float32")], {"keepdims": keepdims})
    graph.outputs = ["y"]
    return graph


@pytest.mark.parametrize(("op", "reduced", "keepdims", "told"), [
    ("ReduceSum", (3, 1, 4), 1, True),
    ("ReduceL2", (3, 4), 0, True),
    ("ReduceMean", (2, 4), 0, True),
    ("ReduceMax", (3, 2, 4), 1, True),
])
def test_axes_of_run_time_are_told_by_the_shapes(op: str, reduced: Sequence[int], keepdims: int, told: bool) -> None:
    graph = _run_time_axes(op, (3, 2, 4), reduced, keepdims)
    expand.run(graph)
    assert all(graph.is_const(n.input(1)) for n in graph.nodes if n.op.startswith("Reduce"))


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceL2", "ReduceLogSumExp"])
def test_an_axis_of_run_time_is_chosen_among_those_of_one_shape(op: str) -> None:
    model = make([node(op, ["x", "axes"], ["y"], keepdims=0)], {"x": (3, 5, 5, 2), "axes": (1,)}, ["y"],
                 types={"axes": TensorProto.INT64})
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, (3, 5, 2)))
    for axis in (1, 2, -2, -3):
        feeds = positive((3, 5, 5, 2)) | {"axes": np.array([axis])}  # type: ignore[operator]
        compare(model, feeds=feeds)


def test_axes_of_run_time_that_shapes_leave_open_are_a_reason() -> None:
    graph = _run_time_axes("ReduceSum", (2, 2, 3, 3), (2, 3), 0)
    assert not expand.run(graph)
    reason = CONDITIONS["ReduceSum"](graph, graph.nodes[0], load("trn1.2xlarge"))
    assert reason == "the axes of a ReduceSum are computed at run time"


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize(("shape", "axis", "keepdims"), [
    ((3, 50), 1, 1), ((50, 3), 0, 0), ((2, 5, 3, 4), 1, 0), ((2, 5, 3, 4), -1, 1), ((9,), 0, 0), ((130, 8), 1, 1),
])
def test_arg_reductions_with_ties(op: str, shape: Sequence[int], axis: int, keepdims: int, last: int) -> None:
    model = make([node(op, ["x"], ["y"], axis=axis, keepdims=keepdims, select_last_index=last)], {"x": shape}, ["y"],
                 types={"y": TensorProto.INT64})
    compare(model, feeds={"x": np.random.default_rng(2).integers(-4, 4, shape).astype(np.float32)})


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("fill", [-np.inf, np.inf])
def test_arg_reductions_of_masked_rows(op: str, fill: float) -> None:
    model = make([node(op, ["x"], ["y"], axis=1, keepdims=0)], {"x": (3, 50)}, ["y"], types={"y": TensorProto.INT64})
    x = np.full((3, 50), fill, np.float32)
    x[1, 30] = 1.0
    compare(model, feeds={"x": x})


def test_arg_max_of_a_vocabulary() -> None:
    x = np.random.default_rng(2).standard_normal((3, 40_000)).astype(np.float32)
    x[1, [20_000, 30_000]] = 9.0
    for last in (0, 1):
        model = make([node("ArgMax", ["x"], ["y"], axis=1, select_last_index=last)], {"x": x.shape}, ["y"],
                     types={"y": TensorProto.INT64})
        compare(model, feeds={"x": x})


def top_k(shape: Sequence[int], k: int, kind: int = TensorProto.FLOAT, **attrs: Any) -> onnx.ModelProto:
    """v, i = the k first of x."""
    return make([node("TopK", ["x", "k"], ["v", "i"], **attrs)], {"x": shape}, ["v", "i"],
                {"k": np.array([k], np.int64)}, types={"x": kind, "v": kind, "i": TensorProto.INT64})


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize(("shape", "axis", "k"), [((3, 50), 1, 20), ((20, 6), 0, 3), ((2, 9, 4), 1, 9), ((5,), 0, 1)])
def test_top_k_in_order_with_ties(shape: Sequence[int], axis: int, k: int, largest: int) -> None:
    rng = np.random.default_rng(4)
    model = top_k(shape, k, axis=axis, largest=largest)
    compare(model, feeds={"x": rng.standard_normal(shape).astype(np.float32)})
    compare(model, feeds={"x": rng.integers(-3, 3, shape).astype(np.float32)})


@pytest.mark.parametrize("largest", [0, 1])
def test_top_k_of_masked_scores(largest: int) -> None:
    least = np.finfo(np.float32).min
    x = np.array([[1, -np.inf, least, 2, -np.inf, np.inf, least, 0, -np.inf, 5, 5, 1e-38]], np.float32)
    compare(top_k(x.shape, 12, largest=largest), feeds={"x": x})


def test_top_k_of_integers() -> None:
    x = np.random.default_rng(5).integers(-100, 100, (4, 30)).astype(np.int16)
    compare(from_int16(top_k(x.shape, 7, TensorProto.INT32)), feeds={"x": x})


def test_top_k_of_half_precision() -> None:
    x = np.random.default_rng(6).standard_normal((4, 30)).astype(np.float16)
    got = run(top_k(x.shape, 5, TensorProto.FLOAT16), {"x": x}).outputs
    np.testing.assert_array_equal(got["v"], np.sort(x)[:, ::-1][:, :5])
    np.testing.assert_array_equal(np.take_along_axis(x, got["i"], 1), got["v"])


@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize(("shape", "axis"), [((7,), 0), ((3, 50), 1), ((60, 5), 0), ((2, 3, 4, 5), -2), ((3, 1), 1)])
def test_running_sums(shape: Sequence[int], axis: int, exclusive: int, reverse: int) -> None:
    compare(make([node("CumSum", ["x", "a"], ["y"], exclusive=exclusive, reverse=reverse)], {"x": shape}, ["y"],
                 {"a": np.array(axis, np.int64)}))


def test_running_sums_of_integers_and_running_products() -> None:
    axis = {"a": np.array(1, np.int64)}
    compare(from_int16(make([node("CumSum", ["x", "a"], ["y"])], {"x": (4, 9)}, ["y"], axis,
                            types={"x": TensorProto.INT32, "y": TensorProto.INT32})))
    x = positive((4, 9))["x"]
    for exclusive in (0, 1):
        model = make([node("CumProd", ["x", "a"], ["y"], exclusive=exclusive)], {"x": x.shape}, ["y"], axis, opset=26)
        (want,) = ReferenceEvaluator(model).run(None, {"x": x})
        np.testing.assert_allclose(run(model, {"x": x}).outputs["y"], want, rtol=1e-6)
