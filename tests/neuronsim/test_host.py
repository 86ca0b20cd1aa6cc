"""Inputs as users give them: every fault has its own code, all are reported at once."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from isa import target as targets
from isa.errors import ErrorList
from isa.program import TensorInfo
from neuronsim import host, host_checks

INFOS = (
    TensorInfo("image", (1, 3, 4, 4), "float32"),
    TensorInfo("ids", (2, 5), "int64"),
    TensorInfo("pixels", (8,), "uint8"),
    TensorInfo("half", (3,), "bfloat16"),
)


def test_missing_inputs_are_seeded_and_independent() -> None:
    everything, missing = host.complete_inputs(INFOS, None, seed=7)
    assert missing == [i.name for i in INFOS]
    again, missing = host.complete_inputs(INFOS, {"image": everything["image"]}, seed=7)
    assert missing == ["ids", "pixels", "half"]
    for name in missing:
        assert np.array_equal(everything[name], again[name])
    other, _ = host.complete_inputs(INFOS, None, seed=8)
    assert not np.array_equal(everything["image"], other["image"])


def test_random_inputs_fit_the_model_and_are_sensible() -> None:
    arrays, _ = host.complete_inputs(INFOS, None, seed=0)
    host_checks.check_inputs(INFOS, arrays)
    assert set(np.unique(arrays["ids"])) <= {0, 1}
    assert arrays["half"].dtype == ml_dtypes.bfloat16


def test_all_faults_at_once_each_with_its_code() -> None:
    given = {
        "imaeg": np.zeros((1, 3, 4, 4), np.float32),
        "image": np.zeros((1, 3, 4, 5), np.float64),
        "ids": np.zeros((2, 5), np.int32),
    }
    with pytest.raises(ErrorList) as caught:
        host.complete_inputs(INFOS, given, seed=0)
    errors = caught.value.errors
    assert [(e.code, e.where) for e in errors] == [
        ("INPUT_NAME", "imaeg"),
        ("INPUT_SHAPE", "image"),
        ("INPUT_DTYPE", "image"),
        ("INPUT_DTYPE", "ids"),
    ]
    assert "'image'" in errors[0].help
    assert (errors[1].limit, errors[1].actual) == ("1x3x4x4", "1x3x4x5")


def test_link_time_is_bytes_over_rate() -> None:
    target = targets.load("inf1.xlarge")
    assert host.link_seconds([], target) == 0.0
    assert host.link_seconds([1000, 600], target) == pytest.approx(1600 / target.host_bytes_per_ns * 1e-9)
    assert host.link_seconds([1600], target.with_params({"host.bytes_per_ns": float("inf")})) == 0.0
