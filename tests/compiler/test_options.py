"""Options of a compilation: what is refused, and that all faults are reported at once."""

from __future__ import annotations

import json

import pytest

from compiler.options import CompileOptions, OptionError, from_keywords, parse_input_shapes
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
