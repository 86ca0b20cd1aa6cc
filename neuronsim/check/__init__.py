"""Static analysis of one core's program: races, unwritten reads, ranges, PSUM groups, deadlock.

    findings = check(stage, target)

The program is judged under the machine contract alone (waits, posts, in-order retirement), never by one timing: two
accesses count as ordered only through posts that are necessary in every execution.
"""
from __future__ import annotations

from neuronsim.check.checker import Checker, check
from neuronsim.check.report import Finding

__all__ = ["Checker", "Finding", "check"]
