"""Reductions of maps that SBUF has no room for: piece by piece from where the convolution left them in DRAM."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.compiler.evaluate import make
from tests.compiler.lowering_run import compare, small_target

node = helper.make_node
CASES = {"GlobalAveragePool": None, "ReduceMax": [2, 3], "ReduceSum": [3], "ReduceMean": [1, 2, 3], "ReduceMin": [0, 2]}


def gated(op: str, size: int = 48, channels: int = 24, batch: int = 2) -> onnx.ModelProto:
    """A convolution's map beside what becomes of all of it."""
    weight = np.random.default_rng(1).standard_normal((channels, 3, 3, 3)).astype(np.float32) / 5
    axes = CASES[op]
    inputs = ["c"] if axes is None else ["c", "axes"]
    nodes = [node("Conv", ["x", "w"], ["c"], pads=[1] * 4), node(op, inputs, ["m"]), node("Mul", ["c", "m"], ["g"]),
             node("MaxPool", ["g"], ["y"], kernel_shape=[8, 8], strides=[8, 8])]
    constants = {"w": weight} if axes is None else {"w": weight, "axes": np.array(axes)}
    return make(nodes, {"x": [batch, 3, size, size]}, ["y", "m"], constants, opset=18)


@pytest.mark.parametrize("op", CASES)
@pytest.mark.parametrize("base", ["trn1.2xlarge", "inf1.xlarge"])
def test_of_a_map_larger_than_sbuf(op: str, base: str, tmp_path: Path) -> None:
    """Two images of 48 x 48 take 18 KiB of every partition, which has 16."""
    machine = small_target(tmp_path, 16, base)
    compare(gated(op), machine, limit=1e-5 if base.startswith("trn1") else 3e-2)


def test_squeeze_and_excitation_of_a_large_image_stays_on_the_device() -> None:
    compare(gated("GlobalAveragePool", size=256, channels=8, batch=1))
