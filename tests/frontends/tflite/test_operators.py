"""Every operator that TensorFlow's converter or a hand writes, against TensorFlow Lite's reference kernels."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.frontends.corpus import Corpus

CORPUS = Corpus(Path(__file__).with_name("corpus.npz"))


@pytest.mark.parametrize("case", CORPUS.cases)
def test_graph(case: str, tmp_path: Path) -> None:
    CORPUS.check(case, tmp_path)
