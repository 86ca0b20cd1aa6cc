"""Collects what the validator finds: masks over many records in, a bounded list of errors out."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from isa.dtypes import BY_CODE
from isa.errors import ErrorList, IllegalInstruction

DTYPE_NAMES: dict[int, str] = {code: d.name for code, d in BY_CODE.items()}
CAP = 20  # errors reported in one go


class Violations:
    """Errors found so far; reported in the order of their places, which are (sequence rank, record index)."""

    def __init__(self) -> None:
        self._found: list[tuple[tuple[int, ...], int, IllegalInstruction]] = []

    def check(self, bad: np.ndarray, place: Place, code: str, what: str, limit: Any = None, actual: Any = None) -> bool:
        """Record an error for the first records where `bad` ([n] of the place's records) holds; True if there is one.

        `limit` and `actual` are values or arrays over the records.
        """
        if not bad.any():
            return False
        for k in np.flatnonzero(bad)[:CAP]:
            order, where = place.at(int(k))
            error = IllegalInstruction(what, code=code, where=where, limit=_pick(limit, k), actual=_pick(actual, k))
            self._found.append((order, len(self._found), error))
        return True

    def add(self, order: tuple[int, ...], error: IllegalInstruction) -> None:
        """Record one error."""
        self._found.append((order, len(self._found), error))

    def finish(self) -> None:
        """Raises: ErrorList of the first `CAP` errors when there are any."""
        if self._found:
            raise ErrorList([e for _, _, e in sorted(self._found, key=lambda f: f[:2])][:CAP])


class Place:
    """Where the records of a check stand: a sequence (engine stream or descriptor list), their indices, and a part."""

    def __init__(self, rank: int, sequence: str, rows: np.ndarray, part: str = "") -> None:
        self.rank, self.sequence, self.rows, self.part = rank, sequence, rows, part

    def at(self, k: int) -> tuple[tuple[int, ...], str]:
        """Sort key and text of record number k."""
        row = int(self.rows[k])
        return (self.rank, row), f"{self.sequence}[{row}]{' ' if self.part else ''}{self.part}"

    def within(self, part: str) -> Place:
        """The same records, another part of them: `mnemonic.slot`."""
        return Place(self.rank, self.sequence, self.rows, f"{self.part}.{part}" if self.part else part)

    def where(self, mask: np.ndarray) -> Place:
        """Some of the records."""
        return Place(self.rank, self.sequence, self.rows[mask], self.part)


def named(names: Mapping[int, str], codes: np.ndarray) -> np.ndarray:
    """Codes as names, for error texts: object [n]. A code without a name stays a number."""
    table = np.array([names.get(code, code) for code in range(256)], dtype=object)
    return table[codes]


def _pick(value: Any, k: int) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    picked = value[k]
    return picked.tolist() if isinstance(picked, np.ndarray | np.generic) else picked
