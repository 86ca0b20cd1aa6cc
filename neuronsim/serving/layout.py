"""Models and loads as the flat arrays of the request loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isa.target import Target
from neuronsim._core.serving import Loop
from neuronsim._core.serving_shared import Shared
from neuronsim.serving.model import KINDS, Load, ModelPlan, ServingError, Step

_TICKS_MAX = 2**61  # of all work together: no sum of times can then pass 63 bits


@dataclass(frozen=True)
class Station:
    """One step of one copy of a model; `slot` counts over all models."""

    model: int
    copy: int
    position: int
    step: Step
    slot: int


@dataclass(frozen=True)
class Layout:
    """The arrays of `Loop`, and what stands behind them.

    Attributes:
        stations: of all copies of all models, in order.
        requests: [m + 1] int64, the requests of model i are rows `requests[i]:requests[i + 1]` of the columns.
        pieces: [requests] int32. padding: [m] int64, rows of the last pieces that no request fills.
        arrival: [requests] int64 ticks, 0 where the loop finds out.
        rows: the arrays of stations and models without segments, and the first station of each copy.
    """

    stations: tuple[Station, ...]
    requests: np.ndarray
    pieces: np.ndarray
    padding: np.ndarray
    arrival: np.ndarray
    rows: tuple[np.ndarray, np.ndarray, np.ndarray]

    def loop(
        self, target: Target, machine: Any = None, credit: int = -1, shared: Shared | None = None,
        programs: Sequence[int] = (), witness: Any = None,
    ) -> Loop:
        """A loop at tick 0.

        Args:
            machine: `Cores`; None: steps take their `ticks`. credit: -1: the target's.
            shared, programs: what times the core steps whose slot has a program (>= 0).
            witness: is told of every start, as `Loop` says.
        """
        credit = target.ns_to_ticks(target.semaphore_latency_ns) if credit < 0 else credit
        stations, models, first = self.rows
        if shared is not None:
            stations = stations.copy()
            stations[:, 7] = [programs[s.slot] if s.slot >= 0 else -1 for s in self.stations]
        return Loop(
            stations, models, first, self.pieces, self.arrival.copy(), cores=target.cores, chips=target.chips,
            vcpus=target.host_vcpus, credit=credit, machine=machine,
            shared=shared, witness=witness,
        )


def lay_out(models: Sequence[ModelPlan], loads: Sequence[Load], target: Target) -> Layout:
    """Raises: ServingError for plans and loads that do not fit each other or the machine."""
    if len(models) != len(loads) or not models:
        raise ServingError("one load for each model", limit=len(models), actual=len(loads))
    for model in models:
        model.check(target)
    stations = tuple(_stations(models))
    counts = [load.row_counts(model.batch) for model, load in zip(models, loads, strict=True)]
    pieces = [-(-rows // model.batch) for model, rows in zip(models, counts, strict=True)]
    _check_size(stations, pieces)
    padding = [int((p * m.batch - r).sum()) for p, m, r in zip(pieces, models, counts, strict=True)]
    arrival = [_arrivals(load, target) for load in loads]
    requests = np.concatenate([[0], np.cumsum([load.requests for load in loads])]).astype(np.int64)
    return Layout(
        stations, requests, np.concatenate(pieces).astype(np.int32), np.array(padding, dtype=np.int64),
        np.concatenate(arrival), _rows(stations, models, loads, requests, target),
    )


def _stations(models: Sequence[ModelPlan]) -> Iterator[Station]:
    base = 0
    for m, model in enumerate(models):
        for c, steps in enumerate(model.replicas):
            for position, step in enumerate(steps):
                yield Station(m, c, position, step, base + step.slot if step.slot >= 0 else -1)
        base += len(model.placed)


def _check_size(stations: Sequence[Station], pieces: Sequence[np.ndarray]) -> None:
    work = sum((s.step.ticks + s.step.switch_ticks) * (int(pieces[s.model].sum()) + 1) for s in stations)
    if work > _TICKS_MAX or max(int(p.max(initial=0)) for p in pieces) >= 2**31:
        raise ServingError("more work than can be counted", limit=_TICKS_MAX, actual=work,
                           help="ask for fewer requests")


def _arrivals(load: Load, target: Target) -> np.ndarray:
    if load.arrivals is None:
        return np.zeros(load.requests, dtype=np.int64)
    if len(load.arrivals) != load.requests:
        raise ServingError("one arrival for each request", limit=load.requests, actual=len(load.arrivals))
    return np.rint(load.arrivals * target.tick_hz).astype(np.int64)


def _rows(
    stations: Sequence[Station], models: Sequence[ModelPlan], loads: Sequence[Load], requests: np.ndarray,
    target: Target,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    first = np.array([i for i, s in enumerate(stations) if s.position == 0], dtype=np.int32)
    table = [
        (KINDS.index(s.step.kind), s.step.where, s.model, s.position + 1 == len(models[s.model].replicas[s.copy]),
         s.slot, s.step.ticks, s.step.switch_ticks, -1)
        for s in stations
    ]
    rows, copy = [], 0
    for m, (model, load) in enumerate(zip(models, loads, strict=True)):
        interval = max(round(load.interval_s * target.tick_hz), 1) if load.interval_s else 0
        rows.append((len(model.replicas), copy, load.policy == "least_loaded", load.in_flight, requests[m],
                     load.requests, interval))
        copy += len(model.replicas)
    return np.array(table, dtype=np.int64), np.array(rows, dtype=np.int64), first
