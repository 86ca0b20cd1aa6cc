"""onnx's backend tests: none changes either way, and the operators that belong on the device run there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from neuronsim import onnx_backend
from tests.neuronsim.host_models import model, tensor
from tests.onnx_backend import device_share, suite
from tests.onnx_backend.device_share import Seen
from tests.onnx_backend.suite import Outcome

LEAST_SHARE = 0.8
LEAST_PASSES = 2015  # of the 2,033 tests of onnx 1.23; its runtimes together pass 2,020


@pytest.mark.slow
def test_the_whole_suite() -> None:
    table = suite.expected()
    assert table["onnx"] == onnx.__version__, "another table is needed: python -m tests.onnx_backend.suite --bless"
    outcomes = suite.run()
    difference = suite.compare(outcomes, table["failures"])
    assert not difference.new_failures and not difference.new_passes, "\n".join(suite.lines(difference))
    assert difference.passed >= LEAST_PASSES
    seen = [o.seen for o in outcomes if o.seen]
    counts = device_share.by_operator(seen)
    assert not [op for op, (device, total) in counts.items() if total and not device], "\n".join(
        device_share.report(seen)
    )
    assert device_share.share(seen) >= LEAST_SHARE


def test_a_change_either_way_is_seen() -> None:
    outcomes = [Outcome("Node/a", "", None), Outcome("Node/b", "ValueError: no", None), Outcome("Node/c", "x", None)]
    found = suite.compare(outcomes, {"Node/a": "why", "Node/c": "known", "Node/elsewhere": "did not run"})
    assert (found.new_failures, found.new_passes) == (["Node/b: ValueError: no"], ["Node/a"])
    assert (found.passed, found.total) == (1, 3)


def test_reasons_survive_a_blessing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "EXPECTED", tmp_path / "expected.yaml")
    suite.bless([Outcome("Node/a", "words of the error", None)])
    assert suite.expected()["failures"] == {"Node/a": "words of the error"}
    text = suite.EXPECTED.read_text().replace("words of the error", "a reason")
    suite.EXPECTED.write_text(text)
    suite.bless([Outcome("Node/a", "other words", None), Outcome("Node/b", "", None)])
    assert suite.expected()["failures"] == {"Node/a": "a reason"}


def test_one_test_of_onnx_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    found, prepared = suite.cases()
    monkeypatch.setattr(suite, "_CASES", found)
    monkeypatch.setattr(suite, "_PREPARED", prepared)
    name = "Node/test_relu_cpu"
    assert suite._run(name) == Outcome(name, "", Seen(name, "Relu", True))
    assert suite._run("Node/test_reduce_sum_empty_set_cpu").failure == ""
    assert len(found) > 1500


@pytest.mark.parametrize("op, kind, scope", [
    ("Relu", TensorProto.FLOAT, "Relu"),
    ("Relu", TensorProto.DOUBLE, ""),
    ("QuantizeLinear", TensorProto.UINT8, "QuantizeLinear"),
    ("And", TensorProto.BOOL, "And"),
    ("StringNormalizer", TensorProto.FLOAT, ""),
    ("Relu", TensorProto.INT64, ""),
])  # fmt: skip
def test_which_tests_are_in_scope(op: str, kind: int, scope: str) -> None:
    node = helper.make_node(op, ["x"], ["y"])
    assert device_share.operator_in_scope(model([node], [tensor("x", kind, [2])], [tensor("y", kind, [2])])) == scope
    assert device_share.operator_in_scope(model([node], [tensor("x", kind, ["n"])], [tensor("y", kind)])) == ""
    assert device_share.operator_in_scope(model([node, node], [tensor("x", kind, [2])], [tensor("y", kind)])) == ""


def test_running_on_the_device_is_read_from_the_program() -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"], "r")], [tensor("x", shape=[2, 3])], [tensor("y")])
    on_device, on_cpu = onnx_backend.prepare(proto), onnx_backend.prepare(proto, cpu_ops=("Relu",))
    assert device_share.runs_on_device(on_device.program, "Relu")
    assert not device_share.runs_on_device(on_cpu.program, "Relu")
    moved = model([helper.make_node("Transpose", ["x"], ["y"], "t")], [tensor("x", shape=[200, 300])], [tensor("y")])
    assert device_share.runs_on_device(onnx_backend.prepare(moved).program, "Transpose")
    stage = on_device.program.stages[0]
    stage.debug = [replace(e, purpose="relayout") for e in stage.debug]
    assert not device_share.runs_on_device(on_device.program, "Relu")
    assert device_share.runs_on_device(on_device.program, "Transpose")


def test_the_report_marks_operators_that_never_reach_the_device() -> None:
    lines = list(device_share.report([Seen("a", "Conv", True), Seen("b", "Conv", False), Seen("c", "Sin", False)]))
    assert any(line.split() == ["Conv", "1", "of", "2"] for line in lines)
    assert any(line.split() == ["Sin", "0", "of", "1", "NONE"] for line in lines)
    assert lines[-1].split()[:4] == ["all", "1", "of", "3"]
