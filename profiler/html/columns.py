"""Columns of integers as one compressed block: what the report's page unpacks in the browser.

A column is stored as byte planes: all lowest bytes, then all second bytes, and so on, as many as its largest value
needs. Planes of small differences are mostly zeros and compress well. Signed values are zigzag coded: 0, -1, 1, -2 as
0, 1, 2, 3. The block is zlib, as the browser's `DecompressionStream("deflate")` reads it, in base64.
"""

from __future__ import annotations

import base64
import zlib
from typing import TypedDict

import numpy as np

LEVEL = 6  # of zlib; 9 takes three times as long for 1 % less


class Column(TypedDict):
    """Where a column is: `at` first byte, `n` values, `planes` bytes of each, whether they are zigzag coded."""

    at: int
    n: int
    planes: int
    signed: bool


class Block:
    """Bytes of columns, one after the other."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, values: np.ndarray) -> Column:
        """Append a column. Args: values: [n] integers below 2**52 in size, so that the page's doubles hold them."""
        wide = np.asarray(values, dtype=np.int64)
        signed = bool(len(wide)) and int(wide.min()) < 0
        coded = (wide << 1) ^ (wide >> 63) if signed else wide
        largest = int(coded.max(initial=0))
        if largest >= 1 << 53:
            raise ValueError(f"{largest} does not fit a double")
        planes = (largest.bit_length() + 7) // 8
        data = coded.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :planes].T.tobytes()
        column = Column(at=self._size, n=len(wide), planes=planes, signed=signed)
        self._parts.append(data)
        self._size += len(data)
        return column

    def text(self) -> str:
        """All of it, compressed, in base64."""
        packer = zlib.compressobj(LEVEL)
        packed = b"".join([*(packer.compress(part) for part in self._parts), packer.flush()])
        return base64.b64encode(packed).decode("ascii")


def read(text: str, column: Column) -> np.ndarray:
    """A column of `Block.text()`, [n] int64: what the page does, for checks."""
    data = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    n, planes = column["n"], column["planes"]
    values = np.zeros(n, np.int64)
    for plane in range(planes):
        begin = column["at"] + plane * n
        values |= data[begin : begin + n].astype(np.int64) << (8 * plane)
    return (values >> 1) ^ -(values & 1) if column["signed"] else values
