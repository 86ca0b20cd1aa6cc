"""Images with channels last: what reads them computes from where they lie, as fast as with channels first."""
from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.compiler.evaluate import make
from tests.compiler.lowering_run import compare, feeds_of, run, small_target

node = helper.make_node


def first_layer(channels: int, size: int, batch: int, last: bool, kernel: int = 3) -> onnx.ModelProto:
    """A convolution of every second pixel and the mean of what it finds."""
    weight = np.random.default_rng(0).standard_normal((32, channels, kernel, kernel)).astype(np.float32) / 10
    shape = [batch, size, size, channels] if last else [batch, channels, size, size]
    turn = [node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])] if last else []
    conv = node("Conv", ["t" if last else "x", "w"], ["c"], strides=[2, 2], pads=[kernel // 2] * 4)
    return make([*turn, conv, node("Relu", ["c"], ["r"]), node("GlobalAveragePool", ["r"], ["y"])], {"x": shape}, ["y"],
                {"w": weight}, opset=18)


@pytest.mark.parametrize(("channels", "size", "batch", "kernel"), [
    (3, 224, 1, 3), (3, 96, 2, 7), (1, 224, 1, 3), (4, 64, 3, 3), (3, 65, 1, 5),
])
def test_the_first_convolution_takes_as_long(channels: int, size: int, batch: int, kernel: int) -> None:
    times = []
    for last in (True, False):
        model = first_layer(channels, size, batch, last, kernel)
        result = compare(model)
        times.append(result.time_ns)
    assert times[0] < 1.05 * times[1] + 12e3  # two transfers and the copies between them


@pytest.mark.parametrize("target", ["inf1.xlarge", "trn1.2xlarge"])
@pytest.mark.parametrize("channels", [1, 3])
def test_rows_at_a_time(channels: int, target: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An image that does not fit is read in windows."""
    model = first_layer(channels, 96, 1, True)
    machine = small_target(tmp_path_factory.mktemp("machine"), 24, target)
    limit = 3e-2 if target.startswith("inf1") else 1e-5
    want = run(model, feeds_of(model), target).outputs["y"]
    got = run(model, feeds_of(model), machine).outputs["y"]
    np.testing.assert_allclose(got, want, rtol=limit, atol=limit)


def test_over_two_cores() -> None:
    """Stages compute rows of the convolution, which they cut out of the image where it lies."""
    first, last = (compare(first_layer(3, 224, 1, where), neuroncore_pipeline_cores=2).time_ns
                   for where in (False, True))
    assert last < 1.05 * first + 12e3
