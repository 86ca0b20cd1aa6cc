"""Files and folders that are either complete or not there."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from isa.errors import NeuronError


class ExportError(NeuronError):
    """An export that cannot be made; `code` is EXPORT."""

    code = "EXPORT"


@contextmanager
def new_file(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary stream that becomes `path` at the end. Raises: OSError; then `path` is as it was."""
    target = Path(os.path.realpath(path))  # through links: what they name is replaced, not the link
    if target.exists() and not target.is_file():
        raise FileExistsError(errno.EEXIST, "not a regular file", str(path))
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def new_files(folder: str | Path) -> Iterator[Path]:
    """A new folder that becomes `folder` at the end; if there is one, its files replace those of the same names.

    Other files of `folder` stay. Raises: OSError; then nothing has moved.
    """
    target = Path(os.path.realpath(folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp"))
    try:
        yield made
        os.chmod(made, 0o777 & ~_umask())
        if not target.exists():
            os.replace(made, target)
        else:
            for file in sorted(made.iterdir()):
                os.replace(file, target / file.name)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
