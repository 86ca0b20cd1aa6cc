"""What decided when everything ended: a chain of causes from the last tick back to the first, without gaps.

Inside runs it is that of `run_paths`, between them that of `run_order`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isa.program import Program
from isa.target import Target
from isa.trace import Trace
from isa.word import ENGINES
from profiler.analyses import run_order, source
from profiler.analyses.run_paths import REASONS, Reason, Steps, run_paths
from profiler.table import Table

SHOWN = 20


@dataclass(frozen=True, eq=False)
class CriticalPath:
    """Parts of the path in order of time; their lengths add up to `total_ticks`.

    Attributes:
        op, run: [p] rows of the trace; -1 where it is none of a core's doing.
        start, end, reason: [p] ticks; a `Reason`.
        layer: [p] index in `layers`; 0 is no layer.
        engine: [p] index in isa.word.ENGINES of the word, or of the trigger; 255 without.
    """

    total_ticks: int
    tick_hz: int
    op: np.ndarray
    run: np.ndarray
    start: np.ndarray
    end: np.ndarray
    reason: np.ndarray
    layer: np.ndarray
    engine: np.ndarray
    layers: list[source.LayerName]

    def by_reason(self) -> dict[str, int]:
        """Ticks of each reason that occurs."""
        return _named(self._ticks(self.reason, len(Reason)), REASONS)

    def by_engine(self) -> dict[str, int]:
        """Ticks in which the path was a word of an engine: issue and latency."""
        of_words = np.where(self.reason <= Reason.LATENCY, self.engine, 255)
        return _named(self._ticks(of_words, 256), ENGINES)

    def by_layer(self) -> list[tuple[source.LayerName, int]]:
        """Ticks of each layer that occurs, the longest first; "" is no layer."""
        sums = self._ticks(self.layer, len(self.layers))
        return [(self.layers[k], int(sums[k])) for k in np.argsort(-sums, kind="stable") if sums[k]]

    def _ticks(self, key: np.ndarray, count: int) -> np.ndarray:
        return np.bincount(key, weights=self.end - self.start, minlength=count).astype(np.int64)

    def as_json(self) -> dict[str, Any]:
        """Sums in ticks, and the longest steps."""
        longest = np.argsort(self.start - self.end, kind="stable")[:SHOWN]
        return {
            "total_ticks": self.total_ticks,
            "steps": len(self.op),
            "by_reason": self.by_reason(),
            "by_engine": self.by_engine(),
            "by_layer": [{**k._asdict(), "ticks": n} for k, n in self.by_layer()],
            "longest": [
                {"op": int(self.op[i]), "run": int(self.run[i]), "start": int(self.start[i]),
                 "ticks": int(self.end[i] - self.start[i]), "reason": REASONS[self.reason[i]],
                 "layer": self.layers[self.layer[i]].name}
                for i in longest
            ],
        }  # fmt: skip

    def tables(self) -> list[Table]:
        """Shares by reason and the layers with most of it."""
        whole = max(self.total_ticks, 1)
        reasons = Table("Critical path", ["reason", ">share"])
        for name, part in sorted(self.by_reason().items(), key=lambda item: -item[1]):
            reasons.rows.append([name.replace("_", " "), f"{100 * part / whole:.1f} %"])
        layers = Table("Layers on the critical path", ["layer", "operator", ">share"])
        for key, part in self.by_layer()[:10]:
            layers.rows.append([key.name or "-", key.op_type, f"{100 * part / whole:.1f} %"])
        return [reasons, layers]


def critical_path(
    trace: Trace, programs: Sequence[Program], target: Target, paths: Steps | None = None
) -> CriticalPath:
    """The path of a whole trace; `paths`: its run_paths, where known already."""
    known, steps = source.read(trace, programs), paths or run_paths(trace, target)
    cuts = np.searchsorted(steps.run, np.arange(len(trace.runs["start"]) + 1))
    parts: list[tuple[np.ndarray, ...]] = []
    for run, start, end, reason in run_order.path(trace, target):
        if run < 0:
            parts.append(tuple(np.array([v], np.int64) for v in (-1, -1, start, end, reason)))
            continue
        rows = slice(cuts[run], cuts[run + 1])
        parts.append((steps.op[rows], steps.run[rows], steps.start[rows], steps.end[rows], steps.reason[rows]))
    columns = [np.concatenate(c).astype(np.int64) for c in zip(*reversed(parts), strict=True)] if parts else (
        [np.zeros(0, np.int64)] * 5)  # fmt: skip
    op, run_of, begin, finish, why = columns
    layer, engine = np.zeros(len(op), np.int64), np.full(len(op), 255, np.int64)
    words = op >= 0
    layer[words] = known.word_layer[op[words]]
    engine[words] = trace.instructions["engine"][op[words]]
    return CriticalPath(trace.total_ticks, trace.tick_hz, op, run_of, begin, finish, why, layer, engine, known.layers)


def _named(sums: np.ndarray, names: Sequence[str]) -> dict[str, int]:
    return {name: int(v) for name, v in zip(names, sums) if v}
