"""Tables: plain when piped, rich in a terminal, colour only where wanted."""

from __future__ import annotations

import io

import pytest

from profiler.table import LONGEST, Table, show, shown


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


@pytest.mark.parametrize(("text", "expected"), [
    ("conv1/weight (3x3) <b>", "conv1/weight (3x3) <b>"), ("caf\u00e9 \u5c42", "caf\u00e9 \u5c42"),
    ("two\nlines", r"two\nlines"), ("\x1b[31mred\x07", r"\x1b[31mred\x07"), ("\u202eback", r"\u202eback"),
    ("\ud800", r"\ud800"),
])  # fmt: skip
def test_names_of_models_are_one_printable_line(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_long_names_lose_their_middle() -> None:
    name = "a" * 500 + "end"
    assert len(shown(name)) == LONGEST and shown(name).startswith("aaa") and shown(name).endswith("end")
    assert shown("b" * LONGEST) == "b" * LONGEST


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_tables_show_them_so(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "" if stream.isatty() else "1")
    show([Table("", ["name"], [["a\nb\x1b]0;title\x07"]], ["note\rof it"])], stream)
    text = stream.getvalue()
    assert r"a\nb\x1b]0;title\x07" in text and r"note\rof it" in text
    assert "\x07" not in text and "\r" not in text
