"""Inputs and outputs of a run as npz files, without pickle; docs/architecture.md, "Arrays in files", has the spelling.

A key is a tensor's name. What numpy's format cannot say is told by the key: `name::bf16` for types that numpy lacks,
`name.len`, `name.0`, `name.1` ... for a sequence, `name.keys` and `name.values` for a map. Strings are unicode arrays.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from isa import dtypes
from isa.errors import NeuronError
from isa.program import TensorInfo
from neuronsim.cli.output import write_atomic

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same arrays give the same bytes
_MARKS = {d.numpy: d.name for d in reversed(dtypes.DTYPES)}  # the device's own names, where it has the type


class ArrayFileError(NeuronError):
    """An npz file that cannot be read as arrays, or values that none can hold."""

    code = "NPZ"


def save_arrays(path: str | Path, values: Mapping[str, Any]) -> None:
    """Write values of `Neff.run` as an npz, atomically. Raises: ArrayFileError, OSError."""
    stored = [part for name, value in values.items() for part in _parts(name, value)]
    write_atomic(path, lambda stream: _write_npz(stream, stored))


def load_arrays(path: str | Path, infos: Sequence[TensorInfo] = ()) -> dict[str, Any]:
    """Values of an npz by tensor name, for `Neff.run`.

    Args:
        infos: tensors of the model; sequences and maps among them are put together again.
    Raises: ArrayFileError for anything that is not a plain npz, or lacks a part.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ArrayFileError(
                    "expected an npz archive of named arrays", where=str(path), help="numpy.savez(path, name=array)"
                )
            found: dict[str, Any] = dict(_restored(key, file[key]) for key in file.files)
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ArrayFileError(f"cannot read arrays: {error}", where=str(path)) from error
    for info in infos:
        _assemble(info, found, str(path))
    return found


# ---- writing


def _parts(name: str, value: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Keys and arrays of one value: none for an absent optional."""
    if value is None:
        return
    if isinstance(value, Mapping):
        yield from _parts(f"{name}.keys", np.array(list(value), object if _textual(value) else np.int64))
        yield from _parts(f"{name}.values", np.stack([np.asarray(v) for v in value.values()]) if value else np.zeros(0))
    elif isinstance(value, list | tuple):
        yield f"{name}.len", np.array(len(value), np.int64)
        for index, element in enumerate(value):
            yield from _parts(f"{name}.{index}", element)
    else:
        yield _stored(name, np.asarray(value))


def _textual(value: Mapping[Any, Any]) -> bool:
    return any(isinstance(key, str) for key in value)


def _stored(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    if array.dtype.kind in "OUT":
        if any(str(text).endswith("\0") for text in array.flat):
            raise ArrayFileError("numpy's format drops the zero at the end of a text", where=name)
        return name, array.astype(str)
    if array.dtype.isbuiltin == 1:
        return name, array
    mark = _MARKS.get(array.dtype, array.dtype.name)
    return f"{name}::{mark}", np.ascontiguousarray(array).reshape(array.shape).view(f"u{array.dtype.itemsize}")


def _write_npz(stream: IO[bytes], stored: Sequence[tuple[str, np.ndarray]]) -> None:
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for key, array in stored:
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{key}.npy", ZIP_EPOCH), buffer.getvalue())


# ---- reading


def _restored(key: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    name, mark, suffix = key.rpartition("::")
    dtype = _marked(suffix) if mark else None
    if dtype is not None and array.dtype == np.dtype(f"u{dtype.itemsize}"):
        return name, array.view(dtype)
    return key, array.astype(object) if array.dtype.kind == "U" else array


def _marked(mark: str) -> np.dtype | None:
    """The type that a key's mark names; None for a `::` that belongs to a tensor's name."""
    if mark in dtypes.BY_NAME:
        return dtypes.BY_NAME[mark].numpy
    try:
        return np.dtype(getattr(ml_dtypes, mark, None) or "")
    except TypeError:
        return None


def _assemble(info: TensorInfo, found: dict[str, Any], where: str) -> None:
    """Replace the parts of a sequence or map in `found` by the value; an optional without parts stays away."""
    name = info.name
    if "seq(" in info.dtype and f"{name}.len" in found:
        length = int(found.pop(f"{name}.len"))
        found[name] = [_element(found, f"{name}.{index}", where) for index in range(length)]
    elif "map(" in info.dtype and f"{name}.keys" in found:
        found[name] = _element(found, name, where)


def _element(found: dict[str, Any], name: str, where: str) -> Any:
    if f"{name}.keys" in found and f"{name}.values" in found:
        keys, values = found.pop(f"{name}.keys"), found.pop(f"{name}.values")
        return dict(zip(keys.tolist(), values, strict=True))
    if name not in found:
        raise ArrayFileError(f"a sequence lacks {name!r}", where=where, help="its .len says how many parts there are")
    return found.pop(name)
