"""Random models, parts of which only the host can run, compiled, run with checks and compared with ONNX Runtime."""
from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings

import neuronsim
from tests.e2e.random_models import Feeds, models

#: largest difference over the largest magnitude, or over 1 where that is less: numbers come from normal ones
LIMIT = 2e-5

relaxed = settings(deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])


def agrees(model: onnx.ModelProto, feeds: Feeds, **options: object) -> None:
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    wanted = {i.name for i in session.get_inputs()}
    expected = dict(zip([o.name for o in session.get_outputs()],
                        session.run(None, {k: v for k, v in feeds.items() if k in wanted}), strict=True))
    neff = neuronsim.compile(data, target="trn1.2xlarge", auto_cast="none", **options)
    result = neff.run({k: v for k, v in feeds.items() if k in {i.name for i in neff.inputs}}, check=True)
    assert not result.findings, result.findings[0]
    for name, want in expected.items():
        got = result.outputs[name]
        assert (got.shape, got.dtype) == (want.shape, want.dtype), name
        if want.dtype.kind != "f":
            np.testing.assert_array_equal(got, want, err_msg=name)
            continue
        error = float(np.abs(got.astype(np.float64) - want).max(initial=0.0))
        assert error <= LIMIT * max(1.0, float(np.abs(want).max(initial=0.0))), f"{name}: error {error:.3g}"


@settings(relaxed, max_examples=40)
@given(models())
def test_random_models(case: tuple[onnx.ModelProto, Feeds]) -> None:
    agrees(*case)


@settings(relaxed, max_examples=20)
@given(models())
def test_every_operator_that_can_is_on_the_device(case: tuple[onnx.ModelProto, Feeds]) -> None:
    """The smallest segments, whatever their transfers cost: the most boundaries a model can have."""
    agrees(*case, minimum_segment_size=1, transfer_cost=False)


@pytest.mark.slow
@settings(relaxed, max_examples=1000)
@given(models(least=8, most=20))
def test_a_thousand_models(case: tuple[onnx.ModelProto, Feeds]) -> None:
    agrees(*case, minimum_segment_size=1, transfer_cost=False)
