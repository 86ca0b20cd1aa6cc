"""Perfetto's own format, `.pftrace`: track events with interned names, written without its libraries.

Field numbers: protos/perfetto/trace of github.com/google/perfetto. Slices are BEGIN and END packets in order of time;
on each track an END stands before the BEGIN of the same instant, as readers demand. Timestamps are whole nanoseconds,
rounded down; the argument `ticks` of each slice has its exact duration, and the root track says how long a tick is.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from isa.program import Program
from isa.target import Target
from isa.trace import Trace
from profiler.exports.clock import to_ns
from profiler.exports.counters import Usage
from profiler.exports.events import events
from profiler.exports.model import Counter, Events, Slices
from profiler.exports.output import new_file
from profiler.exports.protobuf import Messages, field, interleaved

# TracePacket
PACKET, TIMESTAMP, SEQUENCE, EVENT, INTERNED, FLAGS, CLEARED, COMPRESSED, TRACK = 1, 8, 10, 11, 12, 13, 41, 50, 60
SEQUENCE_ID, STATE_CLEARED, NEEDS_STATE = 1, 1, 2
# TrackDescriptor, CounterDescriptor
UUID, NAME, PARENT, COUNTER, ORDERING, RANK, DESCRIPTION = 1, 2, 5, 8, 11, 12, 14
EXPLICIT_ORDER, UNIT_NAME, SHARE_KEY = 3, 6, 7
# TrackEvent
CATEGORY, ANNOTATION, TYPE, EVENT_NAME, ON_TRACK, COUNT, FLOW, FLOW_END, DOUBLE_COUNT = 3, 4, 9, 10, 11, 30, 47, 48, 44
BEGIN, END, COUNTER_VALUE = 1, 2, 4
# DebugAnnotation, InternedData, its entries
ANNOTATION_NAME, ANNOTATION_INT, ANNOTATION_TEXT = 1, 4, 17
CATEGORIES, EVENT_NAMES, ANNOTATION_NAMES, TEXTS = 1, 2, 3, 29
IID, ENTRY = 1, 2

CHUNK = 1 << 15  # events encoded at a time: some megabytes
LANES = 1 << 31  # more than a track has
MOST_ARROWS = 1 << 19  # of a chunk, columns of arrows times rows


def write(
    trace: Trace, programs: Sequence[Program], target: Target, path: str | Path, *, level: str = "dma",
    window: tuple[float, float] | None = None, usage: Sequence[Usage] | None = None, compress: bool = True,
) -> None:
    """Write a `.pftrace` file.

    Args: level, window, usage: as `profiler.exports.events.events`. compress: packets deflated, a tenth of the size.
    Raises: ExportError for a level or window that does not exist; OSError.
    """
    shown = events(trace, programs, target, level=level, window=window, usage=usage)
    with new_file(path) as file:
        for packets in _packets(shown):
            _write(file, packets, compress)


def _write(file: IO[bytes], packets: bytes, compress: bool) -> None:
    file.write(field(PACKET, field(COMPRESSED, zlib.compress(packets, 1))) if compress else packets)


def _packets(shown: Events) -> Iterator[bytes]:
    """Whole packets, in pieces."""
    leaves = _leaves(shown)
    args = {name: k + 1 for k, name in enumerate(sorted({n for s in shown.slices for n in s.args}))}
    yield _state(shown, args)
    yield b"".join(_descriptors(shown, leaves))
    for counter in shown.counters:
        yield _counter(shown, counter)
    for slices in sorted(shown.slices, key=lambda s: s.kind == "instructions"):  # producers before what they keep
        yield from _Writer(shown, slices, leaves, args).chunks()


# ---- what stands before the events
def _state(shown: Events, args: Mapping[str, int]) -> bytes:
    """The packet with all names."""
    texts = [text.encode() for text in shown.names.texts]
    used = [(CATEGORIES, {int(c) for s in shown.slices for c in np.unique(s.category)}),
            (EVENT_NAMES, {int(c) for s in shown.slices for c in np.unique(s.name)}),
            (TEXTS, {int(c) for s in shown.slices for a in s.args.values() if a.text for c in np.unique(a.values)})]
    data = [field(kind, field(IID, k + 1) + field(ENTRY, texts[k])) for kind, ks in used for k in sorted(ks)]
    data += [field(ANNOTATION_NAMES, field(IID, k) + field(ENTRY, n.encode())) for n, k in args.items()]
    return field(PACKET, field(SEQUENCE, SEQUENCE_ID) + field(FLAGS, STATE_CLEARED) + field(CLEARED, 1)
                 + field(INTERNED, b"".join(data)))


def _leaves(shown: Events) -> dict[int, int]:
    """Number of every lane beyond the first of a track, by `_leaf`: they follow those of the tracks."""
    found = np.unique(np.concatenate([_leaf(s) for s in shown.slices] or [np.zeros(0, np.int64)]))
    extra = found[found % LANES > 0].tolist()
    return {leaf: len(shown.tracks.all) + k for k, leaf in enumerate(extra)}


def _leaf(slices: Slices) -> np.ndarray:
    """One number for the track and lane of each slice."""
    return slices.track * LANES + slices.lane


def _descriptors(shown: Events, leaves: Mapping[int, int]) -> Iterator[bytes]:
    """A packet for each track. Lanes are siblings of the same name, which viewers show as one row."""
    units = {c.track: c.unit for c in shown.counters}
    for number, track in enumerate(shown.tracks.all):
        about = "; ".join(shown.notes) if track.parent < 0 else ""
        yield _descriptor(number, track.name, track.parent, track.rank, units.get(number), about)
    for leaf, number in leaves.items():
        track = shown.tracks.all[leaf // LANES]
        yield _descriptor(number, track.name, track.parent, track.rank)


def _descriptor(number: int, name: str, parent: int, rank: int, unit: str | None = None, about: str = "") -> bytes:
    data = field(UUID, number + 1) + field(NAME, name.encode()) + field(ORDERING, EXPLICIT_ORDER) + field(RANK, rank)
    if parent >= 0:
        data += field(PARENT, parent + 1)
    if about:
        data += field(DESCRIPTION, about.encode())
    if unit is not None:
        data += field(COUNTER, field(UNIT_NAME, unit.encode()))
    return field(PACKET, field(SEQUENCE, SEQUENCE_ID) + field(TRACK, data))


# ---- events
def _counter(shown: Events, counter: Counter) -> bytes:
    rows = len(counter.tick)
    event = Messages(rows).varint(TYPE, COUNTER_VALUE).varint(ON_TRACK, counter.track + 1)
    if counter.value.dtype.kind == "f":
        event.fixed64(DOUBLE_COUNT, counter.value)
    else:
        event.varint(COUNT, counter.value)
    return _packet(to_ns(counter.tick, shown.tick_hz), event).packed().tobytes()


def _packet(at: np.ndarray, event: Messages) -> Messages:
    rows = event.rows
    packet = Messages(rows).varint(TIMESTAMP, at).varint(SEQUENCE, SEQUENCE_ID).varint(FLAGS, NEEDS_STATE)
    return Messages(rows).message(PACKET, packet.message(EVENT, event))


@dataclass
class _Writer:
    """The events of one kind of slices."""

    shown: Events
    slices: Slices
    leaves: Mapping[int, int]
    args: Mapping[str, int]

    def chunks(self) -> Iterator[bytes]:
        s = self.slices
        count = len(s.start)
        self.uuid = self._uuids()
        self.texts = {name: self._text_notes(name) for name, arg in s.args.items() if arg.text}
        self.outgoing = self._outgoing()
        self.incoming = np.zeros(count, np.uint64)
        if s.kind == "instructions":
            for arrows in self.shown.arrows:
                self.incoming[arrows.target] = arrows.target + 1
        order = self._order()
        most = max((int(np.diff(self.outgoing[0]).max(initial=0))), 1)
        step = max(1, min(CHUNK, MOST_ARROWS // most))
        for first in range(0, 2 * count, step):
            yield self._encode(order[first:first + step])

    def _uuids(self) -> np.ndarray:
        leaves, inverse = np.unique(_leaf(self.slices), return_inverse=True)
        numbers = [self.leaves.get(leaf, leaf // LANES) + 1 for leaf in leaves.tolist()]
        return np.array(numbers, np.int64)[inverse]

    def _order(self) -> np.ndarray:
        """Events by time: 2k is the begin of slice k, 2k + 1 its end; in every lane as they follow each other."""
        s = self.slices
        by_lane = np.argsort(self.uuid, kind="stable")
        numbered = np.stack([2 * by_lane, 2 * by_lane + 1], axis=1).reshape(-1)
        ticks = np.stack([s.start[by_lane], s.end[by_lane]], axis=1).reshape(-1)
        return numbered[np.argsort(ticks, kind="stable")]

    def _outgoing(self) -> tuple[np.ndarray, np.ndarray]:
        """Arrows that leave each slice: where those of slice k begin [n + 1], and their ids."""
        mine = [a for a in self.shown.arrows if a.kind == self.slices.kind]
        source = np.concatenate([a.source for a in mine]) if mine else np.zeros(0, np.int64)
        target = np.concatenate([a.target for a in mine]) if mine else source
        order = np.argsort(source, kind="stable")
        begin = np.searchsorted(source[order], np.arange(len(self.slices.start) + 1))
        return begin, (target[order] + 1).astype(np.uint64)

    def _encode(self, chosen: np.ndarray) -> bytes:
        begins = chosen & 1 == 0
        return interleaved(self._begin(chosen[begins] >> 1), self._end(chosen[~begins] >> 1), begins)

    def _begin(self, row: np.ndarray) -> Messages:
        s = self.slices
        event = Messages(len(row)).varint(TYPE, BEGIN).varint(ON_TRACK, self.uuid[row])
        event.varint(EVENT_NAME, s.name[row] + 1).varint(CATEGORY, s.category[row] + 1)
        for name, arg in s.args.items():
            where = None if arg.present is None else arg.present[row]
            if arg.text:
                event.chosen(self.texts[name], arg.values[row], where)
            else:
                values = arg.values[row] if where is None else np.where(where, arg.values[row], 0)
                event.message(ANNOTATION, self._note(name, values, ANNOTATION_INT), where)
        self._arrows(event, row)
        return _packet(to_ns(s.start[row], self.shown.tick_hz), event)

    def _end(self, row: np.ndarray) -> Messages:
        event = Messages(len(row)).varint(TYPE, END).varint(ON_TRACK, self.uuid[row])
        return _packet(to_ns(self.slices.end[row], self.shown.tick_hz), event)

    def _note(self, name: str, values: np.ndarray, kind: int) -> Messages:
        return Messages(len(values)).varint(ANNOTATION_NAME, self.args[name]).varint(kind, values)

    def _text_notes(self, name: str) -> Messages:
        """The annotation `name` with each text."""
        numbers = np.arange(len(self.shown.names.texts)) + 1
        return Messages(len(numbers)).message(ANNOTATION, self._note(name, numbers, ANNOTATION_TEXT))

    def _arrows(self, event: Messages, row: np.ndarray) -> None:
        begin, ids = self.outgoing
        count = begin[row + 1] - begin[row]
        for k in range(int(count.max(initial=0))):
            where = count > k
            event.fixed64(FLOW, ids[np.where(where, begin[row] + k, 0)], where)
        event.fixed64(FLOW_END, self.incoming[row], self.incoming[row] > 0)
