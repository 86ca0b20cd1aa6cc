"""Chrome's trace event format (JSON), for Perfetto and other readers of it.

A core is a process and its rows are threads; so are the instance and each chip for what is theirs. Times are
microseconds with three decimals, from whole nanoseconds rounded down; the argument `ticks` is the exact duration.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from isa.program import Program
from isa.target import Target
from isa.trace import Trace
from profiler.exports.clock import to_ns
from profiler.exports.counters import Usage
from profiler.exports.events import events
from profiler.exports.model import Arg, Arrows, Counter, Events, Slices
from profiler.exports.output import new_file

CHUNK = 1 << 15  # events formatted at a time
FIRST_THREAD = 1 << 20  # beyond every process number: viewers call a thread of its process's number "main thread"
LANES = 1 << 10  # thread numbers of a row
GZIP = 16 + zlib.MAX_WBITS
_THOUSANDTHS = [f".{n:03d}" for n in range(1000)]


def write(
    trace: Trace, programs: Sequence[Program], target: Target, path: str | Path, *, level: str = "dma",
    window: tuple[float, float] | None = None, usage: Sequence[Usage] | None = None,
) -> None:
    """Write a JSON file; compressed when the name ends in `.gz`.

    Args: level, window, usage: as `profiler.exports.events.events`.
    Raises: ExportError for a level or window that does not exist; OSError.
    """
    shown = events(trace, programs, target, level=level, window=window, usage=usage)
    with new_file(path) as file:
        pieces = _file(_Writer(shown).lines(), _dumps({"tick_hz": trace.tick_hz, "notes": shown.notes}))
        _write(file, pieces, str(path).endswith(".gz"))


def _file(lines: Iterator[str], about: str) -> Iterator[str]:
    yield f'{{"displayTimeUnit":"ns","otherData":{about},"traceEvents":[\n'
    yield next(lines)
    for chunk in lines:
        yield ",\n" + chunk
    yield "\n]}\n"


def _write(file: IO[bytes], pieces: Iterator[str], compressed: bool) -> None:
    if not compressed:
        for piece in pieces:
            file.write(piece.encode("ascii"))
        return
    packer = zlib.compressobj(1, wbits=GZIP)  # without a time or a name in its header: the same bytes every time
    for piece in pieces:
        file.write(packer.compress(piece.encode("ascii")))
    file.write(packer.flush())


def _dumps(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _microseconds(ns: np.ndarray) -> list[str]:
    whole, rest = np.divmod(ns, 1000)
    return [f"{a}{_THOUSANDTHS[b]}" for a, b in zip(whole.tolist(), rest.tolist(), strict=True)]


class _Writer:
    """Events as text, many to a piece, each on a line."""

    def __init__(self, shown: Events) -> None:
        self.shown = shown
        self.quoted = [_dumps(text) for text in shown.names.texts]
        tracks = shown.tracks.all
        inner = {t.parent for t in tracks}
        # a heading is a process; a row is a thread of its heading
        self.process = [n + 1 if n in inner else track.parent + 1 for n, track in enumerate(tracks)]
        self.headings = sorted(inner - {-1})

    def lines(self) -> Iterator[str]:
        yield ",\n".join(self._metadata())
        for counter in self.shown.counters:
            yield ",\n".join(self._counter(counter))
        for slices in self.shown.slices:
            for first in range(0, len(slices.start), CHUNK):
                yield ",\n".join(self._slices(slices, slice(first, first + CHUNK)))
        by_kind = {s.kind: s for s in self.shown.slices}
        for arrows in self.shown.arrows:
            for first in range(0, len(arrows.source), CHUNK):
                yield ",\n".join(self._arrows(arrows, by_kind, slice(first, first + CHUNK)))

    def _metadata(self) -> Iterator[str]:
        tracks = self.shown.tracks.all
        order = {n: k for k, n in enumerate(self._in_order())}
        for n in self.headings or [0]:
            yield self._about("process_name", n + 1, None, {"name": self._path(n)})
            yield self._about("process_sort_index", n + 1, None, {"sort_index": order[n]})
        leaves = [np.unique(self._threads(s, slice(None))) for s in self.shown.slices]
        for thread in np.unique(np.concatenate(leaves)).tolist() if leaves else []:
            number, lane = divmod(thread - FIRST_THREAD, LANES)
            name = tracks[number].name + (f" ({lane + 1})" if lane else "")
            yield self._about("thread_name", self.process[number], thread, {"name": name})
            yield self._about("thread_sort_index", self.process[number], thread,
                              {"sort_index": order[number] * LANES + lane})

    @staticmethod
    def _about(what: str, process: int, thread: int | None, args: dict[str, Any]) -> str:
        place = {"pid": process} if thread is None else {"pid": process, "tid": thread}
        return _dumps({"ph": "M", "name": what, **place, "args": args})

    def _in_order(self) -> list[int]:
        """Tracks as the tree shows them from above."""
        tracks = self.shown.tracks.all
        below: dict[int, list[int]] = {}
        for n, track in enumerate(tracks):
            below.setdefault(track.parent, []).append(n)
        found, waiting = [], [0]
        while waiting:
            n = waiting.pop()
            found.append(n)
            waiting += sorted(below.get(n, ()), key=lambda k: (tracks[k].rank, k), reverse=True)
        return found

    def _path(self, number: int) -> str:
        """The heading's name with those above it, the instance left out unless alone."""
        tracks, names = self.shown.tracks.all, [self.shown.tracks.all[number].name]
        while tracks[number].parent > 0:
            number = tracks[number].parent
            names.insert(0, tracks[number].name)
        return " ".join(names)

    def _threads(self, slices: Slices, part: slice) -> np.ndarray:
        return FIRST_THREAD + slices.track[part] * LANES + slices.lane[part]

    def _slices(self, slices: Slices, part: slice) -> Iterator[str]:
        hz, quoted = self.shown.tick_hz, self.quoted
        start = to_ns(slices.start[part], hz)
        columns = [
            [self.process[t] for t in slices.track[part].tolist()], self._threads(slices, part).tolist(),
            _microseconds(start), _microseconds(to_ns(slices.end[part], hz) - start),
            [quoted[n] for n in slices.name[part].tolist()], [quoted[n] for n in slices.category[part].tolist()],
            self._args(slices, part)]
        event = '{"ph":"X","pid":%d,"tid":%d,"ts":%s,"dur":%s,"name":%s,"cat":%s,"args":{%s}}'
        return (event % row for row in zip(*columns, strict=True))

    def _args(self, slices: Slices, part: slice) -> list[str]:
        always = {n: a for n, a in slices.args.items() if a.present is None}
        template = ",".join(f'{_dumps(name)}:%s' for name in always)
        texts = [template % row for row in zip(*(self._values(a, part) for a in always.values()), strict=True)]
        for name, arg in slices.args.items():
            if arg.present is not None:
                where = np.flatnonzero(arg.present[part])
                values = self._values(Arg(arg.values[part][where], arg.text), slice(None))
                for row, value in zip(where.tolist(), values, strict=True):
                    texts[row] += f',"{name}":{value}'
        return texts

    def _values(self, arg: Arg, part: slice) -> list[Any]:
        values = arg.values[part].tolist()
        return [self.quoted[v] for v in values] if arg.text else values

    def _arrows(self, arrows: Arrows, by_kind: dict[str, Slices], part: slice) -> Iterator[str]:
        """Each from the start of the producer, which is surely within it, to the start of the waiting instruction."""
        ends = (('"s"', arrows.kind, arrows.source), ('"f","bp":"e"', "instructions", arrows.target))
        for letter, kind, rows in ends:
            slices, at = by_kind[kind], rows[part]
            columns = ([self.process[t] for t in slices.track[at].tolist()],
                       (FIRST_THREAD + slices.track[at] * LANES + slices.lane[at]).tolist(),
                       _microseconds(to_ns(slices.start[at], self.shown.tick_hz)), arrows.target[part].tolist())
            event = f'{{"ph":{letter},"cat":"wait","name":"wait","pid":%d,"tid":%d,"ts":%s,"id":%d}}'
            yield from (event % row for row in zip(*columns, strict=True))

    def _counter(self, counter: Counter) -> Iterator[str]:
        track = self.shown.tracks.all[counter.track]
        name, unit = _dumps(track.name), _dumps(counter.unit)
        at = _microseconds(to_ns(counter.tick, self.shown.tick_hz))
        event = f'{{"ph":"C","pid":{self.process[counter.track]},"ts":%s,"name":%s,"args":{{%s:%s}}}}'
        return (event % (ts, name, unit, _dumps(value))
                for ts, value in zip(at, counter.value.tolist(), strict=True))
