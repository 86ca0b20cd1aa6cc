"""What the timeline's slices are called: texts and labels by number, each kept once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isa.program import Program
from isa.spec import SPEC
from isa.trace import Table, Trace
from profiler.html.columns import Block, Column

FIELDS = ("name", "layer", "operator", "source", "purpose")
TRANSFER = 256  # in place of an opcode: the slice is a DMA transfer
Label = tuple[str, str, str, str, str]


class Labels:
    """Labels by number; `FIELDS` are their texts."""

    def __init__(self) -> None:
        self._labels: dict[Label, int] = {}
        self._texts: dict[str, int] = {"": 0}

    def number(self, name: str, layer: str = "", operator: str = "", source: str = "", purpose: str = "") -> int:
        """Number of a label, new or known."""
        return self._labels.setdefault((name, layer, operator, source, purpose), len(self._labels))

    def as_json(self, block: Block) -> dict[str, object]:
        """The texts, and columns of their numbers."""
        columns: dict[str, Column] = {}
        for k, name in enumerate(FIELDS):
            numbers = [self._texts.setdefault(label[k], len(self._texts)) for label in self._labels]
            columns[name] = block.add(np.array(numbers, np.int64))
        return {"texts": list(self._texts), **columns}


class RowLabels:
    """Numbers of the labels of instructions and transfers: by (stage, debug row, opcode)."""

    def __init__(self, trace: Trace, programs: Sequence[Program], labels: Labels) -> None:
        runs = trace.runs
        width = max((len(p.stages) for p in programs), default=0) + 1
        place = runs["model"].astype(np.int64) * width + runs["stage"]
        places, self._stage_of_run = np.unique(place, return_inverse=True)
        self._stages = [programs[int(p) // width].stages[int(p) % width] for p in places]
        self._begin = np.cumsum([0, *(len(s.debug) for s in self._stages)])
        self._labels = labels
        self._known = {i.opcode: i.mnemonic for i in SPEC} | {TRANSFER: "DMA transfer"}

    def of(self, table: Table, opcode: np.ndarray | int) -> np.ndarray:
        """[n] label of each row of `instructions` or `transfers`."""
        debug = self._begin[self._stage_of_run[table["run"]]] + table["debug"]
        pairs, place = np.unique(debug * (TRANSFER + 1) + opcode, return_inverse=True)
        numbers = [self._number(int(p) // (TRANSFER + 1), int(p) % (TRANSFER + 1)) for p in pairs]
        return np.array(numbers, np.int64)[place.reshape(-1)]

    def _number(self, debug: int, opcode: int) -> int:
        stage = int(np.searchsorted(self._begin, debug, side="right")) - 1
        d = self._stages[stage].debug[debug - int(self._begin[stage])]
        name = self._known.get(opcode, f"opcode {opcode}")
        return self._labels.number(name, d.layer, d.op_type, d.source, d.purpose)
