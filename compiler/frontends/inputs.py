"""What a model file states about its inputs, what the user says, and the shapes and types that follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import helper

from compiler.errors import ShapeError
from compiler.frontends.onnx.inputs import resolve_shapes
from compiler.frontends.onnx.types import tensor_type
from isa.errors import ErrorList

Dim = int | str | None


@dataclass(frozen=True)
class Given:
    """What the user says about a model's face, beside the file.

    Attributes:
        shapes: full shape by input name.
        dtypes: element type by input name, numpy spelling.
        batch: size of open leading dimensions, or None.
        outputs: names of the results wanted, in order; () for those the file states.
    """

    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    batch: int | None = None
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Declared:
    """An input as a file states it.

    Attributes:
        name: what the user calls it.
        dims: size of each dimension: a number, a symbol shared between inputs, or None where the file says nothing;
            None in all where not even the rank is stated.
        dtype: element type, numpy spelling, or "" where the file does not state it.
        default: type of an input that neither the file nor the user gives one, "" when it has to be given.
    """

    name: str
    dims: tuple[Dim, ...] | None
    dtype: str
    default: str = ""


@dataclass(frozen=True)
class Input:
    """An input as it is compiled: every size known."""

    name: str
    shape: tuple[int, ...]
    dtype: str


def resolve(declared: Sequence[Declared], given: Given) -> tuple[list[Input], list[str]]:
    """Static shape and type of every input, in order, and sentences on what was assumed.

    Raises:
        ShapeError: INPUT_NAME (no such input), INPUT_SHAPE (contradicts the file), INPUT_SYMBOLIC (a size that neither
            the file nor the user states), INPUT_DTYPE (a type that neither states, or that contradicts the file).
        ErrorList: several of these.
    """
    dtypes, errors = _dtypes(declared, given.dtypes)
    errors = [e for e in errors if e.code != "INPUT_NAME" or e.actual not in given.shapes]  # named once, below
    infos = [_info(d, dtypes[d.name] or "float32") for d in declared]
    shapes: dict[str, tuple[int, ...] | None] = {}
    notes: list[str] = []
    try:
        shapes, notes = resolve_shapes(infos, given.shapes, given.batch)
    except ErrorList as found:
        errors += found.errors  # type: ignore[arg-type]
    except ShapeError as found:
        errors.append(found)
    if len(errors) > 1:
        raise ErrorList(errors)
    if errors:
        raise errors[0]
    return [Input(d.name, shapes[d.name] or (), dtypes[d.name]) for d in declared], notes


def check_types(stated: Mapping[str, str], given: Mapping[str, str]) -> None:
    """Compare given element types with the file's, "" where it states none. Raises: as `resolve`."""
    errors = _wrong_types(stated, given)
    if len(errors) > 1:
        raise ErrorList(errors)
    if errors:
        raise errors[0]


def _wrong_types(stated: Mapping[str, str], given: Mapping[str, str]) -> list[ShapeError]:
    errors = []
    for name, dtype in given.items():
        if name not in stated:
            errors.append(ShapeError(f"the model has no input {name!r}", code="INPUT_NAME", actual=name,
                                     limit=", ".join(stated), help="use one of the names in `limit`"))
        elif stated[name] not in ("", dtype):
            errors.append(ShapeError("a given input type contradicts the model's", code="INPUT_DTYPE",
                                     where=f"input {name!r}", limit=stated[name], actual=dtype))
    return errors


def _dtypes(declared: Sequence[Declared], given: Mapping[str, str]) -> tuple[dict[str, str], list[ShapeError]]:
    errors = _wrong_types({d.name: d.dtype for d in declared}, given)
    found = {d.name: given.get(d.name) or d.dtype or d.default for d in declared}
    errors += [
        ShapeError(f"the file does not state the element type of input {name!r}", code="INPUT_DTYPE",
                   where=f"input {name!r}", help=f"give it: --input-dtype {name}:float32")
        for name, dtype in found.items() if not dtype
    ]
    return found, errors


def _info(declared: Declared, dtype: str) -> onnx.ValueInfoProto:
    dims = None if declared.dims is None else list(declared.dims)
    return helper.make_tensor_value_info(declared.name, tensor_type(dtype), dims)
