"""Where rows of a trace come from: layer, operator, source nodes, stage, request, by number of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isa.program import Program, Stage
from isa.spec import SPEC
from isa.trace import Cause, Trace
from isa.word import ENGINES
from profiler.exports.output import ExportError
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
    """Texts of every debug row of the stages that ran, one after the other.

    `base`, `count`: [runs] where the rows of each run's stage begin, and how many they are.
    """

    base: np.ndarray
    count: np.ndarray
    layer: np.ndarray
    operator: np.ndarray
    source: np.ndarray
    purpose: np.ndarray
    program: np.ndarray  # [models] numbers of the programs' names

    @classmethod
    def of(cls, trace: Trace, programs: Sequence[Program], names: Names) -> Labels:
        """Raises: ExportError when the trace names models, stages or nodes that the programs do not have."""
        _check(trace, programs)
        rows: list[tuple[int, int, int, int]] = []
        first: dict[tuple[int, int], int] = {}
        base, count = [], []
        for model, number in zip(trace.runs["model"].tolist(), trace.runs["stage"].tolist(), strict=True):
            if (model, number) not in first:
                first[model, number] = len(rows)
                rows += _texts(programs[model].stages[number], names)
            base.append(first[model, number])
            count.append(len(programs[model].stages[number].debug))
        layer, operator, source, purpose = np.array(rows, np.int64).reshape(-1, 4).T
        program = np.array(names.numbers(p.name for p in programs), np.int64)
        return cls(np.array(base, np.int64), np.array(count, np.int64), layer, operator, source, purpose, program)

    def rows(self, table: Mapping[str, np.ndarray], at: np.ndarray | slice) -> np.ndarray:
        """Rows of the columns above that instructions or transfers `at` stand for. Raises: ExportError."""
        run, debug = table["run"][at], table["debug"][at]
        if (debug >= self.count[run]).any():
            raise _foreign()
        return self.base[run] + debug


def _check(trace: Trace, programs: Sequence[Program]) -> None:
    ranges: list[tuple[str, int, Sequence[Mapping[str, np.ndarray]]]] = [
        ("model", len(programs), (trace.runs, trace.host, trace.requests))]
    for model, program in enumerate(programs):
        for column, limit, table in (("stage", len(program.stages), trace.runs),
                                     ("node", len(program.nodes), trace.host)):
            mine = table["model"] == model
            ranges.append((column, limit, ({column: table[column][mine]},)))
    for column, limit, tables in ranges:
        if any(len(t[column]) and not 0 <= int(t[column].min()) <= int(t[column].max()) < limit for t in tables):
            raise _foreign()


def _foreign() -> ExportError:
    return ExportError("the trace is not of these programs", help="give the NEFFs it was recorded with, in their order")


def _texts(stage: Stage, names: Names) -> list[tuple[int, int, int, int]]:
    number = names.number
    return [(number(d.layer), number(d.op_type), number(d.source), number(d.purpose)) for d in stage.debug]
