"""What a user gives as inputs against what the model takes: names, kinds, shapes and element types, all faults at once.

A tensor is an array, a sequence a list, a map a dictionary, an absent optional None. Sizes that the model leaves open
(-1) take any size.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from isa import dtypes
from isa.errors import ErrorList, NeuronError
from isa.program import STRING, TensorInfo
from neuronsim.errors import InputError

#: ONNX's names of element types that numpy and `ml_dtypes` spell otherwise; the other fp8 have an underscore more.
_ONNX_NAMES = {
    "float": "float32", "double": "float64", STRING: "object", "float4e2m1": "float4_e2m1fn",
    "float6e2m3": "float6_e2m3fn", "float6e3m2": "float6_e3m2fn", "float8e8m0": "float8_e8m0fnu",
}  # fmt: skip


def numpy_dtype(name: str) -> np.dtype:
    """The numpy type of a dtype name (numpy or `ml_dtypes` spelling; strings are objects).

    Raises: IsaError when there is none.
    """
    if name == STRING:
        return np.dtype(object)
    try:
        return np.dtype(name)
    except TypeError:
        pass
    extension = getattr(ml_dtypes, name, None)
    return np.dtype(extension) if extension is not None else dtypes.dtype(name).numpy


def element_dtype(kind: str) -> np.dtype:
    """The element type in "seq(tensor(float))", "optional(tensor(float8e4m3fn))" ... Raises: IsaError."""
    name = kind.rpartition("tensor(")[2].rstrip(")")
    return numpy_dtype(_ONNX_NAMES.get(name, name.replace("float8e", "float8_e")))


def as_values(infos: Sequence[TensorInfo], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` with arrays made of what stands for one: numbers, nested lists, text."""
    sequences = {i.name for i in infos if not i.is_tensor}
    return {name: value if name in sequences else _as_array(value) for name, value in given.items()}


def _as_array(value: Any) -> np.ndarray:
    array = np.asarray(value)
    return array.astype(object) if array.dtype.kind in "UT" else array


def check_inputs(infos: Sequence[TensorInfo], given: Mapping[str, Any]) -> None:
    """Compare names, kinds, shapes and types of `given` with the model's inputs (absent ones are allowed).

    Raises: ErrorList of InputError (INPUT_NAME, INPUT_KIND, INPUT_SHAPE, INPUT_DTYPE), everything wrong at once.
    """
    expected = {i.name: i for i in infos}
    errors: list[NeuronError] = []
    for name, value in given.items():
        info = expected.get(name)
        if info is None:
            errors.append(_unknown_name(name, list(expected)))
        elif info.is_tensor:
            errors += _tensor_errors(info, value)
        else:
            errors += _container_errors(info, value)
    if errors:
        raise ErrorList(errors)


def _tensor_errors(info: TensorInfo, array: Any) -> Iterator[InputError]:
    if not isinstance(array, np.ndarray):
        yield _kind_error(info, "an array", array)
        return
    fits = len(info.shape) == array.ndim and all(d in (-1, n) for d, n in zip(info.shape, array.shape, strict=True))
    if info.ranked and not fits:
        yield _shape_error(info, array)
    if array.dtype != numpy_dtype(info.dtype):
        yield _dtype_error(info, info.dtype, array)


def _container_errors(info: TensorInfo, value: Any) -> Iterator[InputError]:
    kind = info.dtype
    if info.is_optional:
        if value is None:
            return
        kind = kind.removeprefix("optional(")
    if kind.startswith("map("):
        if not isinstance(value, Mapping):
            yield _kind_error(info, "a dictionary", value)
        return
    sequence = kind.startswith("seq(")
    if sequence != isinstance(value, list | tuple):
        yield _kind_error(info, "a list" if sequence else "an array", value)
        return
    for part in value if sequence else [value]:
        if "map(" not in kind and not (isinstance(part, np.ndarray) and part.dtype == element_dtype(info.dtype)):
            yield _dtype_error(info, str(element_dtype(info.dtype)), part)


def _unknown_name(name: str, expected: list[str]) -> InputError:
    close = difflib.get_close_matches(name, expected, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return InputError(
        f"the model has no input {name!r}",
        code="INPUT_NAME",
        where=name,
        help=f"{hint}inputs: {', '.join(expected) or 'none'}",
    )


def _kind_error(info: TensorInfo, expected: str, value: Any) -> InputError:
    return InputError(
        f"input {info.name!r} has to be {expected}",
        code="INPUT_KIND",
        where=info.name,
        limit=info.dtype,
        actual=type(value).__name__,
        help="sequences are lists of arrays, maps dictionaries, absent optionals None",
    )


def _shape_error(info: TensorInfo, array: np.ndarray) -> InputError:
    return InputError(
        f"input {info.name!r} has the wrong shape",
        code="INPUT_SHAPE",
        where=info.name,
        limit=shape_text(info.shape),
        actual=shape_text(array.shape),
        help=f"compile with --input-shape {info.name}:{shape_text(array.shape)}, or reshape the array",
    )


def _dtype_error(info: TensorInfo, expected: str, value: Any) -> InputError:
    return InputError(
        f"input {info.name!r} has the wrong data type",
        code="INPUT_DTYPE",
        where=info.name,
        limit=expected,
        actual=str(value.dtype) if isinstance(value, np.ndarray) else type(value).__name__,
        help=f"convert it: array.astype({expected!r})",
    )


def shape_text(shape: Sequence[int]) -> str:
    """Sizes as the command line writes them, "?" for one that is known only at run time."""
    return "x".join("?" if d < 0 else str(d) for d in shape) or "scalar"
