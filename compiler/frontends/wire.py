"""The outermost fields of a protocol buffer, without knowing its schema (protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
#: No message is larger (2 GiB, protobuf.dev/programming-guides/proto-limits).
_MOST = 1 << 31


@dataclass(frozen=True)
class Field:
    """One field: its number, its wire type, and of a length-delimited one the size and first bytes."""

    number: int
    kind: int
    size: int = 0
    start: bytes = b""


def fields(file: BinaryIO, most: int = 64, peek: int = 1024) -> Iterator[Field]:
    """The first fields of a message that starts where `file` stands; ends where the bytes are no field.

    Payloads are skipped, not read: a field is reported even when the file ends inside it.
    """
    for _ in range(most):
        tag = _varint(file)
        number, kind = (tag >> 3, tag & 7) if tag is not None else (0, 0)
        if not number:
            return
        if kind == LENGTH:
            size = _varint(file)
            if size is None:
                return
            start = file.read(min(size, peek))
            yield Field(number, kind, size, start)
            if size > _MOST:
                return
            file.seek(size - len(start), 1)
        elif kind == VARINT:
            if _varint(file) is None:
                return
            yield Field(number, kind)
        elif kind in (FIXED64, FIXED32):
            file.seek(8 if kind == FIXED64 else 4, 1)
            yield Field(number, kind)
        else:
            return


def _varint(file: BinaryIO) -> int | None:
    """A number of up to ten bytes; None at the end of the file or for more bytes."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    return None
