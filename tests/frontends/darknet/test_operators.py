"""Networks of one layer and whole ones, against what the two darknets computed of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.frontends.corpus import Corpus

CORPUS = Corpus(Path(__file__).parent / "corpus.npz")


@pytest.mark.parametrize("case", CORPUS.cases)
def test_computes_what_darknet_does(case: str, tmp_path: Path) -> None:
    CORPUS.check(case, tmp_path)
