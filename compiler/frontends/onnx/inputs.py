"""Which inputs a model has and which static shape each gets from the model, --input-shape and --batch."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import onnx

from compiler.errors import ShapeError
from isa.errors import ErrorList

_BATCH_NAME = re.compile(r"^(n|b|bs|batch(_?size)?|.*batch.*)$", re.IGNORECASE)

Dim = int | str


def resolve_shapes(
    inputs: Sequence[onnx.ValueInfoProto],
    input_shapes: Mapping[str, Sequence[int]] | None,
    batch: int | None,
) -> tuple[dict[str, tuple[int, ...] | None], list[str]]:
    """Return the static shape of every input, None for what the host takes as it comes, and notes on what was assumed.

    Sequences and optional values keep the type the model gives them, and so do tensors of strings whose sizes nobody
    states.

    A given shape binds the symbols of its input everywhere. `batch` sets the first dimension of inputs where it is
    symbolic, or of all inputs when it is symbolic nowhere. What is left: batch-like dimensions become 1, those of
    strings only beside numbers, for which it is decided.

    Raises:
        ShapeError: codes INPUT_NAME, INPUT_SHAPE, INPUT_SYMBOLIC (several as ErrorList).
    """
    given = {k: tuple(int(d) for d in v) for k, v in (input_shapes or {}).items()}
    declared = {i.name: _dims(i) for i in inputs if i.type.HasField("tensor_type")}
    texts = [i.name for i in inputs if i.type.tensor_type.elem_type == onnx.TensorProto.STRING]
    errors: list[ShapeError] = [_unknown_name(n, declared) for n in given if n not in declared]
    if batch is not None and batch < 1:
        errors.append(ShapeError("the batch must be at least 1", code="INPUT_SHAPE", limit=1, actual=batch))
    bound: dict[str, int] = {}
    for name, shape in given.items():
        if name in declared:
            errors += _bind(name, shape, declared[name], bound)
    _raise(errors)
    notes: list[str] = []
    shapes: dict[str, tuple[int, ...] | None] = {i.name: None for i in inputs}
    anywhere = any(d and isinstance(d[0], str) for n, d in declared.items() if n not in given and d is not None)
    for name, dims in declared.items():
        if name in given:
            shapes[name] = given[name]
        elif name in texts:
            continue
        elif dims is None:
            errors.append(_no_rank(name))
        else:
            shapes[name] = _fill(name, _with_batch(dims, batch, anywhere), bound, notes, errors)
    _raise(errors)
    for name in (t for t in texts if t not in given and declared[t] is not None):
        shapes[name] = _known(_with_batch(declared[name] or [], batch, anywhere), bound, bool(notes))
    if batch is not None and not anywhere and not given:
        notes.append(f"the model states a fixed batch; --batch {batch} replaces it")
    return shapes, notes


def _dims(info: onnx.ValueInfoProto) -> list[Dim] | None:
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else (d.dim_param or f"?{k}")
            if not (d.HasField("dim_value") and d.dim_value == 0) else 0 for k, d in enumerate(tensor.shape.dim)]


def _with_batch(dims: list[Dim], batch: int | None, symbolic_anywhere: bool) -> list[Dim]:
    if batch is None or not dims or (symbolic_anywhere and not isinstance(dims[0], str)):
        return dims
    return [batch, *dims[1:]]


def _bind(name: str, shape: tuple[int, ...], dims: list[Dim] | None, bound: dict[str, int]) -> list[ShapeError]:
    if any(d < 0 for d in shape):
        return [ShapeError("a given input shape has a negative dimension", code="INPUT_SHAPE", where=f"input {name!r}",
                           actual=_text(shape))]
    if dims is None:
        return []
    if len(dims) != len(shape):
        return [ShapeError("a given input shape has another rank than the model's input", code="INPUT_SHAPE",
                           where=f"input {name!r}", limit=_text(dims), actual=_text(shape))]
    for position, (dim, size) in enumerate(zip(dims, shape, strict=True)):
        if isinstance(dim, int) and dim != size and position > 0:
            return [ShapeError("a given input shape contradicts a fixed dimension of the model", code="INPUT_SHAPE",
                               where=f"input {name!r}, dimension {position}", limit=dim, actual=size)]
        if isinstance(dim, str) and not dim.startswith("?") and bound.setdefault(dim, size) != size:
            return [ShapeError(f"the symbol {dim!r} is given two sizes", code="INPUT_SHAPE", where=f"input {name!r}",
                               limit=bound[dim], actual=size)]
    return []


def _fill(name: str, dims: list[Dim], bound: dict[str, int], notes: list[str],
          errors: list[ShapeError]) -> tuple[int, ...]:
    filled = [bound.get(d, d) if isinstance(d, str) else d for d in dims]
    open_dims = [k for k, d in enumerate(filled) if isinstance(d, str)]
    for k in list(open_dims):
        if k == 0 or _BATCH_NAME.match(str(filled[k])):
            notes.append(f"input {name!r}: dimension {k} ({_symbol(dims[k])}) is taken as a batch of 1; "
                         "--batch or --input-shape sets another")
            filled[k] = 1
            open_dims.remove(k)
    if open_dims:
        example = _text([d if isinstance(d, int) else "N" for d in filled])
        errors.append(ShapeError(
            f"input {name!r} has no fixed size in dimension {', '.join(map(str, open_dims))} "
            f"({', '.join(_symbol(dims[k]) for k in open_dims)})",
            code="INPUT_SYMBOLIC", where=f"input {name!r}", actual=_text([_symbol(d) for d in dims]),
            help=f"give it: --input-shape {name}:{example} with numbers for N"))
        return ()
    return tuple(int(d) for d in filled)


def _known(dims: list[Dim], bound: Mapping[str, int], one: bool) -> tuple[int, ...] | None:
    """The sizes of a tensor of strings, None unless all are known; `one`: an open first dimension is a batch of 1."""
    filled = [bound.get(d, 1 if one and k == 0 else d) if isinstance(d, str) else d for k, d in enumerate(dims)]
    return None if any(isinstance(d, str) for d in filled) else tuple(int(d) for d in filled)


def _symbol(dim: Dim) -> str:
    return "unnamed" if isinstance(dim, str) and dim.startswith("?") else str(dim)


def _text(dims: Sequence[Dim]) -> str:
    return "x".join(map(str, dims))


def _unknown_name(name: str, declared: Mapping[str, object]) -> ShapeError:
    return ShapeError(f"the model has no input {name!r}", code="INPUT_NAME", actual=name,
                      limit=", ".join(declared), help="use one of the names in `limit`")


def _no_rank(name: str) -> ShapeError:
    return ShapeError(f"input {name!r} has no shape at all", code="INPUT_SYMBOLIC", where=f"input {name!r}",
                      help=f"give it: --input-shape {name}:1x3x224x224 (as the model expects)")


def _raise(errors: list[ShapeError]) -> None:
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ErrorList(errors)
