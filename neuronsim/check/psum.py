"""Misuse of PSUM accumulation groups, as found by the shadow scan.

A group begins with a matmul that has the start bit, is continued by matmuls without it on the same bytes or a part of
them, and ends with the stop bit of any of them. Until then nobody else may read or write it; an accumulating matmul
must find every byte of its destination in one open group.
"""
from __future__ import annotations

from neuronsim.check.report import Finding, Reporter

# name of the fault in the scan -> (code, what the word does, what to do); {0}: the group's first matmul
FAULTS: dict[str, tuple[str, str, str]] = {
    "OPEN_READ": (
        "PSUM_READ_OPEN", "reads a PSUM group that {0} opened and nothing has stopped",
        "give the last matmul of the group the stop bit and read after it"),
    "OPEN_WRITE": (
        "PSUM_WRITE_OPEN", "writes into the open PSUM group of {0}",
        "let the group stop first, or write elsewhere"),
    "OPEN_START": (
        "PSUM_START_OPEN", "starts a PSUM group over the open one of {0}",
        "stop the earlier group, clear the start bit to continue it, or move one of the two"),
    "NOT_STARTED": (
        "PSUM_NOT_STARTED", "accumulates onto PSUM bytes no matmul has started",
        "set the start bit on the first matmul of the group, or correct the destination"),
    "CLOSED": (
        "PSUM_CLOSED", "accumulates onto PSUM bytes of a group that has stopped ({0})",
        "set the start bit on the first matmul of the group, or move the stop bit to its last"),
    "FOREIGN": (
        "PSUM_FOREIGN", "accumulates onto PSUM bytes another engine wrote, which is undefined",
        "start the group with a matmul and add the other value afterwards"),
    "TWO_GROUPS": (
        "PSUM_TWO_GROUPS", "accumulates across two open PSUM groups, one of them {0}'s",
        "correct the destination"),
}


def finding(fault: str, op: int, other: int, partitions: tuple[int, int], bytes: tuple[int, int],
            reporter: Reporter) -> Finding:
    """Return the finding of one fault; `other` is the op that began the group, or -1."""
    code, what, advice = FAULTS[fault]
    return reporter.finding("psum", code, what.format(reporter.name(other) if other >= 0 else "nobody"), op, other,
                            memory=1, partitions=partitions, bytes=bytes, help=advice)
