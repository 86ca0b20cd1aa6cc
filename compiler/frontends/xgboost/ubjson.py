"""UBJSON, the binary spelling of JSON that XGBoost writes (ubjson.org, draft 12): bytes to dicts, lists and arrays.

Arrays with one stated element type become numpy arrays over the file's bytes. Nothing is allocated that the file does
not have the bytes for.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from compiler.errors import ModelError

#: Objects and arrays inside each other; XGBoost's own files have eight.
MOST_DEPTH = 64
#: marker -> element type, big-endian
_NUMBERS = {ord(k): np.dtype(v) for k, v in
            {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}.items()}
_INTEGERS = frozenset(b"iUIlL")
_WORDS = {ord("Z"): None, ord("T"): True, ord("F"): False}
_STRING, _CHAR, _OBJECT, _ARRAY, _END_OBJECT, _END_ARRAY, _TYPE, _COUNT, _NOTHING = b"SC{[}]$#N"


def loads(data: bytes | memoryview, where: str) -> Any:
    """The value that fills `data`. Raises: ModelError UBJSON, saying at which byte."""
    reader = _Reader(memoryview(data), where)
    value = reader.value(reader.marker(), 0)
    while reader.at < len(reader.data):
        if reader.data[reader.at] != _NOTHING:
            reader.fail("there are bytes after the end")
        reader.at += 1
    return value


class _Reader:
    """A position in the bytes."""

    def __init__(self, data: memoryview, where: str) -> None:
        self.data, self.where, self.at = data, where, 0

    def fail(self, what: str, limit: object = None, actual: object = None) -> NoReturn:
        raise ModelError(what, code="UBJSON", where=f"{self.where}: byte {self.at}", limit=limit, actual=actual,
                         help="the file is damaged, or was not written by Booster.save_model")

    def take(self, count: int) -> memoryview:
        if not 0 <= count <= len(self.data) - self.at:
            self.fail("the file ends before what it announces", f"{len(self.data) - self.at} bytes", count)
        self.at += count
        return self.data[self.at - count : self.at]

    def marker(self) -> int:
        """The next marker; no-operation markers are passed over."""
        while (found := self.take(1)[0]) == _NOTHING:
            pass
        return found

    def value(self, marker: int, depth: int) -> Any:
        if depth > MOST_DEPTH:
            self.fail("objects are nested too deeply", MOST_DEPTH)
        if marker == _OBJECT:
            return self.object(depth)
        if marker == _ARRAY:
            return self.array(depth)
        if marker == _STRING:
            return self.text(self.length(self.marker()))
        if marker in _NUMBERS:
            kind = _NUMBERS[marker]
            return np.frombuffer(self.take(kind.itemsize), kind)[0].item()
        if marker in _WORDS:
            return _WORDS[marker]
        if marker == _CHAR:
            return self.text(1)
        self.fail("an unknown marker", actual=hex(marker))

    def text(self, length: int) -> str:
        try:
            return bytes(self.take(length)).decode()
        except UnicodeDecodeError:
            self.fail("a text is not UTF-8")

    def length(self, marker: int) -> int:
        if marker not in _INTEGERS:
            self.fail("a length is not a whole number", actual=hex(marker))
        found = int(self.value(marker, 0))
        if found < 0:
            self.fail("a length is negative", actual=found)
        return found

    def header(self) -> tuple[int | None, int | None]:
        """Element type and count of an array or object, as far as stated."""
        kind = count = None
        if self.peek() == _TYPE:
            self.at += 1
            kind = self.take(1)[0]
            if self.peek() != _COUNT:
                self.fail("an array states the type of its elements, and not how many they are")
        if self.peek() == _COUNT:
            self.at += 1
            count = self.length(self.marker())
        return kind, count

    def peek(self) -> int:
        return self.data[self.at] if self.at < len(self.data) else -1

    def array(self, depth: int) -> Any:
        kind, count = self.header()
        if kind is not None and count is not None:
            if kind not in _NUMBERS:
                self.fail("an array of one type has elements that are no numbers", actual=hex(kind))
            return np.frombuffer(self.take(count * _NUMBERS[kind].itemsize), _NUMBERS[kind])
        out = []
        if count is not None:
            if count > len(self.data) - self.at:  # each takes a byte at least
                self.fail("the file ends before what it announces", f"{len(self.data) - self.at} bytes", count)
            for _ in range(count):
                out.append(self.value(self.marker(), depth + 1))
            return out
        while (marker := self.marker()) != _END_ARRAY:
            out.append(self.value(marker, depth + 1))
        return out

    def object(self, depth: int) -> dict[str, Any]:
        kind, count = self.header()
        if kind is not None:
            self.fail("an object whose values have one type is not read")
        out: dict[str, Any] = {}
        while count is None or count > 0:
            marker = self.marker()
            if count is None and marker == _END_OBJECT:
                break
            key = self.text(self.length(marker))
            out[key] = self.value(self.marker(), depth + 1)
            count = None if count is None else count - 1
        return out
