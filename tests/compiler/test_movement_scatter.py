"""Scatter and its relatives by indices computed at run time and by constants, against ONNX Runtime."""
from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from compiler.lowering import CONDITIONS
from compiler.ranges import integer_reason, ranges
from isa import target as targets
from tests.compiler.evaluate import imported, make
from tests.compiler.lowering_run import compare
from tests.compiler.random_operators import floats, node

RNG = np.random.default_rng(12)
INT = {"i": TensorProto.INT64}
REDUCTIONS = ["none", "add", "mul", "max", "min"]


def scatter(op: str, shape: list[int], index: np.ndarray, updates: list[int], kind: int = TensorProto.FLOAT,
            constant: bool = False, target: str = "trn1.2xlarge", scale: float = 40.0, **attrs: object) -> None:
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    feeds = {n: (RNG.standard_normal(s) * scale).astype(dtype) for n, s in (("x", shape), ("u", updates))}
    if dtype.kind in "iu" and dtype.itemsize == 4:
        feeds["x"] = feeds["x"] + np.array(2**30 + 1, dtype)
    inputs = {"x": shape, "i": list(index.shape), "u": updates}
    index = index.astype(np.int64)
    weights = {"i": index} if constant else {}
    model = make([node(op, ["x", "i", "u"], ["y"], **attrs)], {k: v for k, v in inputs.items() if k not in weights},
                 ["y"], weights, types={**INT, **dict.fromkeys("xuy", kind)})
    compare(model, target, feeds={**feeds, **({} if constant else {"i": index})})


def distinct(shape: tuple[int, ...], axis: int, size: int) -> np.ndarray:
    """Indices without repetition along one axis, some from the end."""
    lines = [RNG.permutation(size)[: shape[axis]] for _ in range(int(np.prod(shape)) // shape[axis])]
    table = np.array(lines).reshape([n for a, n in enumerate(shape) if a != axis] + [shape[axis]])
    return np.moveaxis(np.where(RNG.random(table.shape) < 0.3, table - size, table), -1, axis)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("constant", [False, True])
def test_elements(axis: int, constant: bool) -> None:
    shape = (4, 3, 5)
    scatter("ScatterElements", [6, 7, 8], distinct(shape, axis, 6 + axis), [*shape], constant=constant, axis=axis)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.INT8, TensorProto.INT32, TensorProto.UINT8])
def test_element_types(kind: int) -> None:
    scatter("ScatterElements", [6, 7], distinct((3, 4), 1, 7), [3, 4], kind, axis=1)
    scatter("ScatterND", [6, 7], np.array([[5], [-3], [0]]), [3, 7], kind)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(("index", "updates"), [
    ([[4], [-3], [0]], [3, 5, 6]), ([[[0, 1], [3, -1]], [[2, 2], [1, 0]]], [2, 2, 6]), ([[1, 2, 3], [-1, 0, 5]], [2]),
    ([[k, 2] for k in range(5)], [5, 6]),
])
def test_slices(index: list, updates: list[int], constant: bool) -> None:
    scatter("ScatterND", [5, 5, 6], np.array(index), updates, constant=constant)


@pytest.mark.parametrize("reduction", REDUCTIONS[1:])
def test_reductions(reduction: str) -> None:
    """Rows and elements that several updates meet."""
    scatter("ScatterND", [9, 70], RNG.integers(-9, 9, (200, 1)), [200, 70], scale=1.0, reduction=reduction)
    scatter("ScatterElements", [9, 7], RNG.integers(-9, 9, (20, 7)), [20, 7], scale=1.0, reduction=reduction)
    scatter("ScatterND", [9, 7], RNG.integers(0, 7, (5, 2)), [5], constant=True, reduction=reduction)


def test_infinite_updates_stay_where_they_belong() -> None:
    model = make([node("ScatterElements", ["x", "i", "u"], ["y"], reduction="add")],
                 {"x": [4], "i": [3], "u": [3]}, ["y"], types=INT, opset=18)
    compare(model, feeds={"x": floats(RNG, 4), "i": np.array([1, 1, 3]), "u": np.array([np.inf, 1, 2], np.float32)})


def test_operands_that_are_computed() -> None:
    """The data keep their value for another reader."""
    nodes = [node("Relu", ["x"], ["r"]), node("Tanh", ["u"], ["t"]), node("Cast", ["f"], ["i"], to=TensorProto.INT64),
             node("ScatterND", ["r", "i", "t"], ["s"]), node("Add", ["s", "r"], ["y"])]
    feeds = {"x": floats(RNG, 12, 6), "u": floats(RNG, 3, 6), "f": np.array([[2], [11], [7]], np.float32)}
    compare(make(nodes, {"x": [12, 6], "u": [3, 6], "f": [3, 1]}, ["y"]), feeds=feeds)


def test_many_constants() -> None:
    """Scattered constants are one indirect transfer; v1 has plain transfers only."""
    scatter("ScatterElements", [50, 9], distinct((50, 9), 0, 50), [50, 9], constant=True)
    scatter("ScatterElements", [8, 9], distinct((4, 3), 0, 8), [4, 3], constant=True, target="inf1.xlarge")


def reason(shape: list[int], index: list[int], target: str, kind: int = TensorProto.FLOAT, **attrs: object) -> str:
    model = make([node("ScatterND", ["x", "i", "u"], ["y"], **attrs)],
                 {"x": shape, "i": index, "u": [*index[:-1], *shape[index[-1]:]]}, ["y"], opset=18,
                 types={**INT, **dict.fromkeys("xuy", kind)})
    graph = imported(model)
    return CONDITIONS["ScatterND"](graph, graph.nodes[0], targets.load(target))


def test_indices_select_and_are_not_computed_with() -> None:
    """Sums of floats by indices of any size are exact; sums of integers of any size are not."""
    for kind, why in ((TensorProto.FLOAT, ""), (TensorProto.INT32, "2^24")):
        model = make([node("ScatterND", ["x", "i", "u"], ["y"], reduction="add")], {"x": [4, 5], "i": [2, 1],
                     "u": [2, 5]}, ["y"], opset=18, types={**INT, **dict.fromkeys("xuy", kind)})
        graph = imported(model)
        found = integer_reason(graph, graph.nodes[0], ranges(graph))
        assert why in found if why else not found


def test_reasons() -> None:
    assert reason([4, 5], [2, 1], "trn1.2xlarge") == ""
    assert "run time" in reason([4, 5], [2, 1], "inf1.xlarge")
    assert "wrap" in reason([4, 5], [2, 1], "trn1.2xlarge", TensorProto.INT8, reduction="add")
    assert reason([4, 5], [2, 1], "trn1.2xlarge", TensorProto.INT8, reduction="max") == ""
    assert "each" in reason([4, 5], [9000, 1], "trn1.2xlarge", reduction="add")
