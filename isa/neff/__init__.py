"""The NEFF container: the only place where compiler and machine meet. The format is described in docs/neff.md."""
from __future__ import annotations

import os
from pathlib import Path

from isa.errors import ContainerError
from isa.neff.container import Container
from isa.neff.decode import open_program
from isa.neff.inspection import inspect
from isa.neff.weights import StoredWeight, weight_bytes
from isa.neff.writer import identity, write
from isa.program import Program

__all__ = ["Container", "StoredWeight", "identity", "inspect", "read", "unpack", "verify_all", "weight_bytes", "write"]


def read(path: str | os.PathLike[str], verify: bool = False) -> Program:
    """Return the program in a NEFF file, mapped and not copied.

    Everything but weights is checked here: sizes, offsets, padding, limits, references and hashes. A weight's `data`
    is hashed when it is first asked for (`StoredWeight`), or here with `verify`. Instructions are not validated: that
    is `isa.validator`. Raises: ContainerError, whose `code` names the broken rule.
    """
    return open_program(path, verify)[1]


def verify_all(path: str | os.PathLike[str]) -> None:
    """Check every byte of a NEFF file, weights included. Raises: ContainerError."""
    read(path, verify=True)


def unpack(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> list[str]:
    """Write the members of a NEFF file below `folder` and return their names.

    Every byte is verified before the first is written. `sha256sum -c manifest.sha256` checks the result. Raises:
    ContainerError (NEFF_UNPACK when `folder` exists and is not an empty folder, or any rule of the file).
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ContainerError("the folder to unpack into exists and is not empty", code="NEFF_UNPACK",
                             where=str(target), help="name a new or empty folder")
    container, _ = open_program(path, verify=True)
    for name in container.all_names:
        member = target / name
        member.parent.mkdir(parents=True, exist_ok=True)
        member.write_bytes(container.bytes(name).data)
    return container.all_names
