"""Races: two accesses to common bytes, one of them a write, that no chain of necessary posts orders.

The scan runs along one execution and keeps, per bucket of bytes, the accesses a later one could still race with. An
access is forgotten when a later one stands for it: ordered after it, touching all its bytes of the bucket, and a write
unless both are reads. Whatever races with the forgotten one then races with its successor or is ordered after both.
Words of one engine never race: the hardware interlocks them. A transfer is nobody's engine, not even of its trigger's.
"""
from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from isa.word import ENGINES
from neuronsim._core import check_races
from neuronsim._core.check_order import Clocks
from neuronsim.check.flat import Flat
from neuronsim.check.regions import WRITE, Accesses
from neuronsim.check.report import Finding, Reporter

_BUCKET_BITS = 10  # buckets of 1 KiB of a partition
_VARIABLE_BUCKETS = 512  # buckets per DRAM variable


@dataclass(frozen=True)
class Board:
    """What a race scan needs besides clocks: accesses that can conflict, and the layout of the buckets."""

    accesses: Accesses
    last_access: np.ndarray  # int64[5], last op of each engine with an access, -1: none
    last_transfer: np.ndarray
    base: np.ndarray  # int64 per memory, first bucket
    shift: np.ndarray  # int32 per memory, bytes of a bucket as a power of two
    buckets: int


def board(flat: Flat, accesses: Accesses, memory_bytes: np.ndarray) -> Board:
    """Prepare the race scan. Memories nobody writes cannot be raced for and are left out."""
    records = accesses.records
    written = np.zeros(len(memory_bytes), dtype=bool)
    written[records["mem"][records["flags"] & WRITE != 0]] = True
    kept = np.ascontiguousarray(records[written[records["mem"]]])
    of_op = np.searchsorted(kept["op"], np.arange(len(flat.words) + 1)).astype(np.int64)
    used = np.flatnonzero(np.diff(of_op))
    last = np.full((2, len(ENGINES)), -1, dtype=np.int64)
    for e in range(len(ENGINES)):
        mine = used[flat.engine[used] == e]
        last[0, e] = mine.max(initial=-1)
        last[1, e] = mine[flat.transfer[mine] >= 0].max(initial=-1)
    shift = np.full(len(memory_bytes), _BUCKET_BITS, dtype=np.int32)
    for m in range(2, len(memory_bytes)):
        shift[m] = max(_BUCKET_BITS, (int(memory_bytes[m]) // _VARIABLE_BUCKETS).bit_length())
    counts = (np.maximum(memory_bytes, 1) - 1 >> shift) + 1
    counts[~written] = 0
    base = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Board(Accesses(kept, of_op), last[0], last[1], base[:-1].copy(), shift, int(base[-1]))


def pairs(flat: Flat, board: Board, order: np.ndarray, clocks: Clocks, limit: int, *,
          prune: bool = True) -> list[tuple[int, int]]:
    """Pairs of access numbers of `board.accesses` that race, at most `limit`; all of them without `prune`."""
    stamp = np.full(len(board.accesses.records), -1, dtype=np.int32)
    return check_races.races(
        board.accesses.raw, board.accesses.of_op, order, clocks, flat.offsets, flat.engine, flat.transfer,
        board.last_access, board.last_transfer, board.base, board.shift, stamp, board.buckets, limit, prune,
    )


def find(flat: Flat, board: Board, order: np.ndarray, clocks: Clocks, reporter: Reporter, limit: int,
         early: Collection[tuple[int, str]] = ()) -> list[Finding]:
    """One finding per pair of ops, the one meant to come later first.

    Unordered ops have no first and second; the order of the execution is taken, except that a read in `early` (op,
    memory), which found nothing written there, is taken to come after the write it races with.
    """
    findings: dict[tuple[int, int], Finding] = {}
    for i, j in pairs(flat, board, order, clocks, limit):
        a, b = board.accesses.records[i], board.accesses.records[j]
        if not a["flags"] & WRITE and (int(a["op"]), reporter.memory(int(a["mem"]))) in early:
            a, b = b, a
        key = (int(a["op"]), int(b["op"]))
        if key not in findings:
            findings[key] = _finding(flat, a, b, reporter)
    return list(findings.values())


def _finding(flat: Flat, a: np.void, b: np.void, reporter: Reporter) -> Finding:
    first, second = int(a["op"]), int(b["op"])
    verbs = ["WRITE" if r["flags"] & WRITE else "READ" for r in (a, b)]
    memory = int(a["mem"])
    doing = {"WRITE": "writes", "READ": "reads"}
    message = (f"{doing[verbs[1]]} what {reporter.name(first)} {doing[verbs[0]]}, and nothing orders them "
               f"({reporter.memory(memory)})")
    return reporter.finding(
        "race", f"RACE_{verbs[0]}_{verbs[1]}", message, second, first, memory=memory,
        partitions=(max(int(a["p0"]), int(b["p0"])), min(int(a["p1"]), int(b["p1"]))),
        bytes=(max(int(a["lo"]), int(b["lo"])), min(int(a["hi"]), int(b["hi"]))),
        help=_advice(flat, first, second, reporter))


def _advice(flat: Flat, first: int, second: int, reporter: Reporter) -> str:
    """The wait that would order the pair, when the first op's engine posts something that tells it has retired."""
    engine, index = flat.place(second)
    if flat.transfer[first] >= 0:
        posts = np.array([first]) if flat.post_sem[first] else np.zeros(0, dtype=np.int64)
    else:
        stream = np.arange(first, flat.offsets[flat.engine[first] + 1])
        posts = stream[(flat.post_sem[stream] != 0) & (flat.transfer[stream] < 0)]
    if not len(posts):
        return f"let {reporter.name(first)} post to a semaphore and {engine}[{index}] wait for it"
    sem = int(flat.post_sem[posts[0]])
    others = np.flatnonzero(flat.post_sem == sem)
    if len(np.unique(flat.engine[others])) > 1:
        return f"let {engine}[{index}] wait for the post of {reporter.name(int(posts[0]))} to semaphore {sem}"
    value = int(flat.post_inc[others[others <= posts[0]]].sum())
    return f"let {engine}[{index}] wait for semaphore {sem} >= {value}"
