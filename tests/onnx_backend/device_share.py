"""Of onnx's tests of single operators: how many run that operator on the device, read from the NEFF alone.

A test counts when its model is one node on inputs of known sizes, at least one of them with elements of float32,
float16 or int8 (uint8 for quantised operators, bool for logical ones), and none of a type beside these that is no
index, mask or zero point. It runs on the device when a word of an engine was made for the node to compute; for
operators that only move data, when a word or a transfer was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto

from isa.program import Program, Stage
from isa.spec import SPEC

TABLE: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "operators.yaml").read_text())
FAMILY: dict[str, str] = {op: family for family, ops in TABLE["families"].items() for op in ops}
MOVES = frozenset(TABLE["moves"])
DATA = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8})
MORE_DATA = {"quantised": {TensorProto.UINT8}, "logical": {TensorProto.BOOL}}
#: What may come beside the data: indices, masks, zero points.
BESIDE = DATA | {TensorProto.BOOL, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8}
NO_COMPUTE = tuple(SPEC.by_name[name].opcode for name in ("nop", "dma_trigger"))


@dataclass(frozen=True)
class Seen:
    """One test in scope: its operator, and whether the device ran it."""

    test: str
    op: str
    on_device: bool


def operator_in_scope(model: onnx.ModelProto) -> str:
    """The operator a test is about, "" when the test does not count."""
    if len(model.graph.node) != 1 or model.graph.node[0].op_type not in FAMILY:
        return ""
    op = model.graph.node[0].op_type
    if not all(map(_is_static, model.graph.input)):
        return ""
    kinds = {i.type.tensor_type.elem_type for i in (*model.graph.input, *model.graph.output)}
    data = {i.type.tensor_type.elem_type for i in model.graph.input if _has_elements(i)}
    return op if data & (DATA | MORE_DATA.get(FAMILY[op], set())) and kinds <= BESIDE else ""


def _is_static(info: onnx.ValueInfoProto) -> bool:
    tensor = info.type.tensor_type
    return info.type.HasField("tensor_type") and all(d.HasField("dim_value") for d in tensor.shape.dim)


def _has_elements(info: onnx.ValueInfoProto) -> bool:
    return all(d.dim_value > 0 for d in info.type.tensor_type.shape.dim)


def runs_on_device(program: Program, op: str) -> bool:
    """Whether a stage of a one-node model has work that was made for the node."""
    return any(_works(stage, op in MOVES) for stage in program.stages)


def _works(stage: Stage, transfers: bool) -> bool:
    made_for_a_node = np.array([bool(e.source) and (transfers or e.purpose == "compute") for e in stage.debug])
    rows = [words["debug"][~np.isin(words["opcode"], NO_COMPUTE)] for words in stage.streams.values()]
    if transfers:
        rows = [*(words["debug"] for words in stage.streams.values()), stage.descriptors["debug"]]
    return any(bool(made_for_a_node[r].any()) for r in rows)


# ---- the report


def share(seen: Iterable[Seen]) -> float:
    """Part of the tests whose operator ran on the device."""
    found = [s.on_device for s in seen]
    return sum(found) / len(found) if found else 0.0


def by_operator(seen: Iterable[Seen]) -> dict[str, tuple[int, int]]:
    """Operator -> (tests on the device, tests in scope), in the table's order; operators without a test are (0, 0)."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for s in seen:
        counts[s.op][0] += s.on_device
        counts[s.op][1] += 1
    return {op: (counts[op][0], counts[op][1]) for op in FAMILY}


def report(seen: list[Seen]) -> Iterator[str]:
    """Lines by family and operator; operators that never reach the device are marked."""
    counts = by_operator(seen)
    for family, ops in TABLE["families"].items():
        device, total = (sum(counts[op][k] for op in ops) for k in (0, 1))
        yield f"{family:14s} {device:4d} of {total:4d}"
        for op in ops:
            on, of = counts[op]
            note = "  no test in scope" if not of else "  NONE" if not on else ""
            yield f"    {op:28s} {on:4d} of {of:4d}{note}"
    yield f"{'all':14s} {sum(s.on_device for s in seen):4d} of {len(seen):4d}  ({100 * share(seen):.1f} %)"
