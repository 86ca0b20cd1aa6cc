"""`neuronsim top`: the sections of neuron-top for every running simulation, once and live."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from neuronsim import cli
from neuronsim.runtime.telemetry import read_snapshots
from tests.neuronsim.monitored_runtimes import DEVICE, Runtime


@pytest.fixture
def runtimes(tmp_path: Path) -> Iterator[tuple[Runtime, Runtime]]:
    first, second = Runtime(tmp_path, range(3, 6), "app"), Runtime(tmp_path, (0,), "[red]x[/red]", "inf2.xlarge")
    first.show(completed=123, utilization=42.0, simulated_ns=5e6)
    second.show(utilization=100.0, is_running=False)
    yield first, second
    first.close()
    second.close()


def once(capsys: pytest.CaptureFixture[str], tmp_path: Path, *argv: str) -> str:
    assert cli.main(["top", "--state-dir", str(tmp_path), *argv]) == 0
    return capsys.readouterr().out


def test_sections(tmp_path: Path, runtimes: object, capsys: pytest.CaptureFixture[str]) -> None:
    text = once(capsys, tmp_path)  # no terminal: once
    app, other = text.split("\n\n[red]x[/red]")
    assert f"app (pid {os.getpid()}) on inf1.6xlarge: running, 5 ms simulated" in app
    assert "executions: 123 completed, 0 failed" in app and "total latency p50" in app
    lines = app.splitlines()
    at = lines.index("NeuronCore v1 Utilization")
    assert lines[at + 2].split() == ["0", "NC3", "[|||", "42.0%]"]
    assert lines[at + 3].split() == ["1", "NC4", "[|||", "42.0%]", "NC5", "[|||", "42.0%]"]
    at = lines.index("Memory Usage Summary")
    assert [line.split()[0] for line in lines[at + 2 : at + 10]] == [
        "Total", "Tensors", "Constants", "DMA", "App.", "Model", "Runtime", "Model"
    ]  # fmt: skip
    assert lines[at + 2].split() == ["Total", "640B", f"{3 * sum(DEVICE.values()) / 2**20:.1f}MB"]
    assert lines[-1].split() == ["1", "m", "3", "640B", "1.0MB", "running"]
    assert "idle" in other and "NeuronCore v2" in other and "[|||||||| 100.0%]" in other


def test_one_instance_only(tmp_path: Path, runtimes: object, capsys: pytest.CaptureFixture[str]) -> None:
    text = once(capsys, tmp_path, "--instance", "inf2.xlarge", "--once")
    assert "inf2.xlarge" in text and "inf1.6xlarge" not in text
    assert once(capsys, tmp_path, "--instance", "trn1.2xlarge") == "no simulation is running\n"


def test_json_is_what_runtimes_show(tmp_path: Path, runtimes: object, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(once(capsys, tmp_path, "--json"))
    assert found == {"neuron_runtimes": read_snapshots(tmp_path)} and len(found["neuron_runtimes"]) == 2


def test_a_core_that_the_instance_does_not_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    far, own = Runtime(tmp_path, (200,)), Runtime(tmp_path, (0,), instance="mine")
    far.show()
    own.show()
    text = once(capsys, tmp_path)
    assert "-  NC200" in text and "-  NC0" in text
    far.close()
    own.close()


class Terminal:
    """`neuronsim top` on a terminal of its own."""

    def __init__(self, tmp_path: Path) -> None:
        self.keyboard, inner = pty.openpty()
        self.before = termios.tcgetattr(inner)
        self.inner = inner
        argv = [sys.executable, "-m", "neuronsim", "top", "--period", "20ms", "--state-dir", str(tmp_path)]
        self.process = subprocess.Popen(
            argv, stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "60"},
        )  # fmt: skip

    def wait_for(self, pattern: str) -> None:
        """Read until the screen says so, colours left out."""
        end = time.monotonic() + 20
        seen = b""
        while not re.search(pattern, re.sub(r"\x1b\[[\d;]*m", "", seen.decode(errors="replace"))):
            assert time.monotonic() < end, seen
            if select.select([self.keyboard], [], [], 0.2)[0]:
                seen += os.read(self.keyboard, 1 << 16)

    def press(self, key: str) -> None:
        os.write(self.keyboard, key.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.inner)
        os.close(self.keyboard)


@pytest.fixture
def terminal(tmp_path: Path, runtimes: object) -> Iterator[Terminal]:
    found = Terminal(tmp_path)
    yield found
    found.close()


def test_live_view_follows_and_leaves(
    tmp_path: Path, runtimes: tuple[Runtime, Runtime], terminal: Terminal
) -> None:
    terminal.wait_for("42.0%")
    runtimes[0].show(utilization=63.0)
    terminal.wait_for("63.0%")
    terminal.press("f")
    terminal.wait_for("Teraflops")
    terminal.press("d")
    terminal.wait_for(r"a/d turn\s+╭─ \[red\]x\[/red\]")
    terminal.press("q")
    terminal.wait_for(r"\x1b\[\?1049l")  # the screen there was before
    assert terminal.process.wait(10) == 0
    assert termios.tcgetattr(terminal.inner) == terminal.before


def test_interrupt_leaves(terminal: Terminal) -> None:
    terminal.wait_for("42.0%")
    terminal.process.send_signal(2)
    terminal.wait_for(r"\x1b\[\?1049l")
    assert terminal.process.wait(10) == 0
    assert termios.tcgetattr(terminal.inner) == terminal.before
