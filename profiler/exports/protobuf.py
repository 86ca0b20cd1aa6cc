"""Many protobuf messages of one shape at a time, encoded with array operations.

Wire format: https://protobuf.dev/programming-guides/encoding. A message is a row; its fields are blocks of bytes of a
common greatest width, of which each row uses its first few.
"""

from __future__ import annotations

import numpy as np

VARINT, FIXED64, BYTES = 0, 1, 2


class Messages:
    """`rows` messages side by side; fields are appended to all, or to those `where` says so."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.sizes = np.zeros(rows, np.int64)  # bytes of each message
        self._blocks: list[tuple[np.ndarray, np.ndarray]] = []  # uint8 [rows, width], used bytes of each row

    def varint(self, field: int, values: np.ndarray | int, where: np.ndarray | None = None) -> Messages:
        """An unsigned integer, bool or enum. Args: values: [rows] or one for all, not negative."""
        self._key(field, VARINT, where)
        return self._append(*varints(np.asarray(values)), where)

    def fixed64(self, field: int, values: np.ndarray, where: np.ndarray | None = None) -> Messages:
        """Eight bytes. Args: values: [rows] uint64, or float64 for a `double` field."""
        self._key(field, FIXED64, where)
        dtype = "<f8" if values.dtype.kind == "f" else "<u8"
        return self._append(values.astype(dtype).reshape(-1, 1).view(np.uint8), np.full(self.rows, 8), where)

    def message(self, field: int, inner: Messages, where: np.ndarray | None = None) -> Messages:
        """A message inside each."""
        self._key(field, BYTES, where)
        self._append(*varints(inner.sizes), where)
        for data, used in inner._blocks:
            self._append(data, used, where)
        return self

    def chosen(self, choices: Messages, which: np.ndarray, where: np.ndarray | None = None) -> Messages:
        """Fields encoded before: those of message `which[i]` of `choices` to row i. Args: which: [rows]."""
        data, used = choices._table()
        counts = used.sum(axis=1)
        order = np.argsort(~used, axis=1, kind="stable")  # used bytes to the front
        return self._append(np.take_along_axis(data, order, axis=1)[which], counts[which], where)

    def packed(self) -> np.ndarray:
        """All messages one after the other: uint8."""
        data, used = self._table()
        return data[used]

    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """Bytes of all fields, and which of them count: [rows, width]."""
        width = sum(data.shape[1] for data, _ in self._blocks)
        data, used = np.empty((self.rows, width), np.uint8), np.empty((self.rows, width), bool)
        at = 0
        for block, count in self._blocks:
            columns = slice(at, at + block.shape[1])
            data[:, columns] = block
            np.less(np.arange(block.shape[1]), count[:, None], out=used[:, columns])
            at += block.shape[1]
        return data, used

    def _key(self, field: int, kind: int, where: np.ndarray | None) -> None:
        self._append(*varints(np.asarray(field << 3 | kind)), where)

    def _append(self, data: np.ndarray, used: np.ndarray, where: np.ndarray | None) -> Messages:
        used = np.broadcast_to(used, self.rows)
        if where is not None:
            used = np.where(where, used, 0)
        self.sizes = self.sizes + used
        self._blocks.append((data, used))
        return self


def varints(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Base-128 of integers, not negative: uint8 [n or 1, widest], bytes used by each."""
    left = np.atleast_1d(values).astype(np.uint64)
    bits = max(int(left.max(initial=0)).bit_length(), 1)
    widest = -(-bits // 7)
    steps = np.arange(widest, dtype=np.uint64) * np.uint64(7)
    parts = left[:, None] >> steps
    more = parts[:, 1:] != 0
    data = (parts & np.uint64(127)).astype(np.uint8)
    data[:, :-1] |= np.where(more, np.uint8(128), np.uint8(0))
    return data, 1 + more.sum(axis=1)


def interleaved(first: Messages, second: Messages, is_first: np.ndarray) -> bytes:
    """Messages of both in their orders: at each True of `is_first` the next of the first."""
    sizes = np.empty(len(is_first), np.int64)
    sizes[is_first], sizes[~is_first] = first.sizes, second.sizes
    of_first = np.repeat(is_first, sizes)
    out = np.empty(len(of_first), np.uint8)
    out[of_first], out[~of_first] = first.packed(), second.packed()
    return out.tobytes()


# ---- one message at a time
def varint(value: int) -> bytes:
    """Base-128 of an integer, not negative."""
    return varints(np.array(value, np.uint64))[0].tobytes()


def field(number: int, value: int | bytes) -> bytes:
    """A field of one message: an integer, or bytes, text or a message in bytes."""
    if isinstance(value, bytes):
        return varint(number << 3 | BYTES) + varint(len(value)) + value
    return varint(number << 3 | VARINT) + varint(value)
