"""What fuzzing the readers found: each damaged file gives a graph or an error of ours, soon and in little memory."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.frontends.fuzz import FOUND, batch
from tests.frontends.mutations import Mutation

MUTATIONS: dict[str, list[Mutation]] = defaultdict(list)
for _line in FOUND.read_text().splitlines():
    _mutation = Mutation.of(_line)
    MUTATIONS[_mutation.model.split("/")[0]].append(_mutation)


@pytest.mark.parametrize(
    "framework", [pytest.param(f, marks=pytest.mark.slow) if f == "pytorch" else f for f in sorted(MUTATIONS)]
)
def test_damaged_files(framework: str) -> None:
    mutations = MUTATIONS[framework]
    results = batch(mutations)
    assert len(results) == len(mutations), results[-1]
    assert not [(m.line(), r) for m, r in zip(mutations, results) if r]
