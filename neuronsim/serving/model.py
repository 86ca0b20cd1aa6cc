"""What is served and what is asked of it: steps, models, loads. All times of a model are ticks of its target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from isa.target import Target
from neuronsim.errors import SimulationError

if TYPE_CHECKING:
    from neuronsim.serving.alone import Alone
    from neuronsim.timing import Placed

CPU, LINK, CORE = "cpu", "link", "core"
KINDS = (CPU, LINK, CORE)
POLICIES = ("round_robin", "least_loaded")
REQUESTS_MAX = 100_000_000
SECONDS_MAX = 10**4  # of simulated time: ticks of 10 fs then still fit 63 bits

TIMES_HELP = "seconds since the start, sorted: one number a line, a JSON list, or a one-dimensional .npy file"


class ServingError(SimulationError):
    """A load, an arrival file or a plan that cannot be served."""

    code = "SERVING"


@dataclass(frozen=True)
class Step:
    """One thing a request occupies.

    Attributes:
        kind: "cpu" (a thread of the host), "link" (the host link of chip `where`) or "core" (core `where`).
        ticks: alone on the machine.
        slot: of a core step: index into its model's `placed`; -1: `ticks` is all that is known.
        upstream: handed its input core to core by the step before; else by the host.
        switch_ticks: to bring this model onto the core in place of another.
        node: of the program, its index; -1: unknown.
    """

    kind: str
    where: int
    ticks: int
    slot: int = -1
    upstream: bool = False
    switch_ticks: int = 0
    node: int = -1


@dataclass(frozen=True)
class ModelPlan:
    """A model on the machine: the steps of each of its copies, in order.

    Attributes:
        batch: rows that one run takes (dimension 0 of its inputs).
        placed: the stages behind the core steps' slots; alone: what each does by itself.
    """

    name: str
    replicas: tuple[tuple[Step, ...], ...]
    batch: int = 1
    placed: tuple[Placed, ...] = ()
    alone: tuple[Alone, ...] = ()

    def check(self, target: Target) -> None:
        """Raises: ServingError for steps that the machine does not have."""
        if not self.replicas or not all(self.replicas) or self.batch < 1:
            raise ServingError("a model needs a copy, every copy a step, and a batch of at least one", where=self.name)
        if len(self.placed) != len(self.alone):
            raise ServingError("a placed stage without its time alone", where=self.name, limit=len(self.placed),
                               actual=len(self.alone))
        for step in (s for steps in self.replicas for s in steps):
            limit = {CPU: 1, LINK: target.chips, CORE: target.cores}.get(step.kind, 0)
            if not 0 <= step.where < limit:
                raise ServingError(f"{target.name} has no {step.kind} {step.where}", where=self.name, limit=limit - 1,
                                   actual=step.where)
            if step.ticks < 0 or step.switch_ticks < 0 or step.slot >= len(self.placed):
                raise ServingError("a step needs times of at least 0 and a slot of its model", where=self.name,
                                   actual=step)


def checked_times(times: np.ndarray, where: str) -> np.ndarray:
    """The times as float64 [n]. Raises: ServingError unless they are finite, non-negative and sorted."""
    if times.ndim != 1 or times.dtype.kind not in "iuf" or len(times) > REQUESTS_MAX:
        raise ServingError("arrivals are a list of numbers", where=where, limit=f"one dimension, {REQUESTS_MAX}",
                           actual=f"{times.dtype} {list(times.shape)}", help=TIMES_HELP)
    times = times.astype(np.float64)
    bad = ~np.isfinite(times) | (times < 0) | (times > SECONDS_MAX)
    bad[1:] |= times[1:] < times[:-1]
    if bad.any():
        row = int(np.argmax(bad))
        raise ServingError("arrivals must be sorted and finite", where=f"{where}, arrival {row}",
                           limit=f"0..{SECONDS_MAX} s, not before the last", actual=float(times[row]), help=TIMES_HELP)
    return times


@dataclass(frozen=True)
class Load:
    """What is asked of one model: a closed loop (`in_flight`), or arrivals (one of `arrivals`, `interval_s`).

    Attributes:
        requests: how many in all.
        in_flight: clients, each of which sends its next request when its last has ended.
        arrivals: [requests] float64 seconds, sorted.
        interval_s: seconds between arrivals, the first at 0; rounded to a whole tick.
        rows: of each request along dimension 0, one number or [requests]; 0: as many as a run takes.
        policy: which copy takes a piece: "round_robin", or "least_loaded" (fewest pieces in flight, ties to the first).
    """

    requests: int
    in_flight: int = 0
    arrivals: np.ndarray | None = field(default=None, compare=False)
    interval_s: float = 0.0
    rows: int | Sequence[int] | np.ndarray = 0
    policy: str = "round_robin"

    def __post_init__(self) -> None:
        """Raises: ServingError."""
        if not 0 <= self.requests <= REQUESTS_MAX:
            raise ServingError("too many requests" if self.requests > 0 else "a negative number of requests",
                               limit=REQUESTS_MAX, actual=self.requests)
        given = (self.in_flight != 0) + (self.arrivals is not None) + (self.interval_s != 0)
        if given != 1 or self.in_flight < 0 or self.interval_s < 0:
            raise ServingError("a load is either a closed loop, or arrivals, or an interval",
                               help="give one of in_flight (>= 1), arrivals and interval_s (> 0)")
        if self.arrivals is not None:
            object.__setattr__(self, "arrivals", checked_times(np.asarray(self.arrivals), "arrivals"))
        if self.policy not in POLICIES:
            raise ServingError(f"unknown policy {self.policy!r}", help="known: " + ", ".join(POLICIES))
        if not self.interval_s * max(self.requests, 1) <= SECONDS_MAX:
            raise ServingError("the requests arrive over too long a time", limit=f"{SECONDS_MAX} s",
                               actual=f"{self.interval_s * self.requests:g} s")

    @property
    def regular(self) -> bool:
        """Whether what arrives next follows from the state alone, so that a pattern may repeat for ever."""
        return self.arrivals is None and np.ndim(self.rows) == 0

    def row_counts(self, batch: int) -> np.ndarray:
        """[requests] int64 rows of each. Raises: ServingError."""
        if not np.ndim(self.rows) and self.rows == 0:
            return np.full(self.requests, batch, dtype=np.int64)
        rows = np.asarray(self.rows, dtype=np.int64)
        if rows.ndim > 1 or (rows.ndim == 1 and len(rows) != self.requests) or rows.min(initial=1) < 1:
            raise ServingError("rows are one number, or one for each request, of at least 1", limit=self.requests,
                               actual=list(rows.shape))
        return np.broadcast_to(rows, self.requests)
