"""Operations that a functional model calls directly: those of `keras.ops`, and TensorFlow's in tf.keras.

Arguments lie in the call or, for `keras.ops`, in the operation's configuration; either way they go by name here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.frontends.keras.call import Call, Tensor, tensors
from compiler.frontends.keras.config import Config, invalid
from compiler.frontends.keras.core import cast
from compiler.frontends.keras.network import Layer
from compiler.frontends.keras.registry import TABLES, FunctionBuilder


@dataclass
class Arguments:
    """The arguments of one call, by name.

    Attributes:
        c: the call. values: `Tensor`, numbers, lists, arrays.
    """

    c: Call
    values: dict[str, Any]

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def get(self, name: str, default: Any = None) -> Any:
        """An argument as it is, `default` where it is absent or None."""
        found = self.values.get(name)
        return default if found is None else found

    @property
    def settings(self) -> Config:
        """Arguments that are plain numbers and words, with their types checked."""
        return Config(self.values, self.c.where)

    @property
    def first(self) -> str:
        """Value of the first tensor among the arguments, whatever its name. Raises: ModelError MODEL_INVALID."""
        found = tensors(list(self.values.values()))
        if not found:
            raise invalid("a function is called on no tensor", self.c.where)
        return found[0].value

    def value(self, name: str, like: str = "") -> str:
        """An argument as a value of the graph; numbers take the element type of `like`, another argument."""
        found = self.get(name)
        if isinstance(found, Tensor):
            return found.value
        dtype = None
        if like and isinstance(other := self.get(like), Tensor):
            dtype = self.c.b.dtype(other.value)
        return self.c.b.add(array(self.c, found, dtype))

    def values_of(self, name: str) -> list[str]:
        """An argument that is a list of tensors."""
        found = self.get(name)
        parts = found if isinstance(found, list) else [found]
        first = next((t for t in tensors(parts)), None)
        if first is None:
            raise invalid("a function is called on no tensor", self.c.where, name)
        dtype = self.c.b.dtype(first.value)
        return [p.value if isinstance(p, Tensor) else self.c.b.add(array(self.c, p, dtype)) for p in parts]

    def numbers(self, name: str, default: list[int] | None = None) -> list[int]:
        """An argument that is a list of whole numbers known now, perhaps as the tensor of a shape."""
        found = self.get(name, default)
        if isinstance(found, Tensor):
            found = self.c.b.const(found.value)
        parts: list[Any] = list(np.atleast_1d(found)) if isinstance(found, np.ndarray | int) else found
        if not isinstance(parts, list | tuple):
            raise self.c.refuse(f"the argument {name!r} is computed by the model")
        return [self._number(p, name) for p in parts]

    def _number(self, part: Any, name: str) -> int:
        if isinstance(part, Tensor):
            known = self.c.b.const(part.value)
            if known is None or known.size != 1:
                raise self.c.refuse(f"the argument {name!r} is computed by the model")
            return int(known.reshape(()))
        if isinstance(part, bool) or not isinstance(part, int | np.integer) or not -(2**63) <= part < 2**63:
            raise self.settings.bad(name)
        return int(part)

    def axes(self, x: str, name: str = "axis") -> list[int]:
        """An argument that names axes of x, counted from the front; all of them where it is None."""
        rank = self.c.b.rank(x)
        found = self.numbers(name) if name in self else list(range(rank))
        return sorted({self.c.positive(a, rank) for a in found})

    def pair(self, a: str, b: str) -> tuple[str, str]:
        """Two arguments in the element type that both are promoted to."""
        first, second = self.get(a), self.get(b)
        dtypes = [self.c.b.dtype(v.value) for v in (first, second) if isinstance(v, Tensor)]
        real = any(d.startswith(("float", "bfloat")) for d in dtypes) or any(
            isinstance(v, float) or (isinstance(v, np.ndarray) and v.dtype.kind == "f") for v in (first, second))
        dtype = "float32" if real else str(np.result_type(*dtypes)) if dtypes else None
        return self._as(first, dtype), self._as(second, dtype)

    def _as(self, found: Any, dtype: str | None) -> str:
        if isinstance(found, Tensor):
            return cast(self.c, found.value, dtype) if dtype else found.value
        return self.c.b.add(array(self.c, found, dtype))


def array(c: Call, found: Any, dtype: str | None) -> np.ndarray:
    """Numbers of a configuration as an array. Raises: ModelError MODEL_INVALID."""
    try:
        made = np.asarray(found, dtype)
        if dtype is None and made.dtype == np.float64:
            made = made.astype(np.float32)
    except (TypeError, ValueError, OverflowError):
        raise invalid("an argument is no array of numbers", c.where, repr(found)[:80]) from None
    if made.dtype.kind not in "fiub":
        raise invalid("an argument is no array of numbers", c.where, repr(found)[:80])
    return made


def function_name(layer: Layer) -> str:
    """The TensorFlow function behind a layer, without "tf."."""
    found = layer.config.get("function")
    return found if isinstance(found, str) else layer.kind


def operation(c: Call) -> Any:
    """Build an operation of `keras.ops`."""
    return _called(c, *TABLES.operations[c.layer.kind], dict(c.config.values))


def function(c: Call) -> Any:
    """Build a TensorFlow function."""
    return _called(c, *TABLES.functions[function_name(c.layer)], {})


def _called(c: Call, build: FunctionBuilder, params: tuple[str, ...], settings: dict[str, Any]) -> Any:
    if len(c.args) > len(params):
        raise invalid("a function is called with more arguments than it has", c.where, len(c.args), len(params))
    return build(Arguments(c, {**settings, **dict(zip(params, c.args, strict=False)), **c.kwargs}))
