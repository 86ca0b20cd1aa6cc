"""Inputs as users give them: every fault has its own code, all are reported at once."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from isa import target as targets
from isa.errors import ErrorList
from isa.program import TensorInfo, is_type
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


@pytest.mark.parametrize("kind", sorted(set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}))
def test_every_element_type_of_onnx_is_known(kind: int) -> None:
    name = TensorProto.DataType.Name(kind).lower()
    wanted = helper.tensor_dtype_to_np_dtype(kind)
    for spelling in (f"seq(tensor({name}))", f"optional(tensor({name}))"):
        assert is_type(spelling)
        assert host_checks.element_dtype(spelling) == wanted


FREE = (
    TensorInfo("rows", (-1, 2), "float32"),
    TensorInfo("any", (), "int64", ranked=False),
    TensorInfo("words", (2,), "string"),
    TensorInfo("list", (), "seq(tensor(float))"),
    TensorInfo("maybe", (), "optional(tensor(bfloat16))"),
    TensorInfo("labels", (), "map(int64,tensor(float))"),
)


def test_what_only_the_host_reads_is_checked_as_far_as_it_is_known() -> None:
    x = np.zeros((3, 2), np.float32)
    good = {"rows": x, "any": np.zeros((1, 1, 1), np.int64), "words": ["a", "b"], "list": [x, x[0]], "maybe": None,
            "labels": {1: np.float32(0)}}  # fmt: skip
    complete, missing = host.complete_inputs(FREE, good, seed=0)
    assert complete["words"].dtype == object
    assert missing == []
    bad = {"rows": x.T[:1], "any": x, "words": np.zeros(2), "list": x, "maybe": x, "labels": [1]}
    with pytest.raises(ErrorList) as caught:
        host.complete_inputs(FREE, bad, seed=0)
    assert [(e.code, e.where) for e in caught.value.errors] == [
        ("INPUT_SHAPE", "rows"),
        ("INPUT_DTYPE", "any"),
        ("INPUT_DTYPE", "words"),
        ("INPUT_KIND", "list"),
        ("INPUT_DTYPE", "maybe"),
        ("INPUT_KIND", "labels"),
    ]


def test_invented_inputs_of_the_host() -> None:
    with pytest.raises(ErrorList) as caught:
        host.complete_inputs(FREE, None, seed=0)
    found = [(e.code, e.where) for e in caught.value.errors]
    assert found == [("INPUT_MISSING", name) for name in ("words", "list", "labels")]
    complete, missing = host.complete_inputs([FREE[0], FREE[1], FREE[4]], None, seed=0)
    assert (complete["rows"].shape, complete["any"].shape, complete["maybe"]) == ((1, 2), (), None)
    assert missing == ["rows", "any"]
