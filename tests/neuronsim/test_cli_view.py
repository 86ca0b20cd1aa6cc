"""`neuronsim view`: every format from a recorded profile, and traces that cannot be shown."""

from __future__ import annotations

import csv
import http.client
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from isa import trace as traces
from isa.trace import Trace
from neuronsim import cli
from neuronsim.cli.profiles import ProfileError
from neuronsim.cli.serve import server
from neuronsim.cli.view import FORMATS, PRINTED
from tests.neuronsim.profile_runs import Files, files

__all__ = ["files"]


@pytest.fixture(scope="module")
def folder(files: Files) -> Path:
    return files.profile("viewed", files.single, "--set", "dma.t0_ns=50")


@pytest.fixture(scope="module")
def trace(folder: Path) -> Trace:
    return traces.load(folder / "trace.npz")


def view(*arguments: object) -> int:
    return cli.main(["view", *map(str, arguments)])


@pytest.mark.parametrize("name", [f for f in FORMATS if f not in (*PRINTED, "parquet")])
def test_every_format_beside_the_trace(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert view(folder, "--output-format", name) == 0
    made = Path(capsys.readouterr().out.strip())
    assert made.parent == folder and made.name.startswith("trace")
    assert made.stat().st_size > 0


def test_the_summary_is_the_recorded_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The machine is the one with the settings: a result of another one would differ."""
    assert view(folder, "--output-format", "summary-json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((folder / "summary.json").read_text())
    assert view(folder, "--json") == 0 and json.loads(capsys.readouterr().out) == found
    assert view(folder, "--output-format", "summary-text") == 0
    lines = dict(line.split() for line in capsys.readouterr().out.splitlines() if len(line.split()) == 2)
    assert float(lines["total_time"]) == found["total_time"] and lines["nc_idx"] == "0"
    assert view(folder) == 0 and "Device time" in capsys.readouterr().out


def test_json_has_every_instruction(folder: Path, trace: Trace, tmp_path: Path) -> None:
    assert view(folder, "--output-format", "json", "--output-file", tmp_path / "p.json") == 0
    found = json.loads((tmp_path / "p.json").read_text())
    assert len(found["summary"]) == 1 and len(found["instruction"]) == len(trace.instructions["start"])
    start = trace.instructions["start"] * 10**9 // trace.tick_hz
    assert [row["timestamp"] for row in found["instruction"]] == start.tolist()
    matmul = next(row for row in found["instruction"] if row["opcode"] == "matmul")
    assert matmul["engine"] == "tensor" and "dst=" in matmul["operands"] and matmul["label"]


def test_csv_has_every_row(folder: Path, trace: Trace, tmp_path: Path) -> None:
    assert view(folder, "--output-format", "csv", "-o", tmp_path / "tables") == 0
    with (tmp_path / "tables" / "Instruction.csv").open(newline="") as file:
        assert sum(1 for _ in csv.reader(file)) - 1 == len(trace.instructions["start"])


def test_a_window(folder: Path, trace: Trace, tmp_path: Path) -> None:
    half = trace.total_ticks / trace.tick_hz / 2
    sizes = []
    for window in ([], ["--window", f"0:{half}"]):
        assert view(folder, "--output-format", "chrome", "-o", tmp_path / "c.json", *window) == 0
        events = json.loads((tmp_path / "c.json").read_text())["traceEvents"]
        sizes.append(sum(e["ph"] != "C" for e in events))  # curves have as many points in any window
    assert 0 < sizes[1] < sizes[0]
    assert view(folder, "--output-format", "chrome", "--window", "5") == 2


def test_spellings_of_neuron_profile(files: Files, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = files.folder / "profile.ntff"
    assert cli.main(["capture", "-n", str(files.single), "-s", str(file)]) == 0
    assert view("-n", files.single, "-s", file, "--output-format", "summary-text", "--force") == 0
    shown = capsys.readouterr()
    assert "total_time" in shown.out and "--force changes nothing" in shown.err
    assert view("--neff-path", files.single, "--session-file", file, "--output-format", "perfetto") == 0
    assert (files.folder / "profile.pftrace").exists()
    assert view("--session-dir", folder) == 0


# ---- served
def test_the_report_on_loopback() -> None:
    with server(b"<p>page", 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        assert running.server_address[0] == "127.0.0.1"
        here = f"127.0.0.1:{running.server_port}"
        answers = {}
        named = f"localhost:{running.server_port}"
        for path, host in (("/", here), ("/?a", named), ("/etc/passwd", here), ("/", "a.b")):
            connection = http.client.HTTPConnection(here, timeout=10)
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            answers[path, host == "a.b"] = answer.status, answer.read() if answer.status == 200 else b""
            connection.close()
        with pytest.raises(ProfileError, match="cannot serve"):
            server(b"", running.server_port)
        running.shutdown()
    assert answers == {
        ("/", False): (200, b"<p>page"), ("/?a", False): (200, b"<p>page"), ("/etc/passwd", False): (404, b""),
        ("/", True): (403, b""),
    }  # fmt: skip


def test_serve_shows_the_report(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[bytes, int]] = []
    monkeypatch.setattr("neuronsim.cli.view.serve", lambda page, port: shown.append((page, port)))
    assert view(folder, "--serve", "--port", "0") == 0
    ((page, port),) = shown
    assert page.lower().startswith(b"<!doctype html") and port == 0


# ---- refused
def test_nothing_or_too_much_to_view(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert view() == 1 and "nothing to view" in capsys.readouterr().err
    assert view(folder, "-s", folder / "trace.npz") == 1
    assert view(folder / "trace.npz") == 1 and "-n NEFF" in capsys.readouterr().err


def test_a_trace_of_another_neff(files: Files, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = files.folder / "other.json"
    assert view("-n", files.other, "-s", folder / "trace.npz", "--output-format", "json", "-o", output) == 1
    assert "TRACE_NEFF" in capsys.readouterr().err and not output.exists()


def test_another_machine(files: Files, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert view("-n", files.single, "-s", folder / "trace.npz", "--instance", "trn1.2xlarge") == 1
    assert "another machine" in capsys.readouterr().err


@pytest.mark.parametrize(("damage", "code"), [
    ("version", "TRACE_VERSION"), ("truncated", "TRACE_CORRUPT"), ("column", "TRACE_CORRUPT"),
    ("gone", "TRACE_MISSING"), ("target", "PROFILE"),
])  # fmt: skip
def test_damaged_traces(
    damage: str, code: str, files: Files, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(folder / "trace.npz") as archive:
        members = {name: archive[name] for name in archive.files}
    bad = tmp_path / "bad.npz"
    if damage == "version":
        members["schema_version"] = members["schema_version"] + 1
    if damage == "column":
        del members["runs.start"]
    if damage == "target":
        members["target"] = np.array("machine of my own")
    if damage != "gone":
        np.savez(bad, **members)
    if damage == "truncated":
        bad.write_bytes(bad.read_bytes()[:-400])
    output = tmp_path / "out.pftrace"
    assert view("-n", files.single, "-s", bad, "--output-format", "perfetto", "-o", output) == 1
    assert f"error[{code}]" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(("text", "code"), [
    ("{", "PROFILE_CORRUPT"), ("[]", "PROFILE_CORRUPT"), ('{"schema": 99, "neffs": ["x"]}', "PROFILE_VERSION"),
    ('{"schema": 1, "neffs": []}', "PROFILE"), (None, "PROFILE_MISSING"),
])  # fmt: skip
def test_damaged_folders(
    text: str | None, code: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trace.npz").write_bytes((folder / "trace.npz").read_bytes())
    if text is not None:
        (tmp_path / "profile.json").write_text(text)
    assert view(tmp_path) == 1
    assert f"error[{code}]" in capsys.readouterr().err
