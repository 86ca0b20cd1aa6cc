"""Program -> NEFF file, in one pass over the bytes and atomically."""
from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from isa.errors import ContainerError
from isa.neff import archive, container, encode
from isa.neff.header import Header
from isa.neff.layout import BLOCK, END_OF_ARCHIVE_BYTES, MANIFEST
from isa.neff.pipeline import check_pipeline
from isa.neff.rules import check_program
from isa.program import Program


def write(program: Program, path: str | os.PathLike[str]) -> None:
    """Write `program` as a NEFF file; the same program always gives the same bytes.

    The file appears complete or not at all (a temporary file beside it is renamed). Wall-clock facts of the report
    (`layout.VOLATILE_REPORT_KEYS`) are left out. Raises: ContainerError when the program breaks a rule of the format,
    OSError when the disk does.
    """
    check_program(program)
    check_pipeline(program.nodes, program.stages)
    header, members = _sealed(program)
    replace_file(Path(path), header.to_bytes(), members)


def identity(program: Program) -> str:
    """The hash in the header of the program's NEFF, as 64 hex digits; of the one it would have when it has none yet.

    Programs of equal identity are the same to the last bit. Encodes and hashes a program in memory, once.
    """
    if not program.seal:
        program.seal = _sealed(program)[0].hash.hex()
    return program.seal


def _sealed(program: Program) -> tuple[Header, encode.Members]:
    """The header and all members, the manifest first."""
    members = encode.members(program)
    digests = {name: hashlib.sha256(data.data).hexdigest() for name, data in members.items()}
    manifest = container.manifest(digests)
    everything = {MANIFEST: np.frombuffer(manifest, dtype=np.uint8)} | members
    return Header.of(program, archive_bytes(everything)).sealed(manifest), everything


def archive_bytes(members: encode.Members) -> int:
    """Return the bytes of the archive of these members."""
    return sum(BLOCK + data.size + archive.padding(data.size) for data in members.values()) + END_OF_ARCHIVE_BYTES


def replace_file(path: Path, header: bytes, members: encode.Members) -> None:
    """Write header and archive to a temporary file beside `path` and rename it into place."""
    path = Path(os.path.realpath(path))  # through links: what they name is replaced, not the link
    if path.exists() and not path.is_file():
        raise ContainerError("the output is not a regular file", code="NEFF_OPEN", where=str(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(header)
            _write_archive(file, members)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_archive(file: BinaryIO, members: encode.Members) -> None:
    for name, data in members.items():
        if data.dtype != np.uint8:
            raise ContainerError("member data are not bytes", code="NEFF_STREAM", section=name)
        file.write(archive.tar_header(name, data.size))
        file.write(data.data)
        file.write(bytes(archive.padding(data.size)))
    file.write(bytes(END_OF_ARCHIVE_BYTES))
