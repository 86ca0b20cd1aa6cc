"""What a word waited for, tick by tick: its cause followed to the word or transfer that ended the wait."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from isa.target import Target
from isa.trace import Cause, Trace
from profiler.analyses.engine_time import WAIT, Segments, Stall, issued
from profiler.analyses.posts import Posts

_OF_CAUSE = {Cause.NONE: Stall.IDLE, Cause.RAW: Stall.RAW, Cause.PE_SLOT: Stall.PE_SLOT}


@dataclass(frozen=True, eq=False)
class Pieces:
    """Parts of waits.

    Attributes:
        owner: [p] number the caller gave the wait.
        start, end, kind: [p] ticks; a `Stall`.
        on: [p] row of the instruction waited for while its engine has not issued it yet; -1: the kind is all there is.
        queued: [p] row of the transfer that was in its queue; else -1.
    """

    owner: np.ndarray
    start: np.ndarray
    end: np.ndarray
    kind: np.ndarray
    on: np.ndarray
    queued: np.ndarray

    def take(self, rows: np.ndarray) -> Pieces:
        """Some of them."""
        return Pieces(*(getattr(self, f.name)[rows] for f in fields(self)))


def joined(parts: list[Pieces]) -> Pieces:
    """All pieces of several lists, without empty ones."""
    kept = []
    for part in parts:
        rows = np.flatnonzero(part.end > part.start)
        if len(rows):
            kept.append(part if len(rows) == len(part.end) else part.take(rows))
    if len(kept) == 1:
        return kept[0]
    chosen = kept or [parts[0].take(np.zeros(0, np.int64))]
    return Pieces(*(np.concatenate([getattr(p, f.name) for p in chosen]) for f in fields(Pieces)))


class Causes:
    """Explains waits of one trace. `posts`: where given, waits for posts before those for ports are told apart."""

    def __init__(self, trace: Trace, target: Target, posts: Posts | None = None) -> None:
        self._posts = posts
        self._words, self._transfers = trace.instructions, trace.transfers
        self._core, self._begin = trace.runs["core"], trace.runs["start"]
        self._length = trace.runs["end"] - trace.runs["start"]
        self.issued = issued(trace, target)
        self.transfer_of = np.full(len(self._words["start"]), -1, np.int64)
        self.transfer_of[self._transfers["op"]] = np.arange(len(self._transfers["op"]))

    def direct(self, owner: np.ndarray, start: np.ndarray, end: np.ndarray, word: np.ndarray) -> Pieces:
        """Parts of waits of words; [start, end) may be a part of the wait."""
        cause, op = self._words["cause"][word], self._words["cause_op"][word].astype(np.int64)
        cause = np.where((op < 0) & (cause != Cause.NONE), Cause.NONE, cause)  # not recorded
        cause = np.where((cause == Cause.DMA) & (self.transfer_of[op] < 0), Cause.SEMAPHORE, cause)
        parts = [self._constant(cause, k, stall, owner, start, end) for k, stall in _OF_CAUSE.items()]
        for which, explain in ((Cause.SEMAPHORE, self._semaphore), (Cause.DMA, self._dma)):
            rows = np.flatnonzero(cause == which)
            parts += explain(owner[rows], start[rows], end[rows], op[rows])
        rows = np.flatnonzero(cause == Cause.PORT)
        return joined([*parts, *self._port(owner[rows], start[rows], end[rows], word[rows])])

    def root(self, segments: Segments, pieces: Pieces) -> Pieces:
        """The same time by what the engine waited for was itself kept from: until an engine works, or none does.

        A wait for a word that its engine has not issued yet is followed to what that engine does meanwhile. No two
        engines wait for each other, so there are no more steps than engines.
        """
        final = []
        for _ in range(len(Stall)):
            rows = np.flatnonzero(pieces.on >= 0)
            final.append(pieces.take(np.flatnonzero(pieces.on < 0)) if len(rows) else pieces)
            if not len(rows):
                break
            pieces = self._followed(segments, pieces.take(rows))
        else:
            final.append(pieces)
        found = joined(final)
        rows, rest = np.flatnonzero(found.queued >= 0), np.flatnonzero(found.queued < 0)
        ahead = self.in_queue(found.owner[rows], found.start[rows], found.end[rows], found.queued[rows])
        return joined([found.take(rest), ahead])

    def ends(self, owner: np.ndarray, start: np.ndarray, end: np.ndarray, run: np.ndarray) -> Pieces:
        """Parts of times behind an engine's last word, by what the end of the run waited for: its last event."""
        words, moves = self._words, self._transfers
        finish = self._begin + self._length
        last_word, last_move = np.full(len(finish), -1), np.full(len(finish), -1)
        for found, table, ended in ((last_word, words, "retire"), (last_move, moves, "end")):
            rows = np.flatnonzero(table[ended] == finish[table["run"]])
            found[table["run"][rows]] = rows
        by_word = np.flatnonzero(last_word[run] >= 0)
        op = last_word[run[by_word]]
        engine = np.uint8(Stall.TENSOR) + words["engine"][op]
        parts = [_pieces(owner[by_word], start[by_word], end[by_word], engine, op)]
        by_move = np.flatnonzero((last_word[run] < 0) & (last_move[run] >= 0))
        parts += self._dma(owner[by_move], start[by_move], end[by_move], moves["op"][last_move[run[by_move]]])
        rest = np.flatnonzero((last_word[run] < 0) & (last_move[run] < 0))
        return joined([*parts, _pieces(owner[rest], start[rest], end[rest], Stall.END_OF_STREAM)])

    def _followed(self, segments: Segments, pieces: Pieces) -> Pieces:
        """What the engines of the words waited for do meanwhile."""
        engine = self._words["engine"][pieces.on]
        core = np.searchsorted(segments.cores, self._core[self._words["run"][pieces.on]])
        late = np.maximum(np.minimum(self.issued[pieces.on], pieces.end), pieces.start)
        flight = _pieces(pieces.owner, late, pieces.end, Stall.RAW)
        some = np.flatnonzero(late > pieces.start)
        interval, found = segments.overlaps((core * 5 + engine)[some], pieces.start[some], late[some])
        row = some[interval]
        start = np.maximum(pieces.start[row], segments.start[found])
        end = np.minimum(late[row], segments.end[found])
        kind = segments.kind[found]
        kind = np.where(kind == Stall.ACTIVE, np.uint8(Stall.TENSOR) + engine[row], kind)
        waits = np.flatnonzero(kind == WAIT)
        rest = np.flatnonzero(kind != WAIT)
        settled = _pieces(pieces.owner[row[rest]], start[rest], end[rest], kind[rest])
        behind = self.direct(pieces.owner[row[waits]], start[waits], end[waits], segments.op[found[waits]])
        return joined([flight, settled, behind])

    def _constant(self, cause: np.ndarray, which: Cause, stall: Stall, owner: np.ndarray, start: np.ndarray,
                  end: np.ndarray) -> Pieces:  # fmt: skip
        rows = np.flatnonzero(cause == which)
        return _pieces(owner[rows], start[rows], end[rows], stall)

    def _port(self, owner: np.ndarray, start: np.ndarray, end: np.ndarray, word: np.ndarray) -> list[Pieces]:
        """Until the word's own waits were met, as any wait for a post; then the port."""
        if self._posts is None or not len(word):
            return [_pieces(owner, start, end, Stall.PORT)]
        tick, op = self._posts.met(word)
        met = np.clip(tick, start, end)
        by_dma = (op >= 0) & (self.transfer_of[op] >= 0)
        parts = [_pieces(owner, met, end, Stall.PORT)]
        for mine, explain in ((~by_dma & (op >= 0), self._semaphore), (by_dma, self._dma)):
            rows = np.flatnonzero(mine)
            parts += explain(owner[rows], start[rows], met[rows], op[rows])
        return parts

    def _semaphore(self, owner: np.ndarray, start: np.ndarray, end: np.ndarray, op: np.ndarray) -> list[Pieces]:
        """Until the word has retired, then the signal."""
        retired = np.clip(self._words["retire"][op], start, end)
        engine = np.uint8(Stall.TENSOR) + self._words["engine"][op]
        return [_pieces(owner, start, retired, engine, op), _pieces(owner, retired, end, Stall.SIGNAL)]

    def _dma(self, owner: np.ndarray, start: np.ndarray, end: np.ndarray, op: np.ndarray) -> list[Pieces]:
        """Until the trigger is issued, and then the ways of its transfer, in order of time."""
        x, table = self.transfer_of[op], self._transfers
        engine = np.uint8(Stall.TENSOR) + self._words["engine"][op]
        parts, reached = [], start
        for until, kind, on in (
            (self._words["start"][op], engine, op),
            (table["enqueue"][x], Stall.DMA_START, None),
            (table["start"][x], Stall.DMA_QUEUE, None),
        ):
            now = np.clip(until, reached, end)
            parts.append(_pieces(owner, reached, now, kind, on, x if kind is Stall.DMA_QUEUE else None))
            reached = now
        done = np.clip(table["end"][x], reached, end)
        return [*parts, *self._service(x, owner, reached, done), _pieces(owner, done, end, Stall.SIGNAL)]

    def _service(self, x: np.ndarray, owner: np.ndarray, start: np.ndarray, end: np.ndarray) -> list[Pieces]:
        """Times in which a transfer is served."""
        parts, reached = [], start
        for until, kind in zip(self._served(x, start, end), (Stall.DMA_SERVICE, Stall.DRAM, Stall.LINK)):
            parts.append(_pieces(owner, reached, until, kind))
            reached = until
        return parts

    def in_queue(self, owner: np.ndarray, start: np.ndarray, end: np.ndarray, x: np.ndarray) -> Pieces:
        """Times of transfers in a queue, by what became of the one ahead; DMA_QUEUE where that was nearly done."""
        table = self._transfers
        queue = table["run"].astype(np.int64) * 256 + table["queue"]
        order = np.lexsort((table["start"], queue))
        width = int(self._length.max(initial=0)) + 1
        key = queue * width - self._begin[table["run"]]  # plus a time of the run: ascending over queues and time
        starts = (key + table["start"])[order]
        first = np.searchsorted(starts, key[x] + start, side="right") - 1
        count = np.maximum(np.searchsorted(starts, key[x] + end, side="left") - first, 0)
        interval = np.repeat(np.arange(len(x)), count)
        place = np.repeat(first - np.cumsum(count) + count, count) + np.arange(len(interval))
        ahead = order[np.maximum(place, 0)]
        mine = (place >= 0) & (queue[ahead] == queue[x][interval])
        last = np.append(np.diff(interval) > 0, True)[: len(interval)]
        until = np.append(table["start"][ahead], 0)[1:]
        begin = np.where(mine, np.maximum(table["start"][ahead], start[interval]), start[interval])
        finish = np.where(last, end[interval], until)
        done = np.where(mine, np.clip(table["end"][ahead], begin, finish), begin)
        service = self._service(ahead, owner[interval], begin, done)
        return joined([*service, _pieces(owner[interval], done, finish, Stall.DMA_QUEUE)])

    def _served(self, x: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ends of the parts for service, DRAM and links. Where in a transfer it waited is not recorded: evenly."""
        table, part = self._transfers, end - start
        whole = np.maximum(table["end"][x] - table["start"][x], 1)
        dram = np.minimum(_scaled(part, table["dram_wait"][x], whole), part)
        link = np.minimum(_scaled(part, table["link_wait"][x], whole), part - dram)
        return end - dram - link, end - link, end


def _scaled(part: np.ndarray, number: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part * number / whole, rounded down, also where the product does not fit 64 bits."""
    return np.where(part == whole, number, np.floor(part * (number / whole)).astype(np.int64))


def _pieces(owner: np.ndarray, start: np.ndarray, end: np.ndarray, kind: Stall | np.ndarray,
            on: np.ndarray | None = None, queued: np.ndarray | None = None) -> Pieces:  # fmt: skip
    kinds, none = np.broadcast_to(np.asarray(kind, np.uint8), owner.shape), np.full(len(owner), -1, np.int64)
    return Pieces(owner, start, end, kinds, none if on is None else on, none if queued is None else queued)
