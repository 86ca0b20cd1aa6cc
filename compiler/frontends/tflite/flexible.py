"""Options of custom operators: FlexBuffers, of which these use maps from names to numbers and texts.

Source: FlexBuffers' published layout. The last byte is the width of the root, the one before it its type; a map's
vector of values has its length before it and, before that, width and offset of its keys; types follow the values.
"""

from __future__ import annotations

import struct

from compiler.errors import ModelError

Number = int | float | bool | str

#: numbers in place by kind: (signed, unsigned, real), and the kinds that hold an offset to one
_INT, _UINT, _FLOAT, _KEY, _STRING, _INDIRECT_INT, _INDIRECT_UINT, _INDIRECT_FLOAT, _MAP = range(1, 10)
_BOOL = 26
_KINDS = {_INT: "bhiq", _UINT: "BHIQ", _FLOAT: " efd", _BOOL: "BHIQ"}
_MOST = 1024


def options(data: bytes) -> dict[str, Number]:
    """Numbers and texts of the map that `data` is. Raises: ModelError TFLITE_OPTIONS when it is none."""
    try:
        return _Reader(data).root()
    except (IndexError, struct.error, ValueError, OverflowError) as error:
        raise ModelError("the options of a custom operator cannot be read", code="TFLITE_OPTIONS",
                         actual=f"{len(data)} bytes") from error


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def root(self) -> dict[str, Number]:
        width, kind = self.data[-1], self.data[-2]
        at = len(self.data) - 2 - width
        if kind >> 2 != _MAP:
            raise ValueError("no map")
        start = self._target(at, width)
        inner = 1 << (kind & 3)
        count = self._whole(start - inner, inner)
        keys, key_width = self._target(start - 3 * inner, inner), self._whole(start - 2 * inner, inner)
        if count > _MOST or key_width not in (1, 2, 4, 8):
            raise ValueError("too large")
        found = {}
        for k in range(count):
            name = self._text(self._target(keys + k * key_width, key_width))
            value = self._value(start + k * inner, inner, self._byte(start + count * inner + k))
            if value is not None:
                found[name] = value
        return found

    def _value(self, at: int, width: int, packed: int) -> Number | None:
        kind, inner = packed >> 2, 1 << (packed & 3)
        if kind in (_INDIRECT_INT, _INDIRECT_UINT, _INDIRECT_FLOAT):
            at, width, kind = self._target(at, width), inner, kind - 5
        if kind in _KINDS:
            code = _KINDS[kind][(1, 2, 4, 8).index(width)]
            value = struct.unpack_from("<" + code, self.data, self._inside(at))[0]
            return bool(value) if kind == _BOOL else value
        return self._text(self._target(at, width)) if kind in (_KEY, _STRING) else None

    def _inside(self, at: int) -> int:
        if at < 0:
            raise ValueError("outside")
        return at

    def _byte(self, at: int) -> int:
        return self.data[self._inside(at)]

    def _whole(self, at: int, width: int) -> int:
        found = self.data[self._inside(at) : at + width]
        if len(found) != width:
            raise ValueError("outside")
        return int.from_bytes(found, "little")

    def _target(self, at: int, width: int) -> int:
        return self._inside(at - self._whole(at, width))

    def _text(self, at: int) -> str:
        return self.data[at : self.data.index(0, at)].decode("utf-8", "replace")
