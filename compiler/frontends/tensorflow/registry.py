"""The table of converters: operator type -> what it becomes."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from compiler.frontends.tensorflow.call import Call
    from compiler.frontends.tensorflow.values import Value

Converter = Callable[["Call"], "Value | Sequence[Value]"]
_C = TypeVar("_C", bound=Converter)

CONVERTERS: dict[str, Converter] = {}


def converter(*ops: str) -> Callable[[_C], _C]:
    """Register a function as what operators of these types become: one value, or a sequence of all results."""
    def register(function: _C) -> _C:
        for op in ops:
            assert op not in CONVERTERS, op
            CONVERTERS[op] = function
        return function

    return register
