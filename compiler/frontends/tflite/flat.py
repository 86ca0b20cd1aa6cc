"""Checked access to FlatBuffers, whose own Python reader trusts every offset and length it meets.

The `tflite` package has a class for each table of the schema; its methods read through `_tab`. `Checked` takes that
place: nothing outside the file is read, and a file that makes its reader do more work than an honest one of its length
could (vectors shared by many tables, for instance) is refused.
"""

from __future__ import annotations

import re
import struct
from functools import cache
from typing import Any

import numpy as np

from compiler.errors import ModelError

#: Bytes that may be read in all, as a multiple of the file's length and beside it.
_TIMES, _BESIDE = 4, 1 << 16
_LONGEST_STRING = 1 << 20
_OFFSET, _BACK, _SHORT = struct.Struct("<I"), struct.Struct("<i"), struct.Struct("<H")


class Source:
    """The bytes of a file, and how much of them has been read.

    Attributes:
        data: the whole file.
        where: its name, for messages.
    """

    def __init__(self, data: memoryview, where: str) -> None:
        self.data = data
        self.where = where
        self.left = _TIMES * len(data) + _BESIDE

    def spend(self, count: int) -> None:
        """Account for bytes read. Raises: ModelError TFLITE_DAMAGED where one part of the file is read many times."""
        self.left -= count
        if self.left < 0:
            raise self.damaged("parts of the file refer to the same bytes many times over")

    def damaged(self, what: str, offset: int | None = None) -> ModelError:
        """The error for content that no writer makes."""
        return ModelError(what, code="TFLITE_DAMAGED", where=self.where, limit=f"{len(self.data)} bytes of file",
                          actual=None if offset is None else f"offset {offset}",
                          help="the file is truncated or damaged: copy or convert it again")


class Checked:
    """A table whose every access is inside the file; methods are those of `flatbuffers.table.Table`."""

    __slots__ = ("source", "Bytes", "Pos")

    def __init__(self, source: Source, pos: int) -> None:
        self.source, self.Bytes, self.Pos = source, source.data, pos
        self._inside(pos, 4)
        source.spend(8)

    def _inside(self, offset: int, count: int) -> None:
        if offset < 0 or offset + count > len(self.Bytes):
            raise self.source.damaged("a part of the model lies outside of the file", offset)

    def _number(self, kind: struct.Struct, offset: int) -> int:
        self._inside(offset, kind.size)
        found: int = kind.unpack_from(self.Bytes, offset)[0]
        return found

    def Offset(self, vtableOffset: int) -> int:
        vtable = self.Pos - self._number(_BACK, self.Pos)
        return self._number(_SHORT, vtable + vtableOffset) if vtableOffset < self._number(_SHORT, vtable) else 0

    def Get(self, flags: Any, off: int) -> Any:
        self._inside(off, flags.bytewidth)
        return flags.py_type(flags.packer_type.unpack_from(self.Bytes, off)[0])

    def Indirect(self, off: int) -> int:
        target = off + self._number(_OFFSET, off)
        self._inside(target, 4)
        return target

    def String(self, off: int) -> bytes:
        start = self.Indirect(off)
        length = self._number(_OFFSET, start)
        if length > _LONGEST_STRING:
            raise self.source.damaged(f"a name of {length} bytes", start)
        self._inside(start + 4, length)
        self.source.spend(length)
        return bytes(self.Bytes[start + 4 : start + 4 + length])

    def VectorLen(self, off: int) -> int:
        length = self._number(_OFFSET, self.Indirect(off + self.Pos))
        self._inside(self.Vector(off), length)  # each element has a byte or more
        return length

    def Vector(self, off: int) -> int:
        return self.Indirect(off + self.Pos) + 4

    def Union(self, t2: Any, off: int) -> None:
        t2.Bytes, t2.Pos = self.Bytes, self.Indirect(off + self.Pos)

    def GetVectorAsNumpy(self, flags: Any, off: int) -> np.ndarray:
        start, length = self.Vector(off), self.VectorLen(off)
        dtype = np.dtype(flags.name)
        self._inside(start, length * dtype.itemsize)
        return np.frombuffer(self.Bytes, dtype, length, start)


def root(kind: type, source: Source) -> Any:
    """The outermost table of a file, an object of the `tflite` package's class `kind`."""
    made = kind()
    made._tab = Checked(source, 0)
    made._tab.Pos = made._tab.Indirect(0)
    return made


def table(found: Any, source: Source, kind: type | None = None) -> Any:
    """What a method returned for a table, to be read with checks, as an object of class `kind` for a union."""
    if found is None:
        return None
    pos = found.Pos if kind is not None else found._tab.Pos
    made = kind() if kind is not None else found
    made._tab = Checked(source, pos)
    return made


def tables(owner: Any, field: str, source: Source) -> list[Any]:
    """All elements of a vector of tables."""
    count = getattr(owner, f"{field}Length")()
    source.spend(4 * count)
    return [table(getattr(owner, field)(k), source) for k in range(count)]


def vector(owner: Any, field: str, source: Source) -> np.ndarray:
    """A vector of numbers as a view of the file; empty when absent."""
    found = getattr(owner, f"{field}AsNumpy")()
    if isinstance(found, int):
        return np.zeros(0, np.int32)
    source.spend(found.nbytes)
    return found


def text(found: bytes | None) -> str:
    """A string of the file; what is not UTF-8 is replaced."""
    return (found or b"").decode("utf-8", "replace")


def fields(owner: Any, source: Source) -> dict[str, Any]:
    """Every number, string and vector of numbers of a table, by name in lower case with underscores."""
    kind: Any = type(owner)
    scalars, vectors = _names(kind)
    found: dict[str, Any] = {_snake(n): getattr(owner, n)() for n in scalars}
    found.update({_snake(n): vector(owner, n, source).tolist() for n in vectors})
    return {k: text(v) if isinstance(v, bytes) else v for k, v in found.items()
            if v is None or isinstance(v, bool | int | float | bytes | list)}


@cache
def _names(kind: Any) -> tuple[list[str], list[str]]:
    methods = [n for n, m in vars(kind).items() if callable(m) and n[0].isupper() and n != "Init"]
    vectors = [n[: -len("AsNumpy")] for n in methods if n.endswith("AsNumpy")]
    parts = {v + suffix for v in vectors for suffix in ("", "AsNumpy", "Length", "IsNone")}
    alone = [n for n in methods if n not in parts and getattr(kind, n).__code__.co_argcount == 1]
    return [n for n in alone if not n.endswith(("Length", "IsNone"))], vectors


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
