"""Writing results: files that appear whole or not at all, JSON, notes on stderr."""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np


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
