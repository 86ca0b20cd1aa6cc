"""What timeline viewers show, before any format: a tree of tracks, slices on them, arrows between slices, counters.

Times are ticks of the trace. Texts are numbers into `Events.names.texts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from profiler.exports.text import Names

# ranks among siblings: what stands above what
ABOVE, FIRST_CHILD, QUEUES, COUNTERS = 0, 10, 1000, 10000


@dataclass(frozen=True)
class Track:
    """A row of the viewer, or a heading of rows. `parent`: number of a track, -1 for the root."""

    name: str
    parent: int
    rank: int


class Tracks:
    """Tracks by number; each is made when first asked for."""

    def __init__(self, instance: str) -> None:
        self.all = [Track(instance, -1, 0)]
        self._numbers: dict[tuple[str, int], int] = {}

    def number(self, name: str, parent: int = 0, rank: int = 0) -> int:
        """Number of the track of that name below `parent`."""
        found = self._numbers.setdefault((name, parent), len(self.all))
        if found == len(self.all):
            self.all.append(Track(name, parent, rank))
        return found


@dataclass(frozen=True)
class Arg:
    """A fact about each slice: [n] int64 values, or numbers of texts; `present` [n] bool where not all have it."""

    values: np.ndarray
    text: bool = False
    present: np.ndarray | None = None

    def of(self, rows: np.ndarray) -> Arg:
        """The same of some slices."""
        return Arg(self.values[rows], self.text, None if self.present is None else self.present[rows])


@dataclass(frozen=True)
class Slices:
    """Slices of one kind, by (start, end).

    Attributes:
        kind: "requests", "runs", "host", "layers", "instructions" or "transfers".
        rows: [n] row of the trace's table each is made of; of layers the first instruction.
        track: [n] number of the track.
        lane: [n] within the track; slices of one lane do not overlap.
        start, end: [n] ticks.
        name, category: [n] numbers of texts.
        args: by name.
    """

    kind: str
    rows: np.ndarray
    track: np.ndarray
    lane: np.ndarray
    start: np.ndarray
    end: np.ndarray
    name: np.ndarray
    category: np.ndarray
    args: Mapping[str, Arg]


@dataclass(frozen=True)
class Arrows:
    """From producers to the instructions that waited for them: [n] numbers of slices of the two kinds."""

    kind: str  # of the producers
    source: np.ndarray
    target: np.ndarray  # slices of "instructions"; each is waited for by one at most


@dataclass(frozen=True)
class Counter:
    """A curve: the value from each tick until the next. `unit` is part of what the viewer shows."""

    track: int
    unit: str
    tick: np.ndarray
    value: np.ndarray


@dataclass
class Events:
    """All of it. `counters` also hang in the tree of `tracks`; `notes` are for the reader."""

    tracks: Tracks
    names: Names
    tick_hz: int
    notes: list[str]
    slices: list[Slices] = field(default_factory=list)
    arrows: list[Arrows] = field(default_factory=list)
    counters: list[Counter] = field(default_factory=list)
