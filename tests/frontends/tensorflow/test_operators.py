"""Operators of TensorFlow one by one, and whole small models, against what TensorFlow computed (make_corpus*.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.frontends.tensorflow import model
from compiler.frontends.tensorflow.catalogue import reason
from tests.frontends.corpus import Corpus

HERE = Path(__file__).parent
CORPORA = {path.stem: Corpus(path) for path in sorted(HERE.glob("*.npz"))}
CASES = [(stem, case) for stem, corpus in CORPORA.items() for case in corpus.cases]


@pytest.mark.parametrize(("stem", "case"), CASES)
def test_an_operator_means_what_it_means_in_tensorflow(stem: str, case: str, tmp_path: Path) -> None:
    CORPORA[stem].check(case, tmp_path)


@pytest.mark.parametrize(("stem", "case"), CASES[::9])
def test_the_device_computes_the_same(stem: str, case: str, tmp_path: Path) -> None:
    CORPORA[stem].check(case, tmp_path, target="trn1.2xlarge")


def test_every_operator_of_tensorflow_is_supported_or_has_a_reason() -> None:
    known = model.operators()
    names = (HERE / "operators.txt").read_text().split()
    assert len(names) > 1900
    assert not [op for op, why in known.items() if not op.startswith("_") and op not in names]
    assert all(known.get(op) == "" or reason(op) for op in names)
    assert sum(why == "" for why in known.values()) > 280
    assert sum(known.get(op) != "" and "your own" in reason(op) for op in names) < 10
    assert "strings" in known["StringJoin"] and "trains" in reason("ResourceApplyAdam")
