"""Networks as other releases of MXNet save them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.frontends.corpus import Corpus

RELEASES = {p.stem: Corpus(p) for p in sorted((Path(__file__).parent / "versions").glob("*.npz"))}


def test_the_releases_that_are_promised_are_here() -> None:
    assert {"1.5.1", "1.6.0", "1.7.0", "1.8.0"} <= set(RELEASES)


@pytest.mark.parametrize(("release", "case"), [(r, c) for r, corpus in RELEASES.items() for c in corpus.cases])
def test_networks_of_a_release(release: str, case: str, tmp_path: Path) -> None:
    RELEASES[release].check(case, tmp_path)
