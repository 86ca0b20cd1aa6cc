"""Models that six releases of xgboost trained and saved, against what they predict."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler import frontends
from compiler.frontends.xgboost.objectives import OBJECTIVES
from tests.frontends.corpus import Corpus

HERE = Path(__file__).resolve().parent
CORPORA = {p.stem.removeprefix("corpus_"): Corpus(p) for p in sorted(HERE.glob("corpus_*.npz"))}
CASES = [(release, case) for release, corpus in CORPORA.items() for case in corpus.cases]
NAMES = [f"{release}-{case}" for release, case in CASES]
#: one in this many also runs on the device
EVERY = 6


@pytest.mark.parametrize(("release", "case"), CASES, ids=NAMES)
def test_imported(release: str, case: str, tmp_path: Path) -> None:
    CORPORA[release].check(case, tmp_path)


@pytest.mark.parametrize(("release", "case"), CASES[::EVERY], ids=NAMES[::EVERY])
def test_on_the_device(release: str, case: str, tmp_path: Path) -> None:
    CORPORA[release].check(case, tmp_path, "trn1.2xlarge")


def test_every_format_and_objective_is_there() -> None:
    assert {"0_90", "1_0", "1_3", "1_6", "1_7", "2_1", "3_2"} <= set(CORPORA)
    cases = {case for _, case in CASES}
    forms = {case.rsplit("-", 1)[1] for case in cases}
    assert forms == {"model", "json", "ubj"}
    tried = {case.split("-")[1].replace("_", ":", 1) for case in cases if case.startswith("objective-")}
    assert tried == {name for name in OBJECTIVES if not name.startswith("gpu:")}


def test_operators_are_the_boosters_splits_and_objectives() -> None:
    found = frontends.operators("xgboost")
    assert {name.removeprefix("objective ") for name in found if name.startswith("objective ")} == set(OBJECTIVES)
    assert all(why == "" for why in found.values())
    assert {"booster gbtree", "booster dart", "booster gblinear", "split categorical", "leaf vector"} <= set(found)
