"""Writing results: files that appear whole or not at all, JSON, npz without pickle, notes on stderr."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from isa import dtypes
from isa.errors import NeuronError

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same arrays give the same bytes


class ArrayFileError(NeuronError):
    """An npz file that cannot be read as arrays."""

    code = "NPZ"


def note(text: str) -> None:
    """A remark for the user that is not part of the output."""
    sys.stderr.write(f"note: {text}\n")


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json_text(value))


def json_text(value: Any) -> str:
    """JSON with numpy numbers as numbers; NaN and infinities become null."""
    return json.dumps(_plain(value), indent=1, allow_nan=False) + "\n"


def write_atomic(path: str | Path, write: Callable[[IO[bytes]], None]) -> None:
    """Write a file through a temporary one beside it, so that `path` is either complete or untouched."""
    target = Path(os.path.realpath(path))  # through links: what they name is replaced, not the link
    if target.exists() and not target.is_file():
        raise FileExistsError(errno.EEXIST, "not a regular file", str(path))
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def write_json(path: str | Path, value: Any) -> None:
    """A JSON file, atomically."""
    write_text(path, json_text(value))


def write_text(path: str | Path, text: str) -> None:
    """A UTF-8 text file, atomically."""
    write_atomic(path, lambda stream: _write_all(stream, text.encode()))


def save_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays as an npz, atomically, without pickle.

    Key = name of the tensor. numpy's format has no bf16 and fp8: such an array is stored as its bits (uint16 or uint8)
    under `name::bf16`, `name::fp8_e4m3`, `name::fp8_e5m2`; `load_arrays` restores it.
    """
    write_atomic(path, lambda stream: _write_npz(stream, arrays))


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Arrays of an npz by tensor name. Raises: ArrayFileError for anything that is not a plain npz."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ArrayFileError(
                    "expected an npz archive of named arrays", where=str(path), help="numpy.savez(path, name=array)"
                )
            return dict(_restored(key, file[key]) for key in file.files)
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ArrayFileError(f"cannot read arrays: {error}", where=str(path)) from error


def _write_npz(stream: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            key, bits = _stored(name, np.asarray(array))
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, bits, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{key}.npy", ZIP_EPOCH), buffer.getvalue())


def _stored(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    if array.dtype.isbuiltin == 1:
        return name, array
    return f"{name}::{dtypes.from_numpy(array.dtype).name}", array.view(f"u{array.dtype.itemsize}")


def _restored(key: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    name, mark, suffix = key.rpartition("::")
    kind = dtypes.BY_NAME.get(suffix)
    if not mark or kind is None or array.dtype != np.dtype(f"u{kind.size}"):
        return key, array
    return name, array.view(kind.numpy)


def _write_all(stream: IO[bytes], data: bytes) -> None:
    stream.write(data)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
