"""Which bytes of SBUF and PSUM each word and transfer of a stage touches, and how long the values there are needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isa import dtypes, word
from isa.program import Stage
from isa.spec import SPEC
from isa.word import ENGINES
from profiler import work

_MOST_CELLS = 4_000_000  # of all accesses of a stage; more are joined to coarser ones
_SHIFT = word.SBUF_PARTITION_STRIDE.bit_length() - 1
_TWO_RESULTS = [i.opcode for i in SPEC if any(s.field == "src1" and s.role == "write" for s in i.operands)]


@dataclass(frozen=True)
class Accesses:
    """Accesses of a stage to one memory, engines in order, words before transfers.

    Attributes:
        op: [a] place of the word, or of the transfer's trigger, among all words of the stage.
        writes: [a] bool; moves: [a] bool, whether a transfer does it.
        low, high: [a] bytes of a partition, over all partitions alike.
    """

    op: np.ndarray
    writes: np.ndarray
    moves: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Values:
    """What a run keeps in one memory.

    Attributes:
        first, last: [v] accesses (rows of `Accesses`): the first write of a value and its last use.
        bytes: [v] of a partition.
        held: bytes of a partition that runs read but never write: pinned weights, and what the stage before hands over.
    """

    first: np.ndarray
    last: np.ndarray
    bytes: np.ndarray
    held: int


def accesses(stage: Stage, space: int) -> Accesses:
    """All accesses of a stage's streams to SBUF or PSUM."""
    streams = [stage.stream(e) for e in ENGINES]
    begin = np.cumsum([0, *map(len, streams)])
    parts: list[tuple[np.ndarray, ...]] = []
    for stream, base in zip(streams, begin):
        for field in ("dst", "src0", "src1", "ptr0", "ptr1"):
            rows = np.flatnonzero((stream[field]["space"] & 3) == space)
            if not len(rows):
                continue
            written = np.full(len(rows), field == "dst")
            if field == "src1":
                written = np.isin(stream["opcode"][rows], _TWO_RESULTS)
            parts.append((rows + base, written, np.zeros(len(rows), bool), *_extent(stream[field][rows])))
    if space == word.SBUF and len(stage.descriptors):
        parts += _of_transfers(stage, streams, begin)
    if not parts:
        none = np.zeros(0, np.int64)
        return Accesses(none, none.astype(bool), none.astype(bool), none, none)
    return Accesses(*(np.concatenate(c) for c in zip(*parts, strict=True)))


def _extent(operand: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First byte of a partition that an operand or pointer touches, and the one behind its last."""
    start, size = operand["start"].astype(np.int64), dtypes.SIZES[operand["dtype"]].astype(np.int64)
    if operand.dtype == word.POINTER:
        return start, start + size
    reach = operand["step"].astype(np.int64) * (np.maximum(operand["size"], 1).astype(np.int64) - 1) * size[:, None]
    return start + np.minimum(reach, 0).sum(axis=1), start + size + np.maximum(reach, 0).sum(axis=1)


def _of_transfers(stage: Stage, streams: list[np.ndarray], begin: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Accesses of the descriptors of every dma_trigger to SBUF."""
    trigger = work.opcode("dma_trigger")
    ops = np.concatenate([np.flatnonzero(s["opcode"] == trigger) + b for s, b in zip(streams, begin)])
    words = np.concatenate([s[s["opcode"] == trigger] for s in streams])
    count = words["count"].astype(np.int64)
    op = np.repeat(ops, count)
    descriptor = np.repeat(words["arg"].astype(np.int64) - np.cumsum(count) + count, count) + np.arange(len(op))
    d = stage.descriptors
    parts: list[tuple[np.ndarray, ...]] = []
    for side, written in (("dst", True), ("src", False)):
        size = dtypes.SIZES[d[f"{side}_dtype"]].astype(np.int64)
        steps = d[f"{side}_step"]
        inside = steps - (((steps + (1 << (_SHIFT - 1))) >> _SHIFT) << _SHIFT)
        reach = inside * (np.maximum(d["size"], 1).astype(np.int64) - 1)
        start = (d[f"{side}_off"] & np.uint64(word.SBUF_PARTITION_STRIDE - 1)).astype(np.int64)
        low, high = start + np.minimum(reach, 0).sum(axis=1), start + size + np.maximum(reach, 0).sum(axis=1)
        rows = np.flatnonzero(d[f"{side}_var"][descriptor] == word.SBUF_VARIABLE)
        which = descriptor[rows]
        parts.append((op[rows], np.full(len(rows), written), np.ones(len(rows), bool), low[which], high[which]))
    return parts


def values(found: Accesses, start: np.ndarray, end: np.ndarray) -> Values:
    """What is written and until when it is read, in the order of a run.

    A value is what is written without a read between, and lives until the last read before the next write.

    Args: start, end: [a] ticks of each access in some run.
    """
    cell, access, width = _cells(found)
    order = np.lexsort((~found.writes[access], start[access], cell))
    cell, access = cell[order], access[order]
    writes = found.writes[access]
    new_cell = np.diff(cell, prepend=-1) != 0
    after_read = ~np.concatenate([[True], writes[:-1]]) if len(writes) else writes
    begins = new_cell | (writes & after_read)
    group = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)
    ends = end[access]
    by_end = np.lexsort((ends, group))
    last = by_end[np.append(np.diff(group[by_end]) > 0, True)] if len(group) else first
    kept = writes[first]
    only_read = np.ones(len(width), bool)
    only_read[cell[writes]] = False
    touched = np.zeros(len(width), bool)
    touched[cell] = True
    pairs = access[first[kept]] * (len(start) + 1) + access[last[kept]]
    distinct, place = np.unique(pairs, return_inverse=True)
    size = np.bincount(place.reshape(-1), weights=width[cell[first[kept]]], minlength=len(distinct)).astype(np.int64)
    held = int(width[only_read & touched].sum())
    return Values(distinct // (len(start) + 1), distinct % (len(start) + 1), size, held)


def _cells(found: Accesses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The partition cut at every start and end of an access: (cell, access) pairs, and the bytes of each cell."""
    grain = 1
    while True:
        low, high = found.low // grain, -(-found.high // grain)
        cuts = np.unique(np.concatenate([low, high]))
        first, count = np.searchsorted(cuts, low), np.searchsorted(cuts, high) - np.searchsorted(cuts, low)
        if int(count.sum()) <= _MOST_CELLS or grain > word.SBUF_PARTITION_STRIDE:
            break
        grain = max(32, grain * 4)
    access = np.repeat(np.arange(len(low)), count)
    cell = np.repeat(first - np.cumsum(count) + count, count) + np.arange(len(access))
    return cell, access, np.diff(cuts, append=cuts[-1:]) * grain
