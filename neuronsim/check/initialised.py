"""Reads of memory never written, and the state of PSUM groups, by one pass over shadow memory.

The pass follows one execution. A write that precedes a read there is either ordered before it in every execution or
races with it, and races are reported on their own; so what is missing here is missing on every ordered path.
Shadow memory has one entry per granule, the largest number of bytes that divides every address and length used.
"""
from __future__ import annotations

import numpy as np

from isa.program import INPUT, WEIGHT, Stage
from isa.word import PARTITIONS
from neuronsim._core import check_shadow
from neuronsim.check import psum
from neuronsim.check.regions import WRITE, Accesses
from neuronsim.check.report import Finding, Reporter

_GROUP_ROWS = 32  # matmul destinations start at multiples of 32 partitions; source: nki.isa.nc_matmul tile rules


def granules(records: np.ndarray, memories: int) -> np.ndarray:
    """Largest byte count that divides every address, run and step used in each memory; 0 where there is none. int64."""
    size = np.zeros(memories, dtype=np.int64)
    for m in np.unique(records["mem"]).tolist():
        mine = records[records["mem"] == m]
        size[m] = np.gcd.reduce(np.concatenate([mine["lo"], mine["run"], mine["step"].reshape(-1)]))
    return size


def find(stage: Stage, accesses: Accesses, memory_bytes: np.ndarray, order: np.ndarray, reporter: Reporter,
         limit: int, loaded: Accesses | None = None) -> list[Finding]:
    """Findings of kind "uninitialised" and "psum", at most `limit`; `loaded` are writes to SBUF before the program."""
    before = accesses.records[:0] if loaded is None else loaded.records
    granule = granules(np.concatenate([accesses.records, before]), len(memory_bytes))
    granule[2:] *= _tracked(stage, accesses)
    count = np.where(granule > 0, -(-memory_bytes // np.maximum(granule, 1)), 0)
    sbuf, written, pe = (np.zeros((n, PARTITIONS // 64), dtype=np.uint64) for n in (count[0], count[1], count[1]))
    groups = np.zeros((count[1], PARTITIONS // _GROUP_ROWS), dtype=np.int32)
    if loaded is not None:
        _mark(sbuf, granule, loaded)
    dram = [np.zeros(n, dtype=np.uint8) if n else None for n in count[2:].tolist()]
    faults = check_shadow.scan(
        accesses.raw, accesses.of_op, order, granule, sbuf, written, pe, groups,
        np.zeros(len(accesses.of_op) + 1, dtype=np.uint8), dram, limit)
    return [_finding(accesses, fault, reporter) for fault in faults]


def _mark(sbuf: np.ndarray, granule: np.ndarray, loaded: Accesses) -> None:
    """Enter in the shadow of SBUF what has been written there, in whatever order."""
    ops = np.arange(len(loaded.of_op) - 1, dtype=np.int32)
    psum, groups = np.zeros((0, 2), dtype=np.uint64), np.zeros((0, 4), dtype=np.int32)
    check_shadow.scan(loaded.raw, loaded.of_op, ops, granule, sbuf, psum, psum, groups, np.zeros(0, dtype=np.uint8), [],
                      1)


def _tracked(stage: Stage, accesses: Accesses) -> np.ndarray:
    """Which DRAM variables need a shadow: those the host does not fill and the program reads. bool."""
    read = set(np.unique(accesses.records["mem"][accesses.records["flags"] & WRITE == 0]).tolist())
    tracked = [v.kind not in (INPUT, WEIGHT) and k + 2 in read for k, v in enumerate(stage.variables)]
    return np.array(tracked, dtype=bool)


def _finding(accesses: Accesses, fault: tuple[str, int, int, int, int, int, int], reporter: Reporter) -> Finding:
    name, number, low, high, first, last, other = fault
    record = accesses.records[number]
    memory, op = int(record["mem"]), int(record["op"])
    partitions = (first, last) if memory < 2 else (0, 1)
    if name != "UNWRITTEN":
        return psum.finding(name, op, other, partitions, (low, high), reporter)
    return reporter.finding(
        "uninitialised", "READ_UNWRITTEN", f"reads bytes of {reporter.memory(memory)} that nothing has written", op,
        memory=memory, partitions=partitions, bytes=(low, high),
        help="write the tile first, or correct the address of the read or of the write meant for it")
