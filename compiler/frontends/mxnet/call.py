"""One operator of a symbol as its converter sees it, and the registry of converters."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from compiler.errors import ModelError, ShapeError, UnsupportedOp
from compiler.frontends.builder import GraphBuilder, Operand
from compiler.frontends.mxnet.params import DTYPES
from compiler.frontends.mxnet.symbol import Symbol
from compiler.frontends.onnx.types import tensor_type
from compiler.ir import numpy_dtype

#: More elements are not made at compile time out of an operator's attributes.
MOST_ELEMENTS = 1 << 28
_TRUE, _FALSE = ("True", "true", "1"), ("False", "false", "0")


@dataclass
class Call:
    """An operator with its operands, whose attributes are text in the file and read by type here.

    Attributes:
        b: what is built.
        op, name: the operator's and the node's.
        inputs: values it reads, in MXNet's order.
        attrs: its attributes as in the file.
        subgraphs: bodies of control flow operators.
        version: of MXNet that wrote the symbol, 10901 for 1.9.1, 0 if unknown.
        arguments: name of the variable behind each input, "" for results of operators.
    """

    b: GraphBuilder
    op: str
    name: str
    inputs: list[str]
    attrs: Mapping[str, str]
    subgraphs: tuple[Symbol, ...] = ()
    version: int = 0
    arguments: list[str] = field(default_factory=list)

    # ---- operands ------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> str:
        """The operand at `index`. Raises: ModelError MODEL_INVALID."""
        if index >= len(self.inputs):
            raise ModelError(f"{self.op} needs more inputs", code="MODEL_INVALID", limit=f"at least {index + 1}",
                             actual=len(self.inputs))
        return self.inputs[index]

    @property
    def x(self) -> str:
        """The first operand."""
        return self[0]

    def shape(self, value: str | int = 0) -> tuple[int, ...]:
        """Shape of a value, or of the operand with that number."""
        return self.b.shape(self[value] if isinstance(value, int) else value)

    def rank(self, value: str | int = 0) -> int:
        """Number of dimensions of the same."""
        return len(self.shape(value))

    def dtype(self, value: str | int = 0) -> str:
        """Element type of the same."""
        return self.b.dtype(self[value] if isinstance(value, int) else value)

    def axis(self, key: str, default: int | str, rank: int | None = None) -> int:
        """An axis attribute, counted from the front, of the first operand."""
        return self.check_axis(int(default) if key not in self.attrs else self.integer(key), rank)

    def check_axis(self, axis: int, rank: int | None = None) -> int:
        """An axis counted from the front. Raises: ModelError ATTRIBUTE_VALUE."""
        rank = self.rank() if rank is None else rank
        if not -rank <= axis < rank:
            raise self.wrong("axis", axis, f"an axis of {rank} dimensions")
        return axis % rank

    # ---- attributes ----------------------------------------------------------------------------------------------

    def text(self, key: str, default: str | None = None, allowed: Sequence[str] = ()) -> str:
        """A word. Raises: ModelError ATTRIBUTE_VALUE if absent without default, or none of `allowed`."""
        found = self.attrs.get(key, default)
        if found is None:
            raise self.wrong(key, None, "a value")
        if allowed and found not in allowed:
            raise self.wrong(key, found, "one of " + ", ".join(allowed))
        return found

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number."""
        return self._parsed(key, default, _integer, "a whole number")

    def real(self, key: str, default: float | None = None) -> float:
        """A real number."""
        return self._parsed(key, default, float, "a number")

    def flag(self, key: str, default: bool = False) -> bool:
        """A truth value; None in the file means the default."""
        return default if self.is_none(key) else self._parsed(key, default, _truth, "True or False")

    def ints(self, key: str, default: Sequence[int] | None = None) -> tuple[int, ...]:
        """Whole numbers: "(1, 2)", "[1,2]", "3"; () or None in the file mean the default if there is one."""
        if self.is_none(key) and default is not None:
            return tuple(default)
        found = self._parsed(key, default, _integers, "whole numbers")
        return tuple(found) if found or default is None else tuple(default)

    def optional_ints(self, key: str) -> tuple[int | None, ...]:
        """As `ints`, where each may be None."""
        return self._parsed(key, (), lambda t: tuple(None if p == "None" else _integer(p) for p in _parts(t)),
                            "whole numbers or None")

    def floats(self, key: str, default: Sequence[float]) -> tuple[float, ...]:
        """Real numbers, written as `ints`."""
        return tuple(self._parsed(key, default, lambda t: [float(p) for p in _parts(t)], "numbers"))

    def type(self, key: str, default: str) -> str:
        """An element type, numpy spelling; MXNet writes its name or its number."""
        found = self.attrs.get(key, default)
        if found in ("None", ""):
            found = default
        numbers = {str(k): d.name for k, d in DTYPES.items()}
        known = numbers.get(found, found)
        if known not in numbers.values():
            raise self.wrong(key, found, "one of " + ", ".join(numbers.values()))
        return known

    def is_none(self, key: str) -> bool:
        """Whether an attribute is absent or None."""
        return self.attrs.get(key, "None") == "None"

    def _parsed(self, key: str, default: Any, parse: Callable[[str], Any], expected: str) -> Any:
        if key not in self.attrs and default is not None:
            return default
        try:
            return parse(self.text(key))
        except (ValueError, OverflowError):
            raise self.wrong(key, self.attrs.get(key), expected) from None

    # ---- results -------------------------------------------------------------------------------------------------

    def do(self, op_type: str, *inputs: Operand, **attrs: Any) -> str:
        """Add an ONNX operator, first result."""
        return self.b.op(op_type, list(inputs), **attrs)

    def like(self, value: str, numbers: ArrayLike) -> np.ndarray:
        """Numbers in the element type of a value."""
        return np.asarray(numbers).astype(numpy_dtype(self.dtype(value)))

    def cast(self, value: str, dtype: str) -> str:
        """The value as that element type."""
        return value if self.dtype(value) == dtype else self.do("Cast", value, to=tensor_type(dtype))

    def reshape(self, value: str, shape: Sequence[int]) -> str:
        """The value in another shape, -1 for what is left."""
        if tuple(shape) == self.shape(value):
            return value
        return self.do("Reshape", value, np.array(shape, np.int64), allowzero=1 if 0 in shape else None)

    def transpose(self, value: str, perm: Sequence[int]) -> str:
        """The value with its axes in another order."""
        return value if list(perm) == sorted(perm) else self.do("Transpose", value, perm=list(perm))

    def channels(self, found: int, wanted: int) -> None:
        """Check that the data has as many channels as the weights are for. Raises: ShapeError SHAPE_MISMATCH."""
        if found != wanted:
            raise ShapeError(f"{self.op} has weights for another number of channels", code="SHAPE_MISMATCH",
                             limit=f"{wanted} channels", actual=f"{found} channels", help="check --input-shape")

    def sized(self, *sizes: float) -> None:
        """Check that a table of so many elements may be made. Raises: ModelError TABLE_SIZE."""
        if any(s < 0 for s in sizes) or math.prod(sizes) > MOST_ELEMENTS:
            raise ModelError(f"{self.op} would make a table that is too large, or of negative size", code="TABLE_SIZE",
                             limit=f"{MOST_ELEMENTS} elements", actual=" x ".join(f"{s:.0f}" for s in sizes))

    def unsupported(self, reason: str) -> UnsupportedOp:
        """The error of a form of the operator that cannot be expressed."""
        error = UnsupportedOp(f"{self.op}: {reason}")
        error.op, error.nodes = self.op, (self.name,)
        return error

    def wrong(self, key: str, actual: object, expected: str) -> ModelError:
        """The error of an attribute that cannot be meant."""
        return ModelError(f"attribute {key!r} of {self.op} has to be {expected}", code="ATTRIBUTE_VALUE",
                          actual="absent" if actual is None else str(actual)[:80])


