"""JSON members: one encoding of a value, and field-by-field reading that trusts nothing."""
from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from isa.errors import ContainerError
from isa.neff.layout import MAX_DIMENSIONS, MAX_JSON_BYTES, MAX_TEXT, MAX_VARIABLE_BYTES


def dump(value: object, section: str) -> bytes:
    """Return the one encoding of `value`: UTF-8, sorted keys, no spaces, a newline at the end.

    numpy scalars count as Python's. Raises: ContainerError (NEFF_JSON) for anything JSON cannot say.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False,
                          default=_plain)
        return text.encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ContainerError(f"not a JSON value: {error}", code="NEFF_JSON", section=section) from error


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r}")


def load(raw: memoryview, section: str) -> Fields:
    """Return the JSON object in `raw`. Raises: ContainerError (NEFF_JSON, NEFF_LIMIT)."""
    if len(raw) > MAX_JSON_BYTES:
        raise ContainerError("JSON member is too large", code="NEFF_LIMIT", section=section, limit=MAX_JSON_BYTES,
                             actual=len(raw))
    try:
        value = json.loads(bytes(raw).decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ContainerError(f"not valid JSON: {error}", code="NEFF_JSON", section=section) from error
    return Fields(value, section, "")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


class Fields:
    """One JSON object of member `section`; every accessor raises ContainerError (NEFF_JSON, NEFF_LIMIT)."""

    def __init__(self, value: object, section: str, path: str) -> None:
        self._section, self._path = section, path
        if not isinstance(value, dict):
            raise self._error("", "an object", value)
        self._values: dict[str, Any] = value
        self._unread = set(value)

    def has(self, key: str) -> bool:
        return key in self._values

    def done(self) -> None:
        """Refuse fields that nobody asked for."""
        if self._unread:
            raise self._error(sorted(self._unread)[0], "no such field", "a field")

    def text(self, key: str, limit: int = MAX_TEXT) -> str:
        value = self._take(key)
        return self._text(key, value, limit)

    def integer(self, key: str, low: int, high: int) -> int:
        return self._integer(key, self._take(key), low, high)

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(self._text(key, v, MAX_TEXT) for v in self.array(key))

    def is_null(self, key: str) -> bool:
        """Whether the field is null, which counts as having read it."""
        return key in self._values and self._values[key] is None and self._take(key) is None

    def shape(self, key: str, unknown: bool = False) -> tuple[int, ...]:
        """Return a shape of bounded rank, -1 among its sizes if `unknown`; the size in bytes is the caller's to check.
        """
        sizes = self.array(key)
        if len(sizes) > MAX_DIMENSIONS:
            raise self._limit(key, MAX_DIMENSIONS, len(sizes))
        return tuple(self._integer(key, v, -1 if unknown else 0, MAX_VARIABLE_BYTES) for v in sizes)

    def array(self, key: str) -> list[Any]:
        value = self._take(key)
        if not isinstance(value, list):
            raise self._error(key, "an array", value)
        return value

    def mapping(self, key: str) -> dict[str, Any]:
        value = self._take(key)
        if not isinstance(value, dict):
            raise self._error(key, "an object", value)
        return value

    def child(self, key: str) -> Fields:
        return Fields(self._take(key), self._section, f"{self._path}.{key}")

    def each(self, key: str) -> Iterator[Fields]:
        """Yield the objects of an array of objects."""
        for index, value in enumerate(self.array(key)):
            yield Fields(value, self._section, f"{self._path}.{key}[{index}]")

    def expect(self, key: str, value: object) -> None:
        """Require that field `key` has exactly this value."""
        found = self._take(key)
        if found != value or type(found) is not type(value):
            raise self._error(key, repr(value), found)

    def _take(self, key: str) -> Any:
        if key not in self._values:
            raise self._error(key, "a field", "nothing")
        self._unread.discard(key)
        return self._values[key]

    def _text(self, key: str, value: object, limit: int) -> str:
        if not isinstance(value, str):
            raise self._error(key, "text", value)
        if len(value) > limit:
            raise self._limit(key, limit, len(value))
        return value

    def _integer(self, key: str, value: object, low: int, high: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._error(key, "an integer", value)
        if not low <= value <= high:
            raise self._limit(key, f"{low}..{high}", value)
        return value

    def _error(self, key: str, expected: str, found: object) -> ContainerError:
        return ContainerError(f"field {self._path}.{key}: expected {expected}, found {str(found)[:80]!r}",
                              code="NEFF_JSON", section=self._section)

    def _limit(self, key: str, limit: object, actual: int) -> ContainerError:
        return ContainerError(f"field {self._path}.{key} is out of range", code="NEFF_LIMIT", section=self._section,
                              limit=limit, actual=actual)
