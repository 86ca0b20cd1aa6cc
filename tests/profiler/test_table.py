"""Tables: plain when piped, rich in a terminal, colour only where wanted."""

from __future__ import annotations

import io

import pytest

from profiler.table import Table, show


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


TABLE = Table("Title", ["name", ">count"], [["a", "1"], ["long name", "1000"]], ["a note"])


def test_plain_text_is_aligned_and_without_control_characters() -> None:
    stream = io.StringIO()
    show([TABLE], stream)
    assert stream.getvalue() == "Title\n  name       count\n  a              1\n  long name   1000\n  a note\n"


def test_terminal_gets_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    show([TABLE], stream)
    assert "\x1b[" in stream.getvalue()
    assert "1000" in stream.getvalue()


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    show([Table("", ["name"], [["[bold]not markup[/bold]"]])], stream)
    assert "\x1b[3" not in stream.getvalue()
    assert "[bold]not markup[/bold]" in stream.getvalue()
