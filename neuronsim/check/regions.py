"""What every word and transfer reads and writes, as boxes of partitions times strided byte patterns."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from isa.dtypes import SIZES
from isa.program import Stage
from isa.spec import SPEC
from isa.word import PARTITIONS, PSUM, SBUF
from neuronsim._core import check_access
from neuronsim.check.flat import Flat
from neuronsim.check.transfers import transfer_rows

# mirrors `struct Access` of neuronsim/_core/check_access.pxd
ACCESS = np.dtype(
    [
        ("lo", "<i8"),  # bytes of the partition, or of the DRAM variable
        ("hi", "<i8"),
        ("run", "<i8"),  # contiguous bytes
        ("step", "<i8", (4,)),  # bytes
        ("size", "<i4", (4,)),
        ("op", "<i4"),
        ("mem", "<i4"),  # 0 SBUF, 1 PSUM, 2 + k DRAM variable k (id k + 1)
        ("p0", "<i4"),
        ("p1", "<i4"),
        ("dims", "<i4"),
        ("flags", "<i4"),
    ]
)
assert check_access.record_bytes() == ACCESS.itemsize

SBUF_MEMORY = 0  # code of SBUF in `mem`
WRITE, PARTIAL, MATMUL, START, STOP = 1, 2, 4, 8, 16
MATMUL_OPCODE = SPEC.by_name["matmul"].opcode


@dataclass(frozen=True)
class Accesses:
    """All accesses of a program.

    Attributes:
        records: [a] `ACCESS` in normal form, grouped by op.
        of_op: int64[n + 1]; op i owns records of_op[i]:of_op[i + 1].
    """

    records: np.ndarray
    of_op: np.ndarray

    @property
    def raw(self) -> np.ndarray:
        return self.records.view(np.uint8).reshape(-1)

    def written_sbuf(self) -> Accesses:
        """The writes to SBUF alone."""
        kept = self.records[(self.records["mem"] == SBUF_MEMORY) & (self.records["flags"] & WRITE != 0)]
        return Accesses(kept, np.searchsorted(kept["op"], np.arange(len(self.of_op))).astype(np.int64))

    def overlap(self, i: int, j: int) -> bool:
        """Do two accesses touch a common byte?"""
        return bool(check_access.overlaps(self.raw, i, j))


def accesses(stage: Stage, flat: Flat) -> Accesses:
    """Return every access of the program, also those out of range (`neuronsim/check/bounds.py`)."""
    rows = [*_operand_rows(flat), *_pointer_rows(flat), *transfer_rows(stage, flat, ACCESS)]
    return group(np.concatenate(rows) if rows else np.zeros(0, dtype=ACCESS), len(flat.words))


def group(rows: np.ndarray, ops: int) -> Accesses:
    """Normalise rows, drop empty ones and sort by op."""
    rows = np.ascontiguousarray(rows)
    check_access.normalise(rows.view(np.uint8).reshape(-1))
    rows = rows[rows["hi"] > rows["lo"]]
    rows = rows[np.argsort(rows["op"], kind="stable")]
    return Accesses(rows, np.searchsorted(rows["op"], np.arange(ops + 1)).astype(np.int64))


def _operand_rows(flat: Flat) -> Iterator[np.ndarray]:
    for opcode in np.unique(flat.words["opcode"]).tolist():
        if opcode not in SPEC.by_opcode:
            continue
        ops = np.flatnonzero(flat.words["opcode"] == opcode)
        for slot in SPEC.by_opcode[opcode].operands:
            operand = flat.words[slot.field][ops]
            flags = np.full(len(ops), {"read": 0, "write": WRITE, "update": WRITE | PARTIAL}[slot.role], dtype=np.int32)
            if opcode == MATMUL_OPCODE and slot.role == "update":
                flags[:] = WRITE | MATMUL | (flat.words["flags"][ops] & 3).astype(np.int32) * START
            yield _operand(ops, operand, flags)


def _operand(ops: np.ndarray, operand: np.ndarray, flags: np.ndarray) -> np.ndarray:
    space = operand["space"] & 3
    here = space != 0
    ops, operand, flags, space = ops[here], operand[here], flags[here], space[here]
    rows = np.zeros(len(ops), dtype=ACCESS)
    element = SIZES[operand["dtype"]]
    rows["op"], rows["mem"], rows["flags"] = ops, np.where(space == PSUM, 1, 0), flags
    rows["lo"], rows["run"] = operand["start"], element
    rows["step"] = operand["step"].astype(np.int64) * element[:, None]
    rows["size"] = operand["size"]
    rows["p0"] = operand["partition"]
    rows["p1"] = rows["p0"] + operand["partitions"]
    return rows


def _pointer_rows(flat: Flat) -> Iterator[np.ndarray]:
    """[P, 1] columns: one element in each partition of the destination."""
    for name in ("ptr0", "ptr1"):
        ops = np.flatnonzero(flat.words[name]["space"] & 3)
        pointer = flat.words[name][ops]
        rows = np.zeros(len(ops), dtype=ACCESS)
        rows["op"], rows["mem"] = ops, np.where(pointer["space"] & 3 == SBUF, 0, 1)
        rows["lo"], rows["run"], rows["size"] = pointer["start"], SIZES[pointer["dtype"]], 1
        rows["p0"] = pointer["partition"]
        rows["p1"] = rows["p0"] + np.clip(flat.words["dst"]["partitions"][ops], 1, PARTITIONS)
        yield rows
