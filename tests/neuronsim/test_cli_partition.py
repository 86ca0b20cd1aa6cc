"""The command line on what runs where: compile, analyze, inspect, run and list-operators say the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from neuronsim import cli

TARGET = ["--target", "trn1.2xlarge"]
LINE = "4 of 7 operators on device, 3 on CPU in 3 segments"
Say = Callable[..., Any]


def detector() -> onnx.ModelProto:
    """Boxes and scores by products, non-maximum suppression on the host, a head that also needs float64."""
    rng = np.random.default_rng(3)
    node = helper.make_node
    consts = {
        "w": rng.standard_normal((64, 64)).astype(np.float32) / 8, "boxes_shape": np.array([1, -1, 4]),
        "scores_shape": np.array([1, 4, -1]), "most": np.array([5]), "overlap": np.array([0.5], np.float32),
    }  # fmt: skip
    nodes = [
        node("MatMul", ["x", "w"], ["h"], "stem"),
        node("Sigmoid", ["h"], ["s"], "gate"),
        node("Reshape", ["h", "boxes_shape"], ["boxes"], "boxes"),
        node("Reshape", ["s", "scores_shape"], ["scores"], "scores"),
        node("NonMaxSuppression", ["boxes", "scores", "most", "overlap"], ["selected"], "nms"),
        node("ReverseSequence", ["s", "lengths"], ["t"], "turn", time_axis=0, batch_axis=1),
        node("MatMul", ["t", "w"], ["y"], "head"),
    ]
    faces = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [64, 64]),
             helper.make_tensor_value_info("lengths", TensorProto.INT64, [64])]  # fmt: skip
    outputs = [helper.make_tensor_value_info("selected", TensorProto.INT64, ["n", 3]),
               helper.make_tensor_value_info("y", TensorProto.FLOAT, [64, 64])]  # fmt: skip
    weights = [numpy_helper.from_array(a, name) for name, a in consts.items()]
    graph = helper.make_graph(nodes, "detector", faces, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run a command in a folder with `m.onnx`; its output, parsed with --json. Fails unless the exit code is `code`."""
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(detector().SerializeToString())

    def run(*argv: str, code: int = 0) -> Any:
        got = cli.main([str(a) for a in argv])
        captured = capsys.readouterr()
        assert got == code, captured.err
        if code:
            return captured.err
        return json.loads(captured.out) if "--json" in argv else captured.out

    return run


def small(report: dict[str, Any]) -> dict[str, Any]:
    return {key: report[key] for key in ("operators", "cpu_operators", "segments")}


OPTIONS = ["--cpu-ops", "ReverseSequence", "--no-transfer-cost", "--minimum-segment-size", "1"]


def test_compile_says_it_in_one_line(say: Say) -> None:
    text = say("compile", "m.onnx", "-o", "m.neff", *TARGET, *OPTIONS)
    assert LINE in text.splitlines()
    assert "nms" not in text
    text = say("compile", "m.onnx", "-o", "m.neff", *TARGET, *OPTIONS, "--verbose")
    assert LINE in text.splitlines()
    assert "  on CPU: output sizes depend on data\n    nms (NonMaxSuppression)\n" in text
    assert "  on CPU: kept on the CPU by cpu_ops\n    turn (ReverseSequence)\n" in text


def test_report_analyze_and_inspect_agree(say: Say, golden: Callable[[str, str], None]) -> None:
    analysed = say("analyze", "m.onnx", *TARGET, *OPTIONS, "--json", "--report", "a.json")
    compiled = say("compile", "m.onnx", "-o", "m.neff", *TARGET, *OPTIONS, "--report", "r.json", "--json")
    seen = say("inspect", "m.neff", "--json")
    assert small(analysed) == small(compiled) == small(json.loads(Path("r.json").read_text()))
    assert small(json.loads(Path("a.json").read_text())) == small(analysed)
    assert seen["operators"] == compiled["operators"]
    assert seen["cpu_operators"] == compiled["cpu_operators"]
    assert any("without lowering" in text for text in analysed["notes"])
    golden("partition.json", json.dumps(small(compiled), indent=1) + "\n")


def test_analyze_text(say: Say) -> None:
    text = say("analyze", "m.onnx", *TARGET, *OPTIONS)
    assert text.startswith(LINE + "\n")
    assert "cpu0: 3 operators, " in text
    assert "without lowering" in text


def test_run_and_compare(say: Say) -> None:
    """The last layer on the device agrees; the indices are listed whatever rounding made of them."""
    say("compile", "m.onnx", "-o", "m.neff", *TARGET, *OPTIONS)
    found = say("run", "m.neff", "--compare", "m.onnx", "--check", "--json")
    assert found["findings"] == []
    assert found["comparison"]["first_divergence"] == ""
    assert {"h", "t", "y"} <= {layer["tensor"] for layer in found["comparison"]["layers"]}
    assert {o["tensor"] for o in found["comparison"]["outputs"]} >= {"y"}


def test_no_fallback_and_unknown_names(say: Say) -> None:
    text = say("compile", "m.onnx", "-o", "m.neff", *TARGET, *OPTIONS, "--no-fallback", code=cli.EXIT_BAD_INPUT)
    assert text.count("error[UNSUPPORTED_OP]") == 2
    assert not Path("m.neff").exists()
    text = say("analyze", "m.onnx", "--cpu-ops", "NonMaxSupression", code=cli.EXIT_BAD_INPUT)
    assert "did you mean NonMaxSuppression" in text
    say("analyze", "m.onnx", "--minimum-segment-size", "0", code=cli.EXIT_BAD_INPUT)


def test_list_operators(say: Say) -> None:
    listed = say("list-operators", *TARGET, "--json")
    levels = {entry["operator"]: entry["level"] for entry in listed["operators"]}
    assert listed["target"] == "trn1.2xlarge"
    assert levels["Conv"].startswith("device")
    assert levels["NonMaxSuppression"] == "cpu"
    assert sum(listed["counts"].values()) == len(levels) > 200
    text = say("list-operators", "--target", "inf1.xlarge")
    assert "control flow" in text
    assert "not when: " in text
