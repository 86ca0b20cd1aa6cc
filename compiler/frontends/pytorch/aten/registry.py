"""The table of converters, and the types that PyTorch gives results.

A converter takes a `GraphBuilder` and the operator's arguments by the names of its schema: a tensor is the name of a
value, numbers, lists and None are themselves. It returns the name of its result, a number, or a list of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from compiler.errors import UnsupportedOp
from compiler.frontends.builder import GraphBuilder

Tensor = str
#: A tensor or a number, as most arithmetic takes it.
Value = str | int | float | bool
Converter = Callable[..., Any]

#: "aten.add" for all overloads that a converter can tell apart by their arguments, "aten.max.dim" for one alone.
TABLE: dict[str, Converter] = {}

_RANK = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64",
         "complex128")
_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})


def aten(*names: str, space: str = "aten") -> Callable[[Converter], Converter]:
    """Enter a converter into the table for operators of one namespace."""

    def entered(function: Converter) -> Converter:
        for name in names:
            assert f"{space}.{name}" not in TABLE, name
            TABLE[f"{space}.{name}"] = function
        return function

    return entered


def unsupported(what: str, actual: object = None, help: str = "") -> UnsupportedOp:
    """The error for a form of an operator that has no conversion."""
    return UnsupportedOp(what, actual=actual, help=help)


# ---- element types -----------------------------------------------------------------------------------------------


def numpy_type(dtype: str) -> np.dtype:
    """The numpy type of that name, bfloat16 and the like included."""
    return np.dtype(getattr(ml_dtypes, dtype, None) or dtype)


def is_float(dtype: str) -> bool:
    """Whether a type is a real floating-point one."""
    return dtype in _FLOATS


def _level(b: GraphBuilder, value: Value) -> tuple[int, str]:
    """How strongly an operand decides the result's type, and its type: tensors, then zero-dimensional ones, numbers."""
    if isinstance(value, str):
        dtype = b.dtype(value)
        return (2 if not b.is_static(value) or b.rank(value) else 1), dtype
    if isinstance(value, bool):
        return 0, "bool"
    return 0, "int64" if isinstance(value, int) else "float32"


def _category(dtype: str) -> int:
    return 0 if dtype == "bool" else 3 if dtype.startswith("complex") else 2 if dtype in _FLOATS else 1


def _wider(one: str, other: str) -> str:
    if {one, other} == {"float16", "bfloat16"}:
        return "float32"
    if {one, other} == {"uint8", "int8"}:
        return "int16"
    return max(one, other, key=_RANK.index)


def result_type(b: GraphBuilder, *values: Value) -> str:
    """The type that PyTorch computes in.

    A weaker operand counts only where its category (bool, integer, float) is higher.

    Source: documentation of torch.result_type.
    """
    best: dict[int, str] = {}
    for level, dtype in (_level(b, v) for v in values):
        best[level] = _wider(best[level], dtype) if level in best else dtype
    result = ""
    for level in (2, 1, 0):
        if level in best and (not result or _category(best[level]) > _category(result)):
            result = best[level]
    return result


def cast(b: GraphBuilder, value: Tensor, dtype: str) -> Tensor:
    """The value in another element type."""
    if b.dtype(value) == dtype:
        return value
    from onnx import helper

    return b.op("Cast", [value], to=helper.np_dtype_to_tensor_dtype(numpy_type(dtype)))


def tensor(b: GraphBuilder, value: Value, dtype: str) -> Tensor:
    """A tensor or a number as a tensor of a type; the number has no dimensions."""
    if isinstance(value, str):
        return cast(b, value, dtype)
    return b.add(np.asarray(value).astype(numpy_type(dtype)))


def promoted(b: GraphBuilder, *values: Value, floating: bool = False) -> list[Tensor]:
    """Operands in the type that PyTorch computes in; with `floating`, a floating-point one."""
    dtype = result_type(b, *values)
    if floating and not is_float(dtype):
        dtype = "float32"
    return [tensor(b, v, dtype) for v in values]


def floating(b: GraphBuilder, value: Tensor) -> Tensor:
    """The value, integers and truth values as float32."""
    return value if is_float(b.dtype(value)) else cast(b, value, "float32")


# ---- shapes ------------------------------------------------------------------------------------------------------


def axis(b: GraphBuilder, value: Tensor, dim: int) -> int:
    """A dimension counted from the front."""
    rank = max(b.rank(value), 1)
    if not -rank <= dim < rank:
        raise unsupported("a dimension that the operand does not have", f"{dim} of {rank}")
    return dim % rank


def axes(b: GraphBuilder, value: Tensor, dims: int | Sequence[int] | None) -> list[int]:
    """Dimensions counted from the front; all of them for None or ()."""
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        return list(range(b.rank(value)))
    return [axis(b, value, d) for d in ([dims] if isinstance(dims, int) else dims)]


def ints(*values: int) -> np.ndarray:
    """An int64 vector, as ONNX takes shapes and places."""
    return np.asarray(values, np.int64)


def reshape(b: GraphBuilder, value: Tensor, shape: Sequence[int]) -> Tensor:
    """The elements in another shape, which may have one -1."""
    if b.is_static(value) and tuple(shape) == b.shape(value):
        return value
    if 0 in shape:
        return b.op("Reshape", [value, ints(*shape)], allowzero=1)
    return b.op("Reshape", [value, ints(*shape)])


def unsqueeze(b: GraphBuilder, value: Tensor, *places: int) -> Tensor:
    """With dimensions of one at these places of the result."""
    return b.op("Unsqueeze", [value, ints(*places)]) if places else value


def squeeze(b: GraphBuilder, value: Tensor, *places: int) -> Tensor:
    """Without these dimensions of one."""
    return b.op("Squeeze", [value, ints(*places)]) if places else value


def permute(b: GraphBuilder, value: Tensor, order: Sequence[int]) -> Tensor:
    """Dimensions in another order."""
    return value if list(order) == list(range(len(order))) else b.op("Transpose", [value], perm=list(order))


def expand(b: GraphBuilder, value: Tensor, shape: Sequence[int]) -> Tensor:
    """Broadcast to a shape."""
    return value if b.shape(value) == tuple(shape) else b.op("Expand", [value, ints(*shape)])


def narrow(b: GraphBuilder, value: Tensor, dim: int, start: int, end: int, step: int = 1) -> Tensor:
    """A part of one dimension, with start and end as Python's slices have them."""
    size = b.shape(value)[dim]
    start, end, step = slice(start, end, step).indices(size)
    if (start, end, step) == (0, size, 1):
        return value
    return b.op("Slice", [value, ints(start), ints(max(start, end)), ints(dim), ints(step)])


def pair(value: int | Sequence[int], count: int) -> list[int]:
    """One number for all of `count` dimensions, or one for each."""
    given = [value] if isinstance(value, int) else list(value)
    return given * count if len(given) == 1 else given


def along(b: GraphBuilder, value: Tensor, place: int, matrix: np.ndarray) -> Tensor:
    """A matrix (size, new size) applied to one dimension."""
    rank = b.rank(value)
    moved = permute(b, value, [*[d for d in range(rank) if d != place], place])
    return permute(b, b.op("MatMul", [moved, matrix]), [*range(place), rank - 1, *range(place, rank - 1)])
