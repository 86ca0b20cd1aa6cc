"""Resize in all its forms, against ONNX Runtime where it follows the definition, else the reference evaluator."""
from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from compiler.lowering.resize import resize_condition
from isa import target as targets
from tests.compiler.evaluate import imported, make
from tests.compiler.lowering_run import compare, feeds_of, run
from tests.compiler.random_operators import node

TRN1 = targets.load("trn1.2xlarge")


def resize(shape: list[int], scales: list[float] | None = None, sizes: list[int] | None = None,
           roi: list[float] | None = None, **attrs: object) -> onnx.ModelProto:
    weights: dict[str, np.ndarray] = {}
    inputs = ["x", "", "", ""]
    operands = (("r", roi, np.float32), ("s", scales, np.float32), ("z", sizes, np.int64))
    for k, (name, values, kind) in enumerate(operands):
        if values is not None:
            inputs[k + 1], weights[name] = name, np.array(values, kind)
    while not inputs[-1]:
        inputs.pop()
    return make([node("Resize", inputs, ["y"], **attrs)], {"x": shape}, ["y"], weights)


def against_definition(model: onnx.ModelProto, limit: float = 1e-5) -> None:
    feeds = feeds_of(model)
    want = ReferenceEvaluator(model).run(None, feeds)[0]
    result = run(model, feeds)
    assert not result.findings
    np.testing.assert_allclose(result.outputs["y"], want, atol=limit * float(np.abs(want).max()))


@pytest.mark.parametrize("where", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel",
                                   "half_pixel_symmetric"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_coordinates(mode: str, where: str) -> None:
    compare(resize([1, 3, 5, 7], sizes=[1, 3, 8, 4], mode=mode, coordinate_transformation_mode=where))


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_nearest_rounding(rounding: str) -> None:
    compare(resize([2, 3, 8], scales=[1, 1, 0.625], nearest_mode=rounding))
    compare(resize([2, 3, 8], sizes=[2, 3, 20], nearest_mode=rounding, coordinate_transformation_mode="align_corners"))


@pytest.mark.parametrize("shape", [[6], [6, 5], [2, 6, 5], [1, 2, 3, 4, 5]])
def test_ranks(shape: list[int]) -> None:
    against_definition(resize(shape, scales=[1.5] * len(shape), mode="linear"))
    compare(resize(shape, scales=[2.0] * len(shape)))


@pytest.mark.parametrize("attrs", [
    {"mode": "linear", "antialias": 1}, {"mode": "cubic", "antialias": 1},
    {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    {"mode": "cubic", "coordinate_transformation_mode": "align_corners"},
    {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1},
    {"mode": "cubic", "antialias": 1, "cubic_coeff_a": -0.5, "exclude_outside": 1},
    {"mode": "linear", "axes": [3, 2], "scales": [0.5, 3.0]},
    {"axes": [2, 3], "sizes": [7, 8], "keep_aspect_ratio_policy": "not_larger"},
    {"mode": "linear", "axes": [2, 3], "sizes": [7, 8], "keep_aspect_ratio_policy": "not_smaller"},
], ids=str)
def test_forms(attrs: dict[str, object]) -> None:
    size = {} if {"sizes", "scales"} & set(attrs) else {"scales": [1, 1, 0.6, 0.45]}
    against_definition(resize([1, 2, 6, 9], **{**size, **attrs}))  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_crop(mode: str) -> None:
    """What lies outside of the input is filled; a crop may be turned around or lie outside altogether."""
    crop = {"mode": mode, "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.5}
    for roi in ([0, 0, 0.4, 0.6, 1, 1, 0.6, 0.8], [0, 0, 0.5, -0.4, 1, 1, 1.4, 0.8], [0, 0, 1, 0, 1, 1, 0, 1],
                [0, 0, 2, 0, 1, 1, 3, 1]):
        compare(resize([1, 2, 5, 6], sizes=[1, 2, 4, 5], roi=roi, **crop))  # type: ignore[arg-type]


def test_sizes_that_stay() -> None:
    """A scale that leaves every size alone still resamples by the definition (ONNX Runtime hands the input on)."""
    against_definition(resize([1, 3, 3], scales=[1, 1, 1.2], mode="linear"))


def test_elements_are_moved_exactly() -> None:
    """Nearest does not go through floating point."""
    for kind in (TensorProto.INT32, TensorProto.UINT8, TensorProto.INT8):
        model = make([node("Resize", ["x", "", "s"], ["y"])], {"x": [1, 2, 3, 3]}, ["y"],
                     {"s": np.array([1, 1, 2, 3], np.float32)}, types={"x": kind, "y": kind})
        top = 2**31 if kind == TensorProto.INT32 else 100
        x = (np.arange(18).reshape(1, 2, 3, 3) + top - 19).astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
        compare(model, feeds={"x": x})


def test_reasons() -> None:
    model = make([node("Resize", ["x", "", "s"], ["y"], mode="linear")], {"x": [1, 2, 4, 4]}, ["y"],
                 {"s": np.array([1, 1, 2, 2], np.float32)}, types={"x": TensorProto.UINT8, "y": TensorProto.UINT8})
    graph = imported(model)
    assert "integers" in resize_condition(graph, graph.nodes[0], TRN1)
    graph = imported(resize([1, 2, 4, 4], scales=[1, 1, 2, 2], mode="linear"))
    assert resize_condition(graph, graph.nodes[0], TRN1) == ""
    graph.values["s"].const = None
    assert "scales" in resize_condition(graph, graph.nodes[0], TRN1)
