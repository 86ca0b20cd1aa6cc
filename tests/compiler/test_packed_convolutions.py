"""Convolutions whose kernel elements share the partitions with their few channels, against ONNX Runtime."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from compiler import compile_graph
from compiler.options import from_keywords
from isa.spec import SPEC
from tests.compiler.evaluate import imported, make
from tests.compiler.lowering_run import compare, small_target

Shape = tuple[int, ...]

#: x, w, attributes, taps that remain
FORMS: dict[str, tuple[Shape, Shape, dict[str, Any], int]] = {
    "1d": ((2, 1, 70), (4, 1, 9), {"pads": [4, 4]}, 1),
    "1d, stride": ((3, 2, 61), (5, 2, 10), {"strides": [4], "pads": [0, 7]}, 1),
    "1d, dilation": ((1, 3, 50), (4, 3, 5), {"dilations": [3], "pads": [6, 1]}, 1),
    "1d, one element of fill": ((1, 4, 20), (4, 4, 3), {"pads": [1, 1]}, 1),
    "1d, equal groups": ((1, 4, 150), (3, 4, 64), {"pads": [31, 32], "strides": [2]}, 2),
    "1d, last group cut": ((2, 32, 40), (3, 32, 7), {"dilations": [2], "pads": [3, 5]}, 2),
    "1d, longer than the input": ((1, 2, 3), (4, 2, 9), {"pads": [5, 6]}, 1),
    "3d": ((2, 3, 4, 6, 8), (5, 3, 3, 3, 3), {"pads": [1, 1, 1, 1, 1, 1]}, 3),
    "3d, stride": ((1, 2, 7, 9, 10), (4, 2, 3, 3, 3), {"strides": [2, 2, 2], "pads": [1, 1, 1, 1, 1, 1]}, 3),
    "3d, stride beyond the kernel": ((1, 2, 8, 6, 6), (4, 2, 1, 2, 2), {"strides": [3, 3, 3],
                                     "pads": [2, 1, 0, 0, 1, 0]}, 2),
    "3d, dilation": ((1, 2, 8, 9, 7), (4, 2, 3, 2, 2), {"dilations": [2, 3, 2], "pads": [1, 2, 0, 3, 0, 2]}, 2),
    "3d, groups of the first axis": ((1, 5, 6, 9, 8), (4, 5, 7, 7, 2),
                                     {"strides": [2, 1, 1], "pads": [3, 3, 0, 4, 3, 1]}, 3 * 2),
    "3d, groups of both axes": ((1, 32, 4, 8, 5), (4, 32, 2, 6, 2), {"pads": [1, 2, 0, 0, 3, 1]}, 2 * 2 * 2),
    "3d, flat kernel": ((2, 3, 3, 9, 9), (4, 3, 1, 5, 5), {"strides": [1, 2, 2], "pads": [0, 2, 2, 0, 2, 2]}, 5),
    "3d, fill beside rows": ((1, 3, 3, 5, 4), (4, 3, 2, 2, 4), {"pads": [0, 1, 3, 1, 0, 3]}, 4),
    "2d, groups": ((1, 16, 12, 7), (4, 16, 10, 3), {"pads": [4, 1, 5, 1], "dilations": [1, 1]}, 2 * 3),
}


def model_of(x: Shape, w: Shape, attrs: dict[str, Any]) -> onnx.ModelProto:
    rng = np.random.default_rng(1)
    weights = {"w": rng.standard_normal(w, dtype=np.float32), "b": rng.standard_normal(w[:1], dtype=np.float32)}
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], **attrs), helper.make_node("Relu", ["c"], ["y"])]
    return make(nodes, {"x": x}, ["y"], weights)


def products(model: onnx.ModelProto, **options: Any) -> int:
    """Matrix products in the program of a model."""
    program = compile_graph(imported(model), from_keywords({"target": "trn1.2xlarge", "auto_cast": "none", **options}))
    return int((program.stages[0].stream("tensor")["opcode"] == SPEC.by_name["matmul"].opcode).sum())


@pytest.mark.parametrize("target", ["trn1.2xlarge", "inf1.xlarge"])
@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str, target: str) -> None:
    compare(model_of(*FORMS[form][:3]), target)


@pytest.mark.parametrize("form", FORMS)
def test_taps_that_remain(form: str) -> None:
    """All results fit one bank: one product per tap."""
    *sizes, taps = FORMS[form]
    model = model_of(*sizes)
    assert products(model) == taps < products(model, packing=False)


@pytest.mark.parametrize("form", ["1d, equal groups", "3d, stride", "3d, groups of the first axis"])
def test_half_precision(form: str) -> None:
    compare(model_of(*FORMS[form][:3]), auto_cast="all", limit=3e-2)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [(3, 3, 3), (9, 7, 3)])
def test_images_larger_than_sbuf(stride: int, kernel: Shape, tmp_path: Path) -> None:
    """By planes of the result, two layers at once: chunks share planes, and use different partitions."""
    rng = np.random.default_rng(2)
    weights = {"w": rng.standard_normal((6, 3, *kernel), dtype=np.float32),
               "v": rng.standard_normal((4, 6, 3, 1, 1), dtype=np.float32)}
    pads = [k // 2 for k in kernel] * 2
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=pads, strides=[stride] * 3),
             helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("Conv", ["r", "v"], ["y"], pads=[1, 0, 0, 1, 0, 0])]
    model = make(nodes, {"x": (2, 3, 24, 10, 12)}, ["y"], weights)
    small = small_target(tmp_path, 12)
    assert products(model, target=small) > products(model)
    compare(model, small)


#: x, w, attributes, products saved, (taps before - after) * banks: values on chip, large enough for copies to pay
CHIP: dict[str, tuple[Shape, Shape, dict[str, Any], int]] = {
    "1d": ((2, 4, 900), (6, 4, 15), {"pads": [9, 5]}, (15 - 1) * 4),
    "1d, stride and dilation": ((1, 32, 1500), (6, 32, 16), {"strides": [2], "dilations": [3], "pads": [0, 16]},
                                (16 - 4) * 2),
    "2d": ((1, 32, 50, 40), (6, 32, 3, 3), {"pads": [1, 2, 0, 1]}, (9 - 3) * 5),
    "2d, both axes": ((2, 3, 24, 30), (6, 3, 5, 7), {"pads": [2, 0, 1, 6], "dilations": [1, 2]},
                      (35 - 1) * 4),
    "2d, one channel": ((2, 1, 24, 30), (6, 1, 5, 5), {"pads": [2, 2, 2, 2]}, (25 - 1) * 4),
    "2d, one row": ((1, 8, 1, 999), (6, 8, 3, 9), {"pads": [1, 4, 1, 4]}, (27 - 3) * 2),
    "3d": ((2, 16, 6, 8, 10), (6, 16, 3, 3, 3), {"pads": [1, 1, 1, 1, 1, 1]}, (27 - 9) * 2),
    "3d, stride": ((1, 8, 9, 15, 16), (6, 8, 3, 3, 3), {"strides": [1, 2, 1], "pads": [1, 0, 2, 0, 1, 1]},
                   (27 - 3) * 2),
}


def chip_model(x: Shape, w: Shape, attrs: dict[str, Any]) -> onnx.ModelProto:
    """The image is the second part of a value that is computed."""
    rng = np.random.default_rng(3)
    weights = {"w": rng.standard_normal(w, dtype=np.float32), "b": rng.standard_normal(w[:1], dtype=np.float32)}
    nodes = [helper.make_node("Relu", ["x"], ["r"]),
             helper.make_node("Split", ["r"], ["p", "q"], axis=1, num_outputs=2),
             helper.make_node("Conv", ["q", "w", "b"], ["c"], **attrs), helper.make_node("Relu", ["c"], ["y"])]
    return make(nodes, {"x": (x[0], 2 * x[1], *x[2:])}, ["y", "p"], weights)


@pytest.mark.parametrize("target", ["trn1.2xlarge", "inf1.xlarge"])
@pytest.mark.parametrize("form", CHIP)
def test_values_on_chip(form: str, target: str) -> None:
    compare(chip_model(*CHIP[form][:3]), target)


@pytest.mark.parametrize("form", CHIP)
def test_products_saved_on_chip(form: str) -> None:
    *sizes, saved = CHIP[form]
    model = chip_model(*sizes)
    assert products(model) == products(model, packing=False) - saved


def test_values_on_chip_in_half_precision() -> None:
    x, w, attrs, _ = CHIP["2d, both axes"]
    compare(chip_model(x, w, attrs), auto_cast="all", limit=3e-2)


def test_small_images_are_not_copied() -> None:
    model = chip_model((1, 16, 4, 5, 6), (6, 16, 3, 3, 3), {})
    assert products(model) == products(model, packing=False)


@pytest.mark.parametrize("shape", [(2, 4, 60, 40), (2, 4, 20, 12, 12)])
def test_windows_on_chip(shape: Shape, tmp_path: Path) -> None:
    """Three layers by rows: the windows of the middle one touch the border on one side, or on none."""
    rng = np.random.default_rng(4)
    axes = len(shape) - 2
    weights = {n: rng.standard_normal((w, v, *(3,) * axes), dtype=np.float32)
               for n, v, w in (("u", 4, 8), ("v", 8, 8), ("w", 8, 3))}
    attrs = {"pads": [1] * 2 * axes}
    nodes = [helper.make_node("Conv", ["x", "u"], ["a"], **attrs), helper.make_node("Relu", ["a"], ["b"]),
             helper.make_node("Conv", ["b", "v"], ["c"], **attrs), helper.make_node("Relu", ["c"], ["d"]),
             helper.make_node("Conv", ["d", "w"], ["y"], **attrs)]
    model = make(nodes, {"x": shape}, ["y"], weights)
    small = small_target(tmp_path, 24)
    assert products(model, target=small) < products(model, target=small, packing=False) / 2
    compare(model, small)
