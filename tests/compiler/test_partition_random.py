"""Random networks with random nodes kept on the CPU: the same values as onnxruntime, wherever the cuts fall."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from neuronsim.api import Result
from tests.compiler.lowering_run import compare
from tests.compiler.random_graphs import FAMILIES

DRAWS = 12
LIMIT = 3e-5  # softmax of a sum over a whole image amplifies the last bit of the logits


def cut_anywhere(family: str, seed: int, share: float, **options: object) -> Result | None:
    """Compile a random model with this share of its nodes kept on the CPU and compare; None for an empty draw."""
    model = FAMILIES[family](np.random.default_rng(seed))
    if model is None:
        return None
    for k, node in enumerate(model.graph.node):
        node.name = f"n{k}"
    random = np.random.default_rng([seed, 1])
    kept = [n.name for n in model.graph.node if random.random() < share]
    try:
        return compare(model, limit=LIMIT, fallback=True, cpu_ops=kept, **options)
    except Exception as error:
        error.add_note(f"{family}, seed {seed}, {share:.0%} on the CPU")
        raise


@pytest.mark.parametrize("share", [0.25, 0.6])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_values_do_not_depend_on_the_cuts(family: str, share: float) -> None:
    """No rule joins segments: every cut is made."""
    found = [cut_anywhere(family, s, share, minimum_segment_size=1, transfer_cost=False) for s in range(DRAWS)]
    assert _places(found) == {"cpu", "neuron_core"}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_values_under_the_rules(family: str) -> None:
    found = [cut_anywhere(family, s, 0.2) for s in range(100, 100 + DRAWS)]
    assert _places(found) == {"cpu", "neuron_core"}


def _places(found: Sequence[Result | None]) -> set[str]:
    return {node.kind for r in found if r is not None for node in r.machine.program.nodes}
