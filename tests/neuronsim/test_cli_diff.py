"""`neuronsim diff`: profiles compared by metric, layer and stall; the judgement for scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from neuronsim import cli
from neuronsim.cli.diff import EXIT_SLOWER
from profiler.comparison import compare
from tests.neuronsim.profile_runs import Files, files

__all__ = ["files"]


def summary(seconds: float, **layers: float) -> dict[str, Any]:
    rows = [{"name": n, "op_type": "Conv", "time": t, "time_percent": 100 * t / seconds} for n, t in layers.items()]
    return {"schema": 1, "total_time": seconds, "note": "text", "layers": rows}


def with_stalls(found: dict[str, Any], **root: float) -> dict[str, Any]:
    return {**found, "stalls": {"engines_percent": {"tensor": {"direct": {}, "root": root}}}}


# ---- the comparison
def test_metrics() -> None:
    found = compare({**summary(2.0), "old": 1}, {**summary(3.0), "new": 2})
    time = found.metric("total_time")
    assert (time.before, time.after, time.change_percent) == (2.0, 3.0, 50.0)
    assert found.metric("old").after is None and found.metric("new").before is None
    assert found.metric("new").change_percent is None
    assert {m.name for m in found.metrics} == {"total_time", "old", "new"}  # numbers, without the schema's


def test_metrics_for_people() -> None:
    before, after = ({**summary(t), "mfu_estimated_percent": m} for t, m in ((2.0, 20.0), (1.0, 50.0)))
    rows = compare(before, after).tables(5)[0].rows
    assert rows == [["total_time", "2 s", "1 s", "-50.0 %"],
                    ["mfu_estimated_percent", "20.0 %", "50.0 %", "+30.0 points"]]  # fmt: skip


def test_layers_by_name() -> None:
    found = compare(summary(2.0, a=1.0, b=0.5, gone=0.5), summary(1.5, a=0.4, b=0.6, new=0.5))
    assert [layer.name for layer in found.layers] == ["a", "gone", "new", "b"]  # the largest difference first
    status = {layer.name: (layer.status, round(layer.delta, 3)) for layer in found.layers}
    assert status == {"a": ("same", -0.6), "gone": ("removed", -0.5), "new": ("added", 0.5), "b": ("same", 0.1)}
    assert "1 layers added, 1 removed" in "".join(found.tables(9)[1].notes)


def test_layers_of_one_name_are_summed() -> None:
    twice = summary(2.0, a=1.0)
    twice["layers"] *= 2
    (layer,) = compare(twice, summary(2.0, a=1.0)).layers
    assert (layer.before, layer.after) == (2.0, 1.0)


def test_stalls() -> None:
    before, after = {"active": 50.0, "dram": 50.0}, {"active": 70.0, "link": 30.0}
    found = compare(with_stalls(summary(1.0), **before), with_stalls(summary(1.0), **after))
    assert {(s.kind, s.before, s.after) for s in found.stalls} == {
        ("active", 50.0, 70.0), ("dram", 50.0, 0.0), ("link", 0.0, 30.0)
    }  # fmt: skip
    assert found.stalls[0].kind == "dram"
    assert len(found.tables(2)[2].rows) == 2


# ---- the command
@pytest.fixture(scope="module")
def pair(files: Files) -> tuple[Path, Path]:
    return files.profile("slow", files.single), files.profile("fast", files.single, "--set", "dram.bytes_per_ns=inf")


def test_two_profiles(pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow, fast = map(str, pair)
    output = tmp_path / "diff.json"
    assert cli.main(["diff", slow, fast, "-o", str(output)]) == 0
    shown = capsys.readouterr().out
    assert "total_time" in shown and "MatMul" in shown
    assert cli.main(["diff", slow, str(pair[1] / "summary.json"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {**found, "after": fast} == json.loads(output.read_text())
    time = next(m for m in found["metrics"] if m["name"] == "total_time")
    expected = [json.loads((p / "summary.json").read_text())["total_time"] for p in pair]
    assert [time["before"], time["after"]] == expected and time["change_percent"] < 0
    dram = [s for s in found["stalls"] if s["engine"] == "tensor" and s["kind"] == "dram"]
    assert dram and dram[0]["before"] > dram[0]["after"] == 0  # no transfer waits for DRAM without a limit


def test_threshold(pair: tuple[Path, Path]) -> None:
    slow, fast = map(str, pair)
    assert cli.main(["diff", slow, fast, "--threshold", "0"]) == 0
    assert cli.main(["diff", fast, slow, "--threshold", "5"]) == EXIT_SLOWER
    assert cli.main(["diff", fast, slow, "--threshold", "1e6"]) == 0
    assert cli.main(["diff", slow, slow, "--threshold", "0"]) == 0
    assert cli.main(["diff", slow, slow, "--threshold", "-1"]) == 2


@pytest.mark.parametrize(("text", "code"), [
    (None, "PROFILE_MISSING"), ("{", "PROFILE_CORRUPT"), ("[1]", "PROFILE_CORRUPT"), ("{}", "PROFILE_CORRUPT"),
    ('{"schema": 99, "total_time": 1, "layers": []}', "PROFILE_VERSION"),
])  # fmt: skip
def test_what_is_no_profile(
    text: str | None, code: str, pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "summary.json"
    if text is not None:
        bad.write_text(text)
    assert cli.main(["diff", str(pair[0]), str(bad)]) == 1
    assert f"error[{code}]" in capsys.readouterr().err
