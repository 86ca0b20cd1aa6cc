"""Where the time goes, by layer of the source model.

Every instant counts once: it is split equally among the layers with an instruction in flight; an instant in which no
engine works but data moves is split among the layers of the transfers; the rest is waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isa.program import Program, Stage
from isa.target import Target
from isa.trace import Trace
from profiler import work
from profiler.intervals import merge, share
from profiler.metrics import peak_seconds, percent
from profiler.ran import Ran, stages


@dataclass(frozen=True)
class Layer:
    """One layer's part: seconds and percent of the run, useful multiply-accumulates, bytes by DMA, MFU in percent."""

    name: str
    op_type: str
    time: float
    time_percent: float
    macs: int
    bytes: int
    mfu_percent: float


def layers(trace: Trace, programs: Sequence[Program], target: Target, total: float) -> list[Layer]:
    """All layers of a trace, the longest first. `programs`: its models, in order; `total`: seconds on the device."""
    keys: dict[tuple[str, str], int] = {}
    ran, place = stages(trace, programs)
    rows = [_rows(r.stage, keys) for r in ran]
    seconds = _times(trace, rows, place, len(keys)) / trace.tick_hz
    macs, moved = _work(ran, rows, len(keys))
    hardware = sum(r.runs * sum(work.matmul_flops(r.stage).values()) for r in ran)
    at_peak = peak_seconds(ran, target) / hardware if hardware else 0.0
    found = [
        Layer(
            name,
            op,
            float(seconds[k]),
            percent(float(seconds[k]), total),
            int(macs[k]),
            int(moved[k]),
            percent(2 * int(macs[k]) * at_peak, float(seconds[k])),
        )
        for (name, op), k in keys.items()
        if name
    ]
    return sorted(found, key=lambda layer: (-layer.time, layer.name))


def _rows(stage: Stage, keys: dict[tuple[str, str], int]) -> np.ndarray:
    """Number of the layer of each debug row; new layers get the next number."""
    return np.array([keys.setdefault((d.layer, d.op_type), len(keys)) for d in stage.debug], dtype=np.int64)


def _layer_of(table: dict[str, np.ndarray], rows: Sequence[np.ndarray], place: np.ndarray) -> np.ndarray:
    """Layer number of each row of a trace table; `place`: of each run in `rows`."""
    number = np.zeros(len(table["start"]), np.int64)
    of_stage = place[table["run"]]
    for stage, layer in enumerate(rows):
        mine = of_stage == stage
        number[mine] = layer[table["debug"][mine]]
    return number


def _times(trace: Trace, rows: Sequence[np.ndarray], place: np.ndarray, count: int) -> np.ndarray:
    busy = merge(trace.instructions["start"], trace.instructions["end"])
    of_word = _layer_of(trace.instructions, rows, place)
    of_transfer = _layer_of(trace.transfers, rows, place)
    compute = share(_grouped(trace.instructions, of_word, count))
    return compute + share(_grouped(trace.transfers, of_transfer, count), hidden=busy)


def _grouped(table: dict[str, np.ndarray], number: np.ndarray, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    order = np.argsort(number, kind="stable")
    cuts = np.searchsorted(number[order], np.arange(1, count))
    return list(zip(np.split(table["start"][order], cuts), np.split(table["end"][order], cuts), strict=True))


def _work(ran: Sequence[Ran], rows: Sequence[np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    macs, moved = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for r, layer in zip(ran, rows, strict=True):
        np.add.at(macs, layer, [r.runs * d.macs for d in r.stage.debug])
        found = work.triggers(r.stage)
        np.add.at(moved, layer[found.debug], r.runs * found.moved)
    return macs, moved
