"""The JSON of a saved Keras model, read with every type checked."""

from __future__ import annotations

import json
from typing import Any

from compiler.errors import ModelError

#: Models within models nest a few levels each time; more than this no framework writes.
MOST_DEPTH = 120


def invalid(what: str, where: str, actual: object = None, limit: object = None) -> ModelError:
    """A configuration that contradicts itself or Keras."""
    return ModelError(what, code="MODEL_INVALID", where=where, actual=actual, limit=limit,
                      help="save the model again with model.save(...)")


def parse(text: str, where: str) -> dict[str, Any]:
    """The JSON object in `text`. Raises: ModelError MODEL_INVALID (no JSON, no object), MODEL_LIMIT (too deep)."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise _too_deep(where) from None
    except ValueError as error:
        raise invalid("the model's configuration is not JSON", where, str(error)[:80]) from None
    _check_depth(found, where)
    if not isinstance(found, dict):
        raise invalid("the model's configuration is no JSON object", where, type(found).__name__)
    return found


def _too_deep(where: str) -> ModelError:
    return ModelError("the configuration nests deeper than a model does", code="MODEL_LIMIT", where=where,
                      limit=MOST_DEPTH)


def _check_depth(root: Any, where: str) -> None:
    level = [root]
    for _ in range(MOST_DEPTH):
        level = [child for item in level for child in
                 (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
                 if isinstance(child, dict | list)]
        if not level:
            return
    raise _too_deep(where)


class Config:
    """The settings of one layer.

    Attributes:
        values: as the file has them. where: the layer, for messages.
    """

    def __init__(self, values: dict[str, Any], where: str) -> None:
        self.values = values
        self.where = where

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def get(self, key: str, default: Any = None) -> Any:
        """A setting as it is, `default` where it is absent or null."""
        found = self.values.get(key)
        return default if found is None else found

    def bad(self, key: str) -> ModelError:
        """The error for a setting that cannot be."""
        return invalid(f"the setting {key!r} is not what Keras writes", self.where, repr(self.values.get(key))[:80])

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number. Raises: ModelError MODEL_INVALID, as all that follow."""
        found = self.get(key, default)
        if isinstance(found, bool) or not isinstance(found, int | float) or found != found or found not in _INT64:
            raise self.bad(key)
        return int(found)

    def real(self, key: str, default: float | None = None) -> float:
        """A real number; Keras 3 stores some as arrays of one."""
        found = plain(self.get(key, default))
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise self.bad(key)
        try:
            return float(found)
        except OverflowError:
            raise self.bad(key) from None

    def flag(self, key: str, default: bool = False) -> bool:
        """A flag."""
        found = self.get(key, default)
        if not isinstance(found, bool | int):
            raise self.bad(key)
        return bool(found)

    def word(self, key: str, default: str | None = None) -> str:
        """A word."""
        found = self.get(key, default)
        if not isinstance(found, str):
            raise self.bad(key)
        return found

    def integers(self, key: str, count: int, default: int | None = None) -> list[int]:
        """`count` whole numbers, one of them standing for all."""
        found = self.get(key, default)
        found = found if isinstance(found, list) else [found] * count
        if len(found) != count or not all(isinstance(f, int) and f in _INT64 for f in found):
            raise self.bad(key)
        return [int(f) for f in found]

    def items(self, key: str) -> list[Any]:
        """Any list, empty where it is absent."""
        found = self.get(key, [])
        if not isinstance(found, list):
            raise self.bad(key)
        return found

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """One of some words."""
        found = self.word(key, default)
        if found not in choices:
            raise invalid(f"the setting {key!r} is not known", self.where, found[:80], ", ".join(choices))
        return found

    @property
    def channels_first(self) -> bool:
        """Whether channels come right after the batch."""
        return self.choice("data_format", ("channels_first", "channels_last"), "channels_last") == "channels_first"


class _Int64:
    def __contains__(self, value: Any) -> bool:
        return -(2**63) <= value < 2**63 and int(value) == value


_INT64 = _Int64()


def plain(value: Any) -> Any:
    """A number that Keras 2 or 3 wrapped as a numpy array of one, unwrapped; anything else as it is."""
    if isinstance(value, dict) and isinstance(inner := value.get("config", value), dict):
        value = inner.get("value", value)
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value
