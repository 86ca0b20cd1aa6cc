"""From the rows of a trace back to the programs: which stage, layer, purpose and word a row is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from isa.program import Program, Stage
from isa.trace import Trace
from isa.word import ENGINES
from profiler.ran import Ran
from profiler.ran import stages as stages_of


class LayerName(NamedTuple):
    """A layer of the source model; `model` is the index of the loaded model."""

    model: int
    name: str
    op_type: str


@dataclass(frozen=True, eq=False)
class Source:
    """What the rows of a trace stand for.

    Attributes:
        ran: the distinct stages that ran, by model and number.
        stage_of_run: [runs] index in `ran`.
        layers: every layer named by a debug row of those stages; number 0 is "no layer".
    """

    trace: Trace
    ran: list[Ran]
    stage_of_run: np.ndarray
    layers: list[LayerName]
    _debug_begin: np.ndarray
    _layer_of_debug: np.ndarray

    @property
    def stages(self) -> list[Stage]:
        """The stage of each of `ran`."""
        return [r.stage for r in self.ran]

    @cached_property
    def word_debug(self) -> np.ndarray:
        """[n] debug row of each instruction, counted over all stages one after the other."""
        return self._debug(self.trace.instructions["run"], self.trace.instructions["debug"])

    @cached_property
    def transfer_debug(self) -> np.ndarray:
        """[x] the same of each transfer."""
        return self._debug(self.trace.transfers["run"], self.trace.transfers["debug"])

    @cached_property
    def word_layer(self) -> np.ndarray:
        """[n] layer number of each instruction."""
        return self._layer_of_debug[self.word_debug]

    @cached_property
    def transfer_layer(self) -> np.ndarray:
        """[x] layer number of each transfer."""
        return self._layer_of_debug[self.transfer_debug]

    @cached_property
    def purpose_of_debug(self) -> np.ndarray:
        """Purpose of each debug row, counted as `word_debug`."""
        return np.array([d.purpose for stage in self.stages for d in stage.debug], dtype=np.str_)

    @cached_property
    def word(self) -> np.ndarray:
        """[n] place of each instruction in `streams`."""
        table, begin = self.trace.instructions, self._stream_begin
        lane = self.stage_of_run[table["run"]] * len(ENGINES) + table["engine"]
        return begin[lane] + table["index"]

    def streams(self, column: str) -> np.ndarray:
        """A column of the words of all stages, engines in order, one after the other."""
        parts = [stage.stream(e)[column] for stage in self.stages for e in ENGINES]
        return np.concatenate(parts) if parts else np.zeros(0)

    def layers_of(self, stage: int) -> np.ndarray:
        """Layer number of each debug row of a stage."""
        return self._layer_of_debug[self._debug_begin[stage] : self._debug_begin[stage + 1]]

    @cached_property
    def _stream_begin(self) -> np.ndarray:
        counts = [len(stage.stream(e)) for stage in self.stages for e in ENGINES]
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    def _debug(self, run: np.ndarray, debug: np.ndarray) -> np.ndarray:
        return self._debug_begin[self.stage_of_run[run]] + debug


def read(trace: Trace, programs: Sequence[Program]) -> Source:
    """Find the stages that ran. `programs`: one per model of the trace, in its order."""
    ran, stage_of_run = stages_of(trace, programs)
    keys: dict[LayerName, int] = {LayerName(-1, "", ""): 0}
    numbers = []
    for r in ran:
        for d in r.stage.debug:
            numbers.append(keys.setdefault(LayerName(r.model, d.layer, d.op_type), len(keys)) if d.layer else 0)
    begin = np.concatenate([[0], np.cumsum([len(r.stage.debug) for r in ran], dtype=np.int64)])
    return Source(trace, ran, stage_of_run, list(keys), begin, np.array(numbers, np.int64))
