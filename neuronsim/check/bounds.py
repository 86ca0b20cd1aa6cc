"""Accesses outside their memory, descriptors and semaphores that do not exist."""
from __future__ import annotations

import numpy as np

from isa.program import Stage
from isa.target import Target
from isa.word import PARTITIONS
from neuronsim.check.flat import Flat
from neuronsim.check.regions import Accesses
from neuronsim.check.report import Finding, Reporter


def memory_bytes(stage: Stage, target: Target) -> np.ndarray:
    """Size of every memory by code: bytes per partition of SBUF and PSUM, bytes of each DRAM variable. int64."""
    sizes = [target.sbuf_partition_bytes, target.psum_partition_bytes, *(v.size_bytes for v in stage.variables)]
    return np.array(sizes, dtype=np.int64)


def find(stage: Stage, flat: Flat, target: Target, accesses: Accesses, reporter: Reporter) -> tuple[
        list[Finding], Accesses]:
    """Return the findings, and the accesses that lie inside their memory."""
    records, limits = accesses.records, memory_bytes(stage, target)
    known = records["mem"] < len(limits)
    limit = np.where(known, limits[np.minimum(records["mem"], len(limits) - 1)], 0)
    rows = np.where(records["mem"] < 2, PARTITIONS, 1)
    good = known & (records["lo"] >= 0) & (records["hi"] <= limit) & (records["p0"] >= 0) & (records["p1"] <= rows)
    good &= records["p0"] < records["p1"]
    findings = [_outside(records[i], int(limit[i]), bool(known[i]), reporter) for i in np.flatnonzero(~good)]
    kept = records[good]
    of_op = np.searchsorted(kept["op"], np.arange(len(flat.words) + 1)).astype(np.int64)
    return findings + _descriptors(stage, flat, reporter) + _semaphores(flat, target, reporter), Accesses(kept, of_op)


def _outside(record: np.void, limit: int, known: bool, reporter: Reporter) -> Finding:
    op, low, high = int(record["op"]), int(record["lo"]), int(record["hi"])
    first, last = int(record["p0"]), int(record["p1"])
    if not known:
        return reporter.finding("range", "UNKNOWN_VARIABLE", f"addresses DRAM variable {int(record['mem']) - 1}", op,
                                help=f"the stage has variables 1..{len(reporter.stage.variables)}")
    if first < 0 or last > (PARTITIONS if record["mem"] < 2 else 1) or first >= last:
        what, code = f"addresses partitions {first}..{last - 1}", "PARTITIONS"
        advice = f"partitions are 0..{PARTITIONS - 1}"
    else:
        what, code = f"addresses bytes {low}..{high - 1}", "OUT_OF_BOUNDS"
        advice = f"the memory ends at byte {limit - 1}"
    return reporter.finding("range", code, f"{what} of {reporter.memory(int(record['mem']))}", op,
                            memory=int(record["mem"]), partitions=(first, last), bytes=(low, high), help=advice)


def _descriptors(stage: Stage, flat: Flat, reporter: Reporter) -> list[Finding]:
    triggers = np.flatnonzero(flat.transfer >= 0)
    end = flat.words["arg"][triggers].astype(np.int64) + flat.words["count"][triggers]
    return [
        reporter.finding("range", "NO_DESCRIPTOR", f"starts descriptors up to {int(end[i]) - 1}", int(triggers[i]),
                         help=f"the stage has descriptors 0..{len(stage.descriptors) - 1}")
        for i in np.flatnonzero(end > len(stage.descriptors)).tolist()
    ]


def _semaphores(flat: Flat, target: Target, reporter: Reporter) -> list[Finding]:
    highest = np.maximum(flat.wait_sem.max(axis=1, initial=0), flat.post_sem)
    return [
        reporter.finding("range", "SEMAPHORE", f"names semaphore {int(highest[op])}", int(op),
                         help=f"{target.name} has semaphores 0..{target.semaphores - 1}")
        for op in np.flatnonzero(highest >= target.semaphores).tolist()
    ]
