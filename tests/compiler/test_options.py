"""Options of a compilation: what is refused, and that all faults are reported at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from compiler.face import parse_input_shapes
from compiler.options import CompileOptions, OptionError, from_keywords
from isa.errors import ErrorList


def test_defaults_are_those_of_the_design_page() -> None:
    options = CompileOptions()
    assert (options.target, options.auto_cast, options.auto_cast_type, options.opt_level) == (
        "inf1.xlarge",
        None,
        "bf16",
        2,
    )
    assert options.fusion
    assert options.double_buffer
    assert options.packing


def test_every_wrong_option_is_reported() -> None:
    with pytest.raises(ErrorList) as caught:
        from_keywords({"auto_cast": "some", "auto_cast_type": "int4", "opt_level": 9, "batch": 0})
    assert [e.where for e in caught.value.errors] == ["auto_cast", "auto_cast_type", "opt_level", "batch"]
    assert caught.value.errors[0].limit == "none, matmult, all"


def test_unknown_options_name_the_known_ones() -> None:
    with pytest.raises(ErrorList) as caught:
        from_keywords({"autocast": "none", "speed": 11})
    assert [e.where for e in caught.value.errors] == ["autocast", "speed"]
    assert "auto_cast" in caught.value.errors[0].help


@pytest.mark.parametrize(
    "text, name, shape",
    [("x:1x3x224x224", "x", (1, 3, 224, 224)), ("a/b:0:2x5", "a/b:0", (2, 5)), ("s:", "s", ()), ("n:7", "n", (7,))],
)
def test_input_shapes(text: str, name: str, shape: tuple[int, ...]) -> None:
    assert parse_input_shapes([text]) == {name: shape}


@pytest.mark.parametrize("text", ["1x3", ":1x3", "x:1x-3", "x:1xtwo", "x:1,3"])
def test_unreadable_input_shapes(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_input_shapes([text])
    assert caught.value.where == "--input-shape"


def test_an_input_shape_given_twice_is_refused() -> None:
    with pytest.raises(OptionError):
        parse_input_shapes(["x:1x2", "x:1x3"])


def test_the_record_is_json_and_reads_back() -> None:
    options = from_keywords(
        {"target": "trn1.2xlarge", "input_shapes": ["x:1x3"], "print_after": "all", "auto_cast": "all"}
    )
    record = json.loads(json.dumps(options.record()))
    assert "print_after" not in record
    again = from_keywords(record)
    assert again.record() == options.record()
    assert again.input_shapes == {"x": (1, 3)}


@pytest.mark.parametrize(
    "text, name, dtype",
    [("ids:int32", "ids", "int32"), ("a/b:0:FP16", "a/b:0", "float16"), ("x:tf.float32", "x", "float32"),
     ("x:DT_BFLOAT16", "x", "bfloat16"), ("x:torch.long", "x", "int64")],
)  # fmt: skip
def test_input_dtypes(text: str, name: str, dtype: str) -> None:
    assert from_keywords({"input_dtypes": text}).input_dtypes == {name: dtype}


@pytest.mark.parametrize("texts", [["x"], [":int32"], ["x:"], ["x:int32", "x:int64"]])
def test_unreadable_input_dtypes(texts: list[str]) -> None:
    with pytest.raises(OptionError) as caught:
        from_keywords({"input_dtypes": texts})
    assert caught.value.where == "--input-dtype"


def test_types_may_be_numpys_own_and_unknown_ones_are_refused() -> None:
    given = {"a": np.int32, "b": np.dtype("float16"), "c": "half"}
    assert from_keywords({"input_dtypes": given}).input_dtypes == {"a": "int32", "b": "float16", "c": "float16"}
    with pytest.raises(ErrorList) as caught:
        from_keywords({"input_dtypes": ["x:int33"], "framework": "theano"})
    first, second = caught.value.errors
    assert ("int33" in first.what, first.where) == (True, "input x")
    assert (second.where, "mxnet" in second.limit) == ("framework", True)


@pytest.mark.parametrize("text", ["TENSORFLOW", "tf", " TensorFlow "])
def test_frameworks_in_any_spelling(text: str) -> None:
    assert from_keywords({"framework": text}).framework == "tensorflow"


IO = {"inputs": {"image:0": [[1, 224, 224, 3], "float16"], "n": [[], "int32"]}, "outputs": ["y", "z"]}


def test_an_io_config_is_a_mapping_a_text_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "io.json"
    file.write_text(json.dumps(IO))
    for given in (IO, json.dumps(IO), str(file), f"file://{file}", file):
        options = from_keywords({"io_config": given})
        assert options.input_shapes == {"image:0": (1, 224, 224, 3), "n": ()}
        assert options.input_dtypes == {"image:0": "float16", "n": "int32"}
        assert options.outputs == ("y", "z")
    assert from_keywords({"io_config": {"outputs": "y"}}).outputs == ("y",)


def test_an_output_is_named_once() -> None:
    with pytest.raises(ErrorList) as caught:
        from_keywords({"outputs": ["a", "b", "a"]})
    assert caught.value.errors[0].where == "outputs"


def test_an_io_config_adds_to_other_options_but_contradicts_none() -> None:
    options = from_keywords({"io_config": IO, "input_shapes": ["other:2"]})
    assert set(options.input_shapes) == {"image:0", "n", "other"}
    for twice in ({"input_shapes": ["n:"]}, {"input_dtypes": {"n": "int32"}}, {"outputs": ["y"]}):
        with pytest.raises(OptionError, match="twice"):
            from_keywords({"io_config": IO, **twice})


@pytest.mark.parametrize(
    "config",
    ["{", "absent.json", "[]", {"input": {}}, {"inputs": []}, {"inputs": {"x": [1, 3]}}, {"outputs": [3]},
     {"inputs": {"x": [[1, "a"], "int8"]}}, {"inputs": {"x": [[-1], "int8"]}}, {"inputs": {"x": [[True], "int8"]}},
     {"inputs": {"x": [[1], 7]}}, {"outputs": {}}, "[" * 100_000, '{"inputs":' * 100_000],
)  # fmt: skip
def test_io_configs_that_cannot_be_read(config: object) -> None:
    with pytest.raises(OptionError) as caught:
        from_keywords({"io_config": config})
    assert caught.value.where == "--io-config"
