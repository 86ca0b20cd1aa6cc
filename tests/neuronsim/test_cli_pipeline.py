"""The command line on pipelines: what `inspect` shows of them."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from isa import neff
from neuronsim import cli
from tests.isa.neff_files import make_pipeline, make_program


def test_inspect_shows_the_pipeline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "pipe.neff")
    neff.write(make_pipeline(), path)
    assert cli.main(["inspect", path]) == 0
    lines = capsys.readouterr().out.split("Pipeline\n")[1].splitlines()
    assert lines[0].split() == ["stage", "core", "handed", "by", "pinned", "streamed", "handed", "on", "to", "buffers"]
    assert lines[1].split() == ["0", "0", "host", "16", "B", "0", "B", "256", "B", "SBUF", "0", "B"]
    assert lines[2].split() == ["1", "1", "s0", "256", "B", "SBUF", "128", "B"]
    assert lines[3].split() == ["2", "2", "s1", "host", "128", "B"]
    assert cli.main(["inspect", path, "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert seen["cores"] == 3 and seen["header"]["num_tpb"] == 3
    assert seen["stages"][0]["init_instructions"] == {"sync": 1}


def test_inspect_without_a_pipeline_has_no_such_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    neff.write(make_program(), tmp_path / "x.neff")
    assert cli.main(["inspect", str(tmp_path / "x.neff")]) == 0
    assert "Pipeline" not in capsys.readouterr().out
