"""The list of operators: complete, read from the tables, different where targets differ."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from compiler.frontends.onnx.model import known_operators
from compiler.lowering import CONDITIONS, LOWERINGS
from compiler.partition.conditions import sentences
from compiler.partition.support import CONDITIONAL, CPU, DEVICE, support
from isa import target as targets
from isa.target import Target

TRN = targets.load("trn1.2xlarge")
INF = targets.load("inf1.xlarge")
MOST = 7


def levels(target: Target) -> dict[str, str]:
    return {s.operator: s.level for s in support(target)}


def test_every_operator_once() -> None:
    found = [s.operator for s in support(TRN)]
    assert len(set(found)) == len(found)
    assert set(known_operators()) - set(found) <= {"Scatter", "Upsample"}  # deprecated


def test_levels() -> None:
    found = levels(TRN)
    assert found["Relu"] == found["Gemm"] == found["Shape"] == DEVICE
    assert found["Gather"] == CONDITIONAL
    assert found["If"] == found["SequenceAt"] == found["StringConcat"] == found["NonMaxSuppression"] == CPU
    assert all(found[op] != CPU for op in LOWERINGS if op in found)


def test_every_entry_says_something() -> None:
    for target in (TRN, INF):
        assert all(s.words and all(s.words) for s in support(target))


def test_targets_differ_where_their_hardware_does() -> None:
    """v1's DMA takes no indices."""
    words = {t.name: next(s.words for s in support(t) if s.operator == "GatherElements") for t in (TRN, INF)}
    assert any("DMA of v1" in w for w in words["inf1.xlarge"])
    assert not any("DMA of" in w for w in words["trn1.2xlarge"])


@pytest.mark.parametrize("op", sorted(CONDITIONS))
def test_every_condition_can_be_read(op: str) -> None:
    """A condition that says nothing in any branch on any target is none, or is written in a way that hides it."""
    assert sentences(CONDITIONS[op], op, TRN) + sentences(CONDITIONS[op], op, INF)


def _limit(target: Any, op: str, rows: int) -> str:
    if target.generation == "v1":
        return f"{op} on {target.generation}"
    return f"{rows} rows" if rows > MOST else ""


def _condition(graph: Any, node: Any, target: Any) -> str:
    known = graph.const(node.inputs[0])
    fast = target.generation != "v1"
    if node.op == "Never":
        return "never"
    if known is not None:
        return "" if fast or known else f"at most {MOST}"
    return _limit(target, node.op, known.size)


@pytest.mark.parametrize(
    ("op", "generation", "expected"),
    [
        ("Never", "v2", ["never"]),
        ("Any", "v1", ["at most 7", "Any on v1"]),
        ("Any", "v2", ["<rows> rows"]),
    ],
)
def test_branches_the_target_decides(op: str, generation: str, expected: list[str]) -> None:
    target: Any = SimpleNamespace(generation=generation)
    assert sentences(_condition, op, target) == expected
