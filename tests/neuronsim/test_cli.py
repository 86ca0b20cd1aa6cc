"""The command line without a model: parsing, errors, exit codes, files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neuronsim import cli
from neuronsim.cli import output


def test_ls_lists_instances_and_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ls", "--json"]) == 0
    rows = {r["instance_type"]: r for r in json.loads(capsys.readouterr().out)}
    assert rows["inf1.xlarge"]["nc_count"] == 4
    assert rows["trn1.32xlarge"]["neuron_devices"] == 16
    assert cli.main(["ls", "--instance", "trn1.2xlarge", "--json"]) == 0
    (device,) = json.loads(capsys.readouterr().out)
    assert device["neuroncore_ids"] == [0, 1]
    assert cli.main(["ls"]) == 0
    text = capsys.readouterr().out
    assert "inf1.24xlarge" in text
    assert "\x1b" not in text


def test_errors_have_code_and_help_and_exit_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ls", "--instance", "inf9.huge"]) == cli.EXIT_BAD_INPUT
    captured = capsys.readouterr()
    assert captured.err.startswith("error[TARGET_UNKNOWN]: ")
    assert "inf1.xlarge" in captured.err
    assert captured.out == ""


def test_missing_file_is_an_error_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", str(tmp_path / "absent.neff")]) == cli.EXIT_BAD_INPUT
    assert capsys.readouterr().err.startswith("error[")


@pytest.mark.parametrize("argv", [[], ["no-such-command"], ["run"], ["ls", "--no-such-flag"]])
def test_usage_errors_exit_two(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == cli.EXIT_USAGE
    assert capsys.readouterr().err.startswith("error[USAGE]: ")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    assert "--json" in capsys.readouterr().out


def test_our_faults_are_internal_errors(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from neuronsim.cli import ls

    def fault(_: object) -> int:
        raise KeyError("surprise")

    monkeypatch.setattr(ls, "run", fault)
    assert cli.main(["ls"]) == cli.EXIT_INTERNAL
    brief = capsys.readouterr().err
    assert brief.startswith("error[INTERNAL]: KeyError: 'surprise'")
    assert "--verbose" in brief
    assert "Traceback" not in brief
    assert cli.main(["ls", "--verbose"]) == cli.EXIT_INTERNAL
    assert "Traceback" in capsys.readouterr().err


def test_module_runs_and_a_closed_pipe_is_quiet() -> None:
    code = "import subprocess, sys; from neuronsim.cli import main; sys.exit(main(['ls']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "stats.json"
    output.write_json(path, {"a": np.float32(1), "b": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1.0, "b": None}
    with pytest.raises(TypeError):
        output.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1.0, "b": None}
    assert list(tmp_path.iterdir()) == [path]
