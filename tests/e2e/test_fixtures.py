"""Seven models saved by their frameworks, wholly on the device, against the outputs their frameworks gave."""

from __future__ import annotations

import json

import numpy as np
import pytest

import neuronsim
from neuronsim.api import Neff
from tests.e2e.fixture_models import CASTS, DATA, NAMES, TARGETS, Call, calls, compiled, model_path

BF16_ERROR = 3e-2  # of the largest expected magnitude
CLASSIFIERS = {"action_r3d": "logits", "mobilenet_qdq_int8": "logits", "resnet_cls": "logits", "vit_cls": "logits"}
CALLS = [(n, k) for n in NAMES for k in range(1 + json.loads((DATA / n / "meta.json").read_text())["second_call"])]


def run(name: str, k: int, target: str) -> tuple[Neff, Call, dict[str, np.ndarray]]:
    call = calls(name)[k]
    if k == 0:
        neff = compiled(name, target)
    else:
        options = {"auto_cast": CASTS[target], "input_shapes": call.shapes}
        neff = neuronsim.compile(model_path(name), target=target, **options)
    return neff, call, neff.run(call.inputs, mode="values").outputs


@pytest.mark.parametrize("name, k", CALLS)
def test_fp32_meets_the_stated_tolerance(name: str, k: int) -> None:
    neff, call, outputs = run(name, k, "trn1.2xlarge")
    assert neff.report["operators"]["on_cpu"] == 0
    assert all(node.kind == "neuron_core" for node in neff.program.nodes)
    for tensor, expected in call.outputs.items():
        assert outputs[tensor].dtype == expected.dtype
        assert outputs[tensor].shape == expected.shape
        np.testing.assert_allclose(outputs[tensor], expected, rtol=call.rtol, atol=call.atol, err_msg=tensor)


@pytest.mark.parametrize("name, k", CALLS)
def test_bf16_stays_within_three_hundredths(name: str, k: int) -> None:
    neff, call, outputs = run(name, k, "inf1.xlarge")
    assert neff.report["operators"]["on_cpu"] == 0
    for tensor, expected in call.outputs.items():
        assert outputs[tensor].shape == expected.shape
        if expected.dtype.kind == "f":
            limit = BF16_ERROR * np.abs(expected).max()
            np.testing.assert_allclose(outputs[tensor], expected, rtol=0, atol=limit, err_msg=tensor)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_bf16_finds_the_same_class_where_fp32_is_sure(name: str) -> None:
    _, call, outputs = run(name, 0, "inf1.xlarge")
    expected = call.outputs[CLASSIFIERS[name]]
    ranked = np.sort(expected, axis=-1)
    sure = ranked[..., -1] - ranked[..., -2] > 2 * BF16_ERROR * np.abs(expected).max()
    got = outputs[CLASSIFIERS[name]].argmax(axis=-1)
    assert np.array_equal(got[sure], expected.argmax(axis=-1)[sure])


def test_all_seven_are_there() -> None:
    assert tuple(sorted(p.name for p in DATA.iterdir() if (p / "model.onnx").exists())) == NAMES
    assert len(TARGETS) == 2
