"""Gather and its relatives by indices computed at run time and by constants, against ONNX Runtime."""
from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from compiler.lowering import CONDITIONS
from isa import target as targets
from tests.compiler.evaluate import imported, make
from tests.compiler.lowering_run import compare, small_target
from tests.compiler.random_operators import floats, node

RNG = np.random.default_rng(11)
INT = {"i": TensorProto.INT64}
KINDS = [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8, TensorProto.INT32, TensorProto.INT64,
         TensorProto.BOOL, TensorProto.UINT8]


def elements(shape: list[int], kind: int) -> np.ndarray:
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    if dtype.kind == "f":
        return RNG.standard_normal(shape).astype(dtype)
    info = np.iinfo(dtype if dtype.itemsize < 8 else np.int32) if dtype.kind in "iu" else None
    high = 2 if info is None else int(info.max)
    return RNG.integers(0 if info is None else int(info.min), high, shape).astype(dtype)


def gather(shape: list[int], index: np.ndarray, kind: int = TensorProto.FLOAT, target: str = "trn1.2xlarge",
           op: str = "Gather", **attrs: int) -> None:
    model = make([node(op, ["x", "i"], ["y"], **attrs)], {"x": shape, "i": list(index.shape)}, ["y"],
                 types={**INT, "x": kind, "y": kind})
    compare(model, target, feeds={"x": elements(shape, kind), "i": index.astype(np.int64)})


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("count", [[], [1], [5], [2, 3]])
def test_along_any_axis(count: list[int], axis: int) -> None:
    gather([4, 4, 4], RNG.integers(-4, 4, count), axis=axis)


@pytest.mark.parametrize("kind", KINDS)
def test_element_types(kind: int) -> None:
    gather([9, 5], np.array([8, -1, 0, -9]), kind)
    gather([5, 9], np.array([8, -1, 0, -9]), kind, axis=1)
    gather([5, 9], RNG.integers(-5, 5, (3, 9)), kind, op="GatherElements")
    gather([5, 9], RNG.integers(0, 5, (3, 2)), kind, op="GatherND")


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_elements(axis: int) -> None:
    gather([5, 6, 7], RNG.integers(-5, 5, (4, 5, 6)), op="GatherElements", axis=axis)


@pytest.mark.parametrize(("shape", "index", "batch"), [
    ([4, 5, 6], (3, 1), 0), ([4, 5, 6], (2, 3, 2), 0), ([4, 5, 6], (2, 3), 0), ([4, 5, 6], (4, 2), 1),
    ([4, 4, 5, 6], (4, 4, 3, 1), 2), ([4, 5, 6], (4, 3, 1), 1),
])
def test_slices(shape: list[int], index: tuple[int, ...], batch: int) -> None:
    gather(shape, RNG.integers(-4, 4, index), op="GatherND", batch_dims=batch)


def test_many_rows() -> None:
    """More indices than are handled at once; a result too large to keep on partitions."""
    gather([300, 8], RNG.integers(0, 300, (2, 2500)))
    gather([300, 8], RNG.integers(0, 8, (300, 17)), op="GatherElements", axis=1)


def test_indices_and_table_that_are_computed() -> None:
    nodes = [node("Relu", ["t"], ["r"]), node("Cast", ["f"], ["i"], to=TensorProto.INT64),
             node("Gather", ["r", "i"], ["g"], axis=1), node("Tanh", ["g"], ["y"])]
    model = make(nodes, {"t": [6, 20, 3], "f": [2, 4]}, ["y"])
    compare(model, feeds={"t": floats(RNG, 6, 20, 3), "f": RNG.integers(0, 20, (2, 4)).astype(np.float32)})


def test_a_table_that_another_node_reads(tmp_path: object) -> None:
    nodes = [node("Relu", ["t"], ["r"]), node("Gather", ["r", "i"], ["g"], axis=0), node("Add", ["g", "g"], ["y"]),
             node("Exp", ["r"], ["z"])]
    model = make(nodes, {"t": [40, 30], "i": [3, 7]}, ["y", "z"], types=INT)
    compare(model, small_target(tmp_path, 12))  # type: ignore[arg-type]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_products_on_v1(axis: int) -> None:
    gather([5, 7, 6], RNG.integers(-5, 5, (2, 3)), target="inf1.xlarge", axis=axis)
    gather([150, 7], RNG.integers(-150, 150, (4,)), target="inf1.xlarge")
    gather([150, 7], RNG.integers(-150, 150, (4,)), TensorProto.INT8, target="inf1.xlarge")


@pytest.mark.parametrize("constant", [False, True])
def test_products_on_v1_do_not_round_small_tables(constant: bool) -> None:
    """Quantiles and class labels are compared with, and looked up, exactly."""
    for table in (floats(RNG, 150, 7), RNG.integers(-(2**24), 2**24, (30, 4)).astype(np.int64)):
        kind = helper.np_dtype_to_tensor_dtype(table.dtype)
        if constant or table.dtype.kind == "f":
            index = {"i": RNG.integers(-30, 30, (9,))}
            inputs: dict[str, list[int]] = {"i": [9]} if constant else {"i": [9], "x": list(table.shape)}
            model = make([node("Gather", ["x", "i"], ["y"])], inputs, ["y"], {"x": table} if constant else {},
                         types={**INT, "x": kind, "y": kind})
            compare(model, "inf1.xlarge", feeds=index if constant else {**index, "x": table}, limit=1e-7)


@pytest.mark.parametrize("op", ["GatherElements", "GatherND"])
def test_scattered_constants(op: str) -> None:
    """Many constant positions are one indirect transfer, few ones plain transfers."""
    index = RNG.integers(-60, 60, (60, 9)) if op == "GatherElements" else RNG.integers(-5, 5, (70, 2))
    compare(make([node(op, ["x", "i"], ["y"])], {"x": [60, 9]}, ["y"], {"i": index}))
    compare(make([node(op, ["x", "i"], ["y"])], {"x": [60, 9]}, ["y"], {"i": index[:2]}), "inf1.xlarge")


def test_scattered_rows() -> None:
    index = RNG.integers(0, 90, 200)
    for axis in (0, 1):
        compare(make([node("Gather", ["x", "i"], ["y"], axis=axis)], {"x": [90, 90]}, ["y"], {"i": index}))


def reason(op: str, shape: list[int], index: list[int], target: str, **kinds: int) -> str:
    model = make([node(op, ["x", "i"], ["y"])], {"x": shape, "i": index}, ["y"], types={**INT, **kinds})
    graph = imported(model)
    return CONDITIONS[op](graph, graph.nodes[0], targets.load(target))


def test_reasons() -> None:
    assert reason("GatherElements", [4, 5], [4, 5], "trn1.2xlarge") == ""
    assert "run time" in reason("GatherElements", [4, 5], [4, 5], "inf1.xlarge")
    assert "exact" in reason("GatherND", [5000, 5000], [4, 2], "trn1.2xlarge")
    assert reason("Gather", [50, 5], [4], "inf1.xlarge") == ""
    assert "large table" in reason("Gather", [5000, 500], [4], "inf1.xlarge")
    whole = {"x": TensorProto.INT32, "y": TensorProto.INT32}
    assert "integers" in reason("Gather", [50, 5], [4], "inf1.xlarge", **whole)
