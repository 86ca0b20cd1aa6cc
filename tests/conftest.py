"""`pytest --bless` and the `golden` fixture: stored outputs that are compared, or rewritten on request."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

# a shell lets what it starts in the background ignore Ctrl-C, and children inherit that: tests send it to theirs
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="rewrite golden files with what the code gives now")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with `tests/golden/<name>`; `--bless` writes it."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--bless"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing: run `make bless` and review it"
        assert text == path.read_text(encoding="utf-8")

    return compare
