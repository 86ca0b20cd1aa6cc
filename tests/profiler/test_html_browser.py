"""The HTML report in a real browser, where one is installed: it draws itself, and hostile names stay text."""

from __future__ import annotations

import os
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from profiler.html import gather, write
from tests.profiler.export_traces import machine, random_trace
from tests.profiler.report_programs import programs

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# the random programs multiply nothing, so they have no roofline
SECTIONS = ("headlines", "advice", "limits", "stalls", "timeline", "pipeline", "layers", "path", "memory", "compare")


class Document(HTMLParser):
    """Elements of a page that has run, and its visible texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.hidden = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.hidden = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.hidden = False

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.texts.append(data)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    if BROWSER is None:
        pytest.skip("no Chromium is installed")
    folder = tmp_path_factory.mktemp("browser")
    trace, models = random_trace(5, runs=12), programs()
    write(trace, models, machine(), gather(trace, models, machine()), folder / "report.html")
    return Document(dom(folder))


def dom(folder: Path) -> str:
    """The page after its script has run, as HTML."""
    command = [str(BROWSER), "--headless=new", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
               "--virtual-time-budget=5000", "--dump-dom", (folder / "report.html").as_uri()]  # fmt: skip
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.insert(1, "--no-sandbox")  # Chromium's own does not work for root
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True).stdout


def test_every_section_is_drawn(document: Document) -> None:
    root = next(attributes for tag, attributes in document.elements if tag == "html")
    assert root.get("data-ready") == "true"
    assert [a["id"] for tag, a in document.elements if tag == "section" and "id" in a] == list(SECTIONS)


def test_hostile_names_are_text(document: Document) -> None:
    text = "\n".join(document.texts)
    for name in ("</script><b>&amp;", "quo\"te's", "=1+1", "snow☃ \U0001f600", "%s %d {0} {name}"):
        assert name in text
    assert max(map(len, document.texts)) < 1000, "very long names are cut"
    assert sum(tag == "script" for tag, _ in document.elements) == 4
    assert not [a for _, a in document.elements if any(name.startswith("on") for name in a)]


def test_everything_can_be_reached_with_keys(document: Document) -> None:
    for tag, attributes in document.elements:
        if tag in ("canvas", "input", "select") and attributes.get("role") != "img":
            assert attributes.get("aria-label"), (tag, attributes)
    canvases = [a for tag, a in document.elements if tag == "canvas" and a.get("role") == "application"]
    assert [a.get("tabindex") for a in canvases] == ["0"]
