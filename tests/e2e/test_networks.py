"""Networks of many kinds against ONNX Runtime, each program checked.

On v2 in fp32, on v1 in bf16, and on a v2 with so little SBUF that they are computed in windows, streamed or spilled.
"""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import neuronsim
from tests.e2e.networks import NETWORKS

Network = Callable[[], onnx.ModelProto]
#: largest difference over the largest magnitude
FP32, BF16 = 1e-5, 3e-2
SMALL_SBUF = 32 * 1024


def inputs_for(session: onnxruntime.InferenceSession) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        i.name: random.integers(0, 50, i.shape) if "int64" in i.type else random.standard_normal(i.shape).astype("f4")
        for i in session.get_inputs()
    }


def largest_error(network: Network, target: str, **options: object) -> float:
    """Compile, run with checks, and compare every output."""
    data = network().SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    feeds = inputs_for(session)
    expected = dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))
    neff = neuronsim.compile(data, target=target, **options)
    result = neff.run(feeds, instance=target, check=True)
    assert not result.findings
    return max(float(np.abs(result.outputs[n] - e).max() / np.abs(e).max()) for n, e in expected.items())


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.__name__)
def test_v2_fp32(network: Network) -> None:
    assert largest_error(network, "trn1.2xlarge", auto_cast="none") < FP32


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.__name__)
def test_v1_bf16(network: Network) -> None:
    assert largest_error(network, "inf1.xlarge") < BF16


@pytest.fixture
def small_target(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(f"extends: trn1.2xlarge\nname: small\nparameters:\n  sbuf.partition_bytes: {SMALL_SBUF}\n")
    return str(path)


WINDOWED = ("detection_head", "encoder_decoder", "inverted_residuals", "super_resolution", "video")


@pytest.mark.parametrize("network", [n for n in NETWORKS if n.__name__ in WINDOWED], ids=lambda n: n.__name__)
def test_in_windows(network: Network, small_target: str) -> None:
    assert largest_error(network, small_target, auto_cast="none") < FP32


@pytest.mark.parametrize("off", ["fusion", "packing", "double_buffer"])
def test_switched_off(off: str) -> None:
    options = {off: False}
    for network in (NETWORKS[2], NETWORKS[3]):
        assert largest_error(network, "trn1.2xlarge", auto_cast="none", **options) < FP32
