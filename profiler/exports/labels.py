"""Where rows of a trace come from: layer, operator, source nodes, stage, request, by number of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isa.program import Program, Stage
from isa.spec import SPEC
from isa.trace import Cause, Trace
from isa.word import ENGINES
from profiler.exports.text import Names

ENGINE_NAMES: Mapping[str, str] = {
    "tensor": "TensorE", "vector": "VectorE", "scalar": "ScalarE", "gpsimd": "GpSimdE", "sync": "SyncE"}
MULTIPLY = "TensorMatrixE"  # the PE's second row: it multiplies while the next stationary matrix loads
ROWS = (*ENGINE_NAMES.values(), MULTIPLY)
QUEUE_NAMES = tuple(f"q{n.removesuffix('E')}" for n in ENGINE_NAMES.values())
CAUSES = tuple(c.name.lower() for c in Cause)
_MULTIPLYING = [SPEC.by_name["matmul"].opcode]


def engine_row(engine: np.ndarray, opcode: np.ndarray) -> np.ndarray:
    """Which of `ROWS` shows each instruction."""
    multiplies = (engine == ENGINES.index("tensor")) & np.isin(opcode, _MULTIPLYING)
    return np.where(multiplies, ROWS.index(MULTIPLY), engine.astype(np.int64))


def opcode_numbers(names: Names) -> np.ndarray:
    """Number of the text of each opcode: [256]."""
    known = {i.opcode: i.mnemonic for i in SPEC}
    return np.array([names.number(known.get(code, f"opcode {code}")) for code in range(256)])


@dataclass(frozen=True)
class Labels:
    """Texts of every debug row of the stages that ran, one after the other. `base`: [runs] first row of each run's."""

    base: np.ndarray
    layer: np.ndarray
    operator: np.ndarray
    source: np.ndarray
    purpose: np.ndarray
    program: np.ndarray  # [models] numbers of the programs' names

    @classmethod
    def of(cls, trace: Trace, programs: Sequence[Program], names: Names) -> Labels:
        """Raises: IndexError when the trace is not of these programs."""
        rows: list[tuple[int, int, int, int]] = []
        first: dict[tuple[int, int], int] = {}
        base = []
        for model, number in zip(trace.runs["model"].tolist(), trace.runs["stage"].tolist(), strict=True):
            if (model, number) not in first:
                first[model, number] = len(rows)
                rows += _texts(programs[model].stages[number], names)
            base.append(first[model, number])
        layer, operator, source, purpose = np.array(rows, np.int64).reshape(-1, 4).T
        program = np.array(names.numbers(p.name for p in programs), np.int64)
        return cls(np.array(base, np.int64), layer, operator, source, purpose, program)

    def rows(self, table: Mapping[str, np.ndarray], at: np.ndarray | slice) -> np.ndarray:
        """Rows of the columns above that instructions or transfers `at` stand for."""
        return self.base[table["run"][at]] + table["debug"][at]


def _texts(stage: Stage, names: Names) -> list[tuple[int, int, int, int]]:
    number = names.number
    return [(number(d.layer), number(d.op_type), number(d.source), number(d.purpose)) for d in stage.debug]