def _parts(text: str) -> list[str]:
    inner = text.strip()
    if inner[:1] + inner[-1:] in ("()", "[]"):
        inner = inner[1:-1]
    return [p.strip() for p in inner.split(",") if p.strip()]


def _integer(text: str) -> int:
    if re.fullmatch(r"[+-]?\d{1,19}L?", text.strip()):  # Python 2 wrote long integers as 3L
        found = int(text.strip().removesuffix("L"))
    else:
        found = int(float(text))
        if found != float(text):
            raise ValueError(text)
    if abs(found) >= 1 << 63:
        raise OverflowError(text)
    return found


def _integers(text: str) -> tuple[int, ...]:
    return tuple(_integer(p) for p in _parts(text))


def _truth(text: str) -> bool:
    if text not in _TRUE + _FALSE:
        raise ValueError(text)
    return text in _TRUE


Converter = Callable[[Call], str | list[str]]


@dataclass(frozen=True)
class Registered:
    """A converter with what MXNet's registry says of the operator.

    Attributes:
        convert: gives the results, in MXNet's order.
        roles: names of the leading operands where some are parameters (see `PARAMETERS`) or labels.
        outputs: names of the results where they are not just "output" or "output0", "output1" ...
    """

    convert: Converter
    roles: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


#: Operands of these names are learnt: a variable there without a value is missing, not an input.
PARAMETERS = frozenset({"weight", "bias", "gamma", "beta", "moving_mean", "moving_var", "parameters"})
#: An operand of this name is read in training only.
LABEL = "label"

REGISTRY: dict[str, Registered] = {}


def operator(*names: str, roles: Sequence[str] = (), outputs: Sequence[str] = ()) -> Callable[[Converter], Converter]:
    """Register a converter for operators; `roles` and `outputs` as in `Registered`."""
    def register(convert: Converter) -> Converter:
        for name in names:
            assert name not in REGISTRY, name
            REGISTRY[name] = Registered(convert, tuple(roles), tuple(outputs))
        return convert

    return register
