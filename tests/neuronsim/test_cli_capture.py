"""`neuronsim capture`: neuron-profile's flags, taken, noted or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isa import trace as traces
from neuronsim import cli
from neuronsim.api import load
from neuronsim.cli.capture import REFUSED
from tests.neuronsim.profile_runs import Files, files

__all__ = ["files"]


def capture(*arguments: object) -> int:
    return cli.main(["capture", *map(str, arguments)])


def test_the_trace_is_that_of_a_run(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "profile.ntff"
    assert capture("-n", files.single, "-s", file, "--json") == 0
    found, expected = traces.load(file), load(files.single).run(mode="timing").trace
    assert json.loads(capsys.readouterr().out) == {"session_file": str(file), "rows": len(found.instructions["start"])}
    assert found.total_ticks == expected.total_ticks
    assert all((found.instructions[c] == expected.instructions[c]).all() for c in found.instructions)


def test_default_name(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert capture("--neff", files.single) == 0
    assert (tmp_path / "profile.ntff").is_file()


def test_flags_without_a_meaning_are_noted(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--num-exec", 3, "--profile-nth-exec=2", "--ignore-exec-errors", "--exec-mode", "async"]
    assert capture("-n", files.single, "-s", tmp_path / "p.ntff", *flags) == 0
    told = capsys.readouterr().err
    assert "one run is recorded" in told and told.count("changes nothing") == 2


@pytest.mark.parametrize("flag", REFUSED)
def test_flags_that_ask_for_something_else_are_refused(
    flag: str, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = [] if flag in ("--disable-profile", "--save-output-npy") else ["all"]
    assert capture("-n", files.single, "-s", tmp_path / "p.ntff", flag, *value) == 1
    assert f"{flag} is not available" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_inputs(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.bin").write_bytes(b"0")
    session = ("-n", files.single, "-s", tmp_path / "p.ntff")
    assert capture(*session, "x", tmp_path / "x.bin") == 0
    assert "inputs are not read" in capsys.readouterr().err
    for wrong in (["x"], ["y", tmp_path / "x.bin"], ["x", tmp_path / "none.bin"]):
        assert capture(*session, *wrong) == 1
        assert "error[PROFILE]" in capsys.readouterr().err


def test_the_neff_is_never_overwritten(files: Files) -> None:
    before = files.single.read_bytes()
    assert capture("-n", files.single, "-s", files.single) == 1
    assert files.single.read_bytes() == before
