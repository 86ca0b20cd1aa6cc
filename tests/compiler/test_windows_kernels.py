"""Convolutions whose kernel and bias are computed at run time, in every form, against ONNX Runtime."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tests.compiler.evaluate import make
from tests.compiler.lowering_run import compare, run, small_target

Shape = tuple[int, ...]


#: operator, x, w, attributes
FORMS: dict[str, tuple[str, Shape, Shape, dict[str, Any]]] = {
    "1d": ("Conv", (2, 3, 11), (4, 3, 3), {"pads": [1, 2], "strides": [2]}),
    "3d": ("Conv", (1, 2, 4, 5, 6), (3, 2, 2, 3, 2), {"pads": [1, 0, 1, 0, 1, 0], "dilations": [1, 2, 1]}),
    "wide": ("Conv", (1, 150, 4, 5), (140, 150, 3, 3), {"pads": [1, 1, 1, 1]}),
    "groups": ("Conv", (2, 6, 5, 7), (9, 2, 3, 2), {"group": 3, "pads": [1, 0, 1, 1]}),
    "groups over tiles": ("Conv", (1, 160, 3, 4), (320, 5, 1, 2), {"group": 32}),
    "depthwise": ("Conv", (1, 130, 6, 5), (130, 1, 3, 3), {"group": 130, "pads": [1, 1, 1, 1], "strides": [2, 1]}),
    "multiplier": ("Conv", (1, 7, 6, 5), (21, 1, 3, 3), {"group": 7}),
    "one channel": ("Conv", (1, 1, 6, 5), (1, 1, 2, 2), {}),
    "transposed": ("ConvTranspose", (2, 5, 4, 3), (5, 6, 3, 3),
                   {"strides": [2, 3], "pads": [1, 0, 0, 1], "output_padding": [1, 0]}),
    "transposed, wide": ("ConvTranspose", (1, 140, 3, 3), (140, 135, 2, 2), {"strides": [2, 2]}),
    "transposed, groups": ("ConvTranspose", (1, 6, 5), (6, 2, 4), {"group": 3, "strides": [3], "dilations": [2]}),
    "transposed, 3d": ("ConvTranspose", (1, 2, 3, 2, 3), (2, 3, 2, 2, 2), {"strides": [1, 2, 2]}),
}


@pytest.mark.parametrize("target", ["trn1.2xlarge", "inf1.xlarge"])
@pytest.mark.parametrize("form", FORMS)
def test_run_time_kernel_and_bias(form: str, target: str) -> None:
    op, x, w, attrs = FORMS[form]
    cout = w[0] if op == "Conv" else w[1] * attrs.get("group", 1)
    node = helper.make_node(op, ["x", "w", "b"], ["y"], **attrs)
    compare(make([node], {"x": x, "w": w, "b": (cout,)}, ["y"]), target)


def test_half_precision() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=2)
    half = dict.fromkeys("xwy", TensorProto.FLOAT16)
    compare(make([node], {"x": (1, 4, 5, 5), "w": (6, 2, 3, 3)}, ["y"], types=half), limit=2e-3)


@pytest.mark.parametrize("group", [1, 2])
def test_kernel_from_the_chip_and_residual(group: int) -> None:
    """The kernel is itself a result, and the sum takes the convolution's epilogue."""
    nodes = [helper.make_node("Tanh", ["v"], ["w"]), helper.make_node("Relu", ["r"], ["s"]),
             helper.make_node("Conv", ["x", "w"], ["c"], group=group, pads=[1, 1, 1, 1]),
             helper.make_node("Add", ["c", "s"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    compare(make(nodes, {"x": (2, 6, 4, 4), "v": (8, 6 // group, 3, 3), "r": (2, 8, 4, 4)}, ["y"]))


def test_parts_of_a_tensor() -> None:
    """Channels of the operand begin inside a partition group; results are parts of a concatenation."""
    nodes = [helper.make_node("Relu", ["x"], ["r"]),
             helper.make_node("Split", ["r"], ["p", "q"], axis=1, num_outputs=2),
             helper.make_node("Conv", ["q", "w"], ["c"]), helper.make_node("Conv", ["p", "w"], ["d"]),
             helper.make_node("Concat", ["d", "c"], ["y"], axis=1)]
    compare(make(nodes, {"x": (1, 14, 4, 4), "w": (36, 7, 2, 2)}, ["y"]))


def test_kernel_read_twice() -> None:
    """A kernel that the graph also reads as a tensor keeps its own layout there."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("ReduceSum", ["w"], ["t"], keepdims=1),
             helper.make_node("Mul", ["c", "t"], ["y"])]
    compare(make(nodes, {"x": (1, 3, 4, 4), "w": (5, 3, 2, 2)}, ["y"]), feeds={
        "x": np.linspace(-1, 1, 48, dtype=np.float32).reshape(1, 3, 4, 4),
        "w": np.linspace(0, 1, 60, dtype=np.float32).reshape(5, 3, 2, 2)})


@pytest.mark.parametrize("group", [1, 3])
def test_images_larger_than_sbuf(group: int, tmp_path: Path) -> None:
    """By rows of the result: every visit reads the whole kernel, which is itself a result."""
    nodes = [helper.make_node("Tanh", ["v"], ["w"]),
             helper.make_node("Conv", ["x", "w"], ["c"], group=group, pads=[1, 1, 1, 1]),
             helper.make_node("Conv", ["c", "w"], ["y"], group=group, pads=[1, 1, 1, 1])]
    compare(make(nodes, {"x": (1, 6, 90, 64), "v": (6, 6 // group, 3, 3)}, ["y"]), small_target(tmp_path, 24))


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("group", [1, 2])
def test_deformed(group: int, mask: bool) -> None:
    """Places between pixels and beyond borders, against ONNX's own evaluator."""
    shapes = {"x": (2, 4, 6, 7), "w": (6, 4 // group, 3, 2), "o": (2, 2 * 12, 3, 4), "b": (6,)}
    shapes |= {"m": (2, 2 * 6, 3, 4)} if mask else {}
    rng = np.random.default_rng(1)
    feeds = {k: (rng.standard_normal(s) * (2 if k == "o" else 1)).astype(np.float32) for k, s in shapes.items()}
    node = helper.make_node("DeformConv", list(shapes), ["y"], group=group, offset_group=2, strides=[2, 2],
                            pads=[1, 1, 0, 1], dilations=[1, 1], kernel_shape=[3, 2])
    model = make([node], shapes, ["y"], opset=22)
    want = ReferenceEvaluator(model).run(None, feeds)[0]
    np.testing.assert_allclose(run(model, feeds).outputs["y"], want, rtol=1e-4, atol=1e-4)
