"""The examples of docs/frameworks: commands run, and Python prints what the page says."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from neuronsim.cli import main

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs" / "frameworks").glob("*.md"))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: What a page's examples need beside neuronsim.
_NEEDS = {"tensorflow": "tensorboard", "tflite": "tflite"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_examples_of_a_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page.stem in _NEEDS:
        pytest.importorskip(_NEEDS[page.stem])
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    blocks = _BLOCK.findall(page.read_text(encoding="utf-8"))
    assert any(language in ("python", "console") for language, _ in blocks)
    printed, names = "", {"__name__": "example"}
    for language, text in blocks:
        if language == "console":
            for command in re.findall(r"^\$ neuronsim (.*)$", text, re.MULTILINE):
                assert main(shlex.split(command)) == 0, command
        elif language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(text, str(page), "exec"), names)
            printed = out.getvalue()
        elif language == "text" and printed:
            assert printed.split() == text.split()
            printed = ""
