"""Where to cut a line of work so that the slowest stage is as fast as can be.

A stage takes the time of its pieces, plus a fixed part, plus the time to fetch and hand on what crosses its cuts; where
its weights do not fit SBUF it takes at least the time to stream the rest from DRAM, and where its results go to another
chip at least the time they take on the link. Dynamic programming over (stages so far, pieces so far) finds the smallest
maximum exactly; among the cuts that reach it, those that hand on least are taken.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from isa.program import HANDOVER_BUFFERS
from isa.target import Target
from isa.topology import Topology

SLACK = 0.005  # of the slowest stage that handing on less is worth


class Piece(NamedTuple):
    """Channel blocks `first` .. `end`-1 of the `blocks` of one node; (0, 1) of 1 is the whole node."""

    node: str
    first: int
    end: int
    blocks: int


@dataclass(frozen=True)
class Line:
    """Work in the order in which it may be cut.

    Attributes:
        atoms: [n] pieces that stay together.
        ns: [n] time of each. weights: [n] SBUF bytes per partition of its pinned weights. scratch: [n] of its other
            tiles at most.
        crossing: [n + 1] bytes handed on by a cut in front of each atom; 0 at both ends, which are the host's.
    """

    atoms: Sequence[tuple[Piece, ...]]
    ns: np.ndarray
    weights: np.ndarray
    scratch: np.ndarray
    crossing: np.ndarray


@dataclass(frozen=True)
class Rates:
    """What a stage has beside its engines.

    Attributes:
        fixed_ns: of every stage: starting its first and its last transfer.
        fetch_bytes_per_ns: handed values between the buffers and the working tiles.
        link_bytes_per_ns: to the next chip, infinite where there is none.
        stream_bytes_per_ns: a core's part of its chip's DRAM bandwidth.
        room: SBUF bytes of each of `partitions`.
        chip: cores of a chip. stages: of the pipeline. first_core: the one of the first stage.
    """

    fixed_ns: float
    fetch_bytes_per_ns: float
    link_bytes_per_ns: float
    stream_bytes_per_ns: float
    room: int
    partitions: int
    chip: int
    stages: int
    first_core: int = 0

    def crosses(self, stage: int) -> bool:
        """Whether what a stage hands on goes to another chip."""
        return (self.first_core + stage + 1) % self.chip == 0

    def neighbours(self, stage: int) -> int:
        """Stages on the chip of a stage, itself included."""
        first = (self.first_core + stage) // self.chip * self.chip - self.first_core
        return min(first + self.chip, self.stages) - max(first, 0)


def rates(target: Target, stages: int, first_core: int = 0) -> Rates:
    """Rates of a pipeline of so many stages on the cores from `first_core` on."""
    topology = Topology(target)
    chip = topology.cores_per_chip
    dma = target.dma
    return Rates(
        fixed_ns=2 * (dma.start_latency_ns + dma.t0_ns + target.semaphore_latency_ns),
        fetch_bytes_per_ns=dma.engines * dma.bytes_per_ns,
        link_bytes_per_ns=topology.link_bytes_per_ns or float("inf"),
        stream_bytes_per_ns=target.dram_bytes_per_ns / min(chip, stages),
        room=target.sbuf_partition_bytes,
        partitions=target.partitions,
        chip=chip,
        stages=stages,
        first_core=first_core,
    )


def balance(line: Line, stages: int, rates: Rates) -> list[int]:
    """Ends of the stages as numbers of atoms, ascending, the last one n; as many as `stages`, or as there are atoms."""
    band = _Band(line, min(stages, len(line.atoms)), rates)
    return band.least_handed(band.slowest() * (1 + SLACK))


def stage_ns(line: Line, low: int, end: int, k: int, rates: Rates) -> float:
    """Time of the stage of atoms `low` .. `end` - 1 as number k."""
    times = _times(line, rates, np.array([[a] for a in range(low, end)])[::-1], np.array([end]))[-1, 0]
    return float(times + (_over_link(line, rates)[end - 1] if rates.crosses(k) else 0.0))


def _times(line: Line, rates: Rates, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """[d, j] times of the stages of atoms start[d, j] .. end[j] - 1; start[d] is one less than start[d - 1]."""
    prefix, held = (np.concatenate([[0.0], x.cumsum()]) for x in (line.ns, line.weights))
    fetched = line.crossing[start]
    work = prefix[end] - prefix[start] + (fetched + line.crossing[end]) / rates.fetch_bytes_per_ns
    weights = held[end] - held[start]
    scratch = np.maximum.accumulate(line.scratch[start], axis=0)
    buffers = HANDOVER_BUFFERS * np.ceil(fetched / rates.partitions)
    streamed = np.clip(weights + scratch + buffers - rates.room, 0, weights) * rates.partitions
    return rates.fixed_ns + np.maximum(work, streamed / rates.stream_bytes_per_ns)


def _over_link(line: Line, rates: Rates) -> np.ndarray:
    """[n] time that the results of a stage that ends with each atom take to the next chip."""
    return line.crossing[1:] / rates.link_bytes_per_ns


class _Band:
    """Times of the stages worth a look: [d, j] is the stage of the d + 1 atoms that end with atom j."""

    def __init__(self, line: Line, stages: int, rates: Rates) -> None:
        self.line, self.rates, self.stages = line, rates, stages
        n = len(line.atoms)
        prefix = np.concatenate([[0.0], line.ns.cumsum()])
        most = prefix[-1] / stages + line.ns.max(initial=0.0)  # some cut has no stage with more work than this
        first = np.searchsorted(prefix, prefix[1:] - most * (1 + 1e-9))
        width = int((np.arange(1, n + 1) - first).max())
        start = np.arange(n) - np.arange(width)[:, None]
        self.valid = start >= 0
        self.start = np.maximum(start, 0)
        self.times = np.where(self.valid, _times(line, rates, self.start, np.arange(1, n + 1)), np.inf)
        self.linked = self.times + _over_link(line, rates)

    def slowest(self) -> float:
        """The smallest possible time of the slowest stage."""
        found = self._first(0)
        for k in range(1, self.stages):
            found = np.maximum(self._before(found), self._stage(k)).min(axis=0)
        return float(found[-1])

    def least_handed(self, limit: float) -> list[int]:
        """Ends of stages of at most `limit` that hand on the fewest bytes in sum; a shorter stage on a tie."""
        handed = np.where(self._first(0) <= limit, 0.0, np.inf)
        chosen: list[np.ndarray] = []
        for k in range(1, self.stages):
            cost = np.where(self._stage(k) <= limit, self._before(handed) + self.line.crossing[self.start], np.inf)
            chosen.append(cost.argmin(axis=0))
            handed = cost.min(axis=0)
        ends = [len(self.line.atoms)]
        for best in reversed(chosen):
            ends.append(ends[-1] - 1 - int(best[ends[-1] - 1]))
        return ends[::-1]

    def _stage(self, k: int) -> np.ndarray:
        """[d, j] times as stage k: what all but the last hand on crosses a link at the end of a chip."""
        return self.linked if self.rates.crosses(k) and k < self.stages - 1 else self.times

    def _first(self, k: int) -> np.ndarray:
        """[n] time of stage k when it begins with the first atom, by the atom it ends with."""
        return np.where(self.valid & (self.start == 0), self._stage(k), np.inf).min(axis=0)

    def _before(self, values: np.ndarray) -> np.ndarray:
        """[d, j] the value of the stages before, where they end where this stage starts."""
        return np.where(self.valid & (self.start > 0), values[self.start - 1], np.inf)
