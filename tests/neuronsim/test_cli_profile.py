"""`neuronsim profile`: what it writes, from one model to several, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from isa import neff as container
from isa import target as targets
from isa import trace as traces
from neuronsim import cli
from neuronsim.cli import profile as command
from tests.neuronsim.profile_runs import Files, files

__all__ = ["files"]
WHOLE = {"trace.npz", "trace.pftrace", "report.html", "summary.json", "target.yaml", "profile.json"}


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def test_one_model(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    folder = files.profile("one", files.single)
    shown = capsys.readouterr()
    assert "Device time" in shown.out and "trace.npz" in shown.err
    assert WHOLE <= names(folder)
    trace = traces.load(folder / "trace.npz")
    trace.check([container.read(files.single)])
    assert len(trace.requests["end"]) == 1 and trace.dropped == {}
    about = json.loads((folder / "profile.json").read_text())
    assert about["neffs"] == [str(files.single)] and about["neff_hashes"] == list(trace.neff_hashes)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["schema"] == 1 and summary["total_time"] > 0 and summary["layers"]
    assert {"stalls", "critical_path", "roofline", "occupancy", "pipeline", "advice"} <= set(summary)


def test_the_machine_is_kept_with_its_settings(files: Files) -> None:
    folder = files.profile("set", files.single, "--set", "tensor.clock_ghz=inf", "--set", "dma.t0_ns=7")
    machine = targets.load(folder / "target.yaml")
    assert machine.name == "inf1.xlarge" and machine.dma.t0_ns == 7
    assert machine.engines["tensor"].ticks_per_cycle == 0
    slow, fast = (traces.load(f / "trace.npz").total_ticks for f in (files.profile("one", files.single), folder))
    assert fast < slow


def test_a_pipeline_is_full(files: Files) -> None:
    trace = traces.load(files.profile("chain", files.chain) / "trace.npz")
    assert len(trace.requests["end"]) == 6 and set(trace.runs["core"]) == {0, 1, 2}
    overlapping = trace.runs["start"][1:] < np.maximum.accumulate(trace.runs["end"])[:-1]
    assert overlapping.any()


@pytest.mark.parametrize("groups", [[], ["--groups", "1"]])
def test_two_models(files: Files, groups: list[str]) -> None:
    """Beside each other, or in turn on one core."""
    folder = files.profile("two", files.single, files.other, *groups)
    trace = traces.load(folder / "trace.npz")
    trace.check([container.read(files.single), container.read(files.other)])
    assert set(trace.runs["model"]) == {0, 1}
    assert set(trace.runs["core"]) == ({0} if groups else {0, 1})
    assert bool(trace.runs["switch"].any()) == bool(groups)


def test_load_of_ones_own(files: Files) -> None:
    trace = traces.load(
        files.profile("own", files.single, "--requests", 5, "--in-flight", 2, "--copies", 2) / "trace.npz"
    )
    assert len(trace.requests["end"]) == 5 and set(trace.runs["copy"]) == {0, 1}


def test_dropped_rows_are_announced(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    folder = files.profile("dropped", files.single, "--requests", 4, "--max-rows", 100)
    assert "the trace ends early" in capsys.readouterr().err
    assert traces.load(folder / "trace.npz").dropped


def test_inputs_give_outputs(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    given = files.folder / "given.npz"
    x = np.random.default_rng(0).standard_normal((16, 256)).astype(np.float32)
    np.savez(given, x=x)
    folder = files.profile("values", files.single, "--inputs", given)
    assert cli.main(["run", str(files.single), "--inputs", str(given), "--outputs", str(files.folder / "o.npz")]) == 0
    with np.load(folder / "outputs.npz") as a, np.load(files.folder / "o.npz") as b:
        assert sorted(a.files) == sorted(b.files) and all(np.array_equal(a[n], b[n]) for n in a.files)
    again = files.profile("values", files.single)  # of an earlier profile nothing stays
    assert "outputs.npz" not in names(again)
    assert cli.main(["profile", str(files.single), str(files.other), "--inputs", str(given), "-o", str(folder)]) == 1
    assert "--inputs" in capsys.readouterr().err


def test_json(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["profile", str(files.single), "-o", str(files.folder / "json"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["summary"] == json.loads((files.folder / "json" / "summary.json").read_text())


# ---- refused
def test_other_files_are_not_touched(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert cli.main(["profile", str(files.single), "-o", str(tmp_path)]) == 1
    assert "error[PROFILE]" in capsys.readouterr().err and names(tmp_path) == {"thesis.txt"}
    assert cli.main(["profile", str(files.single), "-o", str(tmp_path / "thesis.txt")]) == 1
    assert cli.main(["profile", str(files.single), "-o", str(tmp_path / "no" / "folder")]) == 1


def test_a_failure_leaves_the_earlier_profile(
    files: Files, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = files.profile("kept", files.single)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def full_disk(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command, "export", full_disk)
    assert cli.main(["profile", str(files.other), "-o", str(folder)]) == 1
    assert "No space left" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert not [p for p in files.folder.iterdir() if p.name.startswith(".kept")]


@pytest.mark.parametrize(("arguments", "code"), [
    (["--requests", "0"], 2), (["--set", "tensor.clock_ghz=0"], 1), (["--instance", "trn1.2xlarge"], 1),
    (["--copies", "9"], 1),
])  # fmt: skip
def test_wrong_arguments(
    files: Files, arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = files.folder / "wrong"
    assert cli.main(["profile", str(files.single), "-o", str(folder), *arguments]) == code
    assert "error[" in capsys.readouterr().err and not folder.exists()
