"""A NEFF file opened for reading: mapped, structure and hashes checked, members as views."""
from __future__ import annotations

import hashlib
import mmap
import os
import stat
from pathlib import Path

import numpy as np

from isa.errors import ContainerError
from isa.neff import archive, header
from isa.neff.layout import HEADER_BYTES, MANIFEST

_DIGEST_HEX = 64


class Container:
    """One mapped NEFF: `header`, and members by name. Views keep the mapping alive; there is nothing to close.

    Opening checks the header, every member header, all filler, the manifest and the header hash; the hash of a member
    is checked by `verify`, once. A file must not be changed in place while it is open (writers here replace it).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._bytes = _map(self.path)
            view = self._bytes.data
            self.header = header.parse(bytes(view[:HEADER_BYTES]), len(view))
            self._members = {m.name: m for m in archive.members(view)}
            self._check_seal()
        except ContainerError as error:
            raise located(error, self.path) from error.__cause__
        self._verified: set[str] = set()

    @property
    def names(self) -> list[str]:
        """Member names in file order, the manifest left out."""
        return [n for n in self._members if n != MANIFEST]

    @property
    def all_names(self) -> list[str]:
        """Member names in file order, the manifest first."""
        return list(self._members)

    def size(self, name: str) -> int:
        """Return the bytes of a member. Raises: ContainerError (NEFF_MEMBER_MISSING)."""
        return self._member(name).size

    def unverified(self, name: str) -> np.ndarray:
        """Return the [n] uint8 view of a member, hash not looked at."""
        member = self._member(name)
        return self._bytes[member.offset : member.offset + member.size]

    def bytes(self, name: str) -> np.ndarray:
        """Return the [n] uint8 view of a member after checking its hash once. Raises: ContainerError."""
        self.verify(name)
        return self.unverified(name)

    def verify(self, name: str) -> None:
        """Raise ContainerError (NEFF_HASH) unless the member's bytes are those of the manifest."""
        if name in self._verified or name == MANIFEST:  # the header's hash covers the manifest
            return
        data = self.unverified(name)
        if hashlib.sha256(data.data).hexdigest() != self._digests[name]:
            raise ContainerError("bytes of a member differ from the manifest's hash", code="NEFF_HASH", section=name,
                                 offset=self._members[name].offset, where=str(self.path),
                                 help="the file is damaged; compile the model again or fetch a fresh copy")
        self._verified.add(name)

    def verify_all(self) -> None:
        """Check the hash of every member, weights included. Raises: ContainerError (NEFF_HASH)."""
        for name in self.names:
            self.verify(name)

    def _member(self, name: str) -> archive.Member:
        found = self._members.get(name)
        if found is None:
            raise ContainerError("member is missing", code="NEFF_MEMBER_MISSING", section=name)
        return found

    def _check_seal(self) -> None:
        manifest = self.unverified(MANIFEST).tobytes()
        if self.header.sealed(manifest) != self.header:
            raise ContainerError("header and manifest differ from the header's hash", code="NEFF_HASH",
                                 section="header", offset=0,
                                 help="the file is damaged; compile the model again or fetch a fresh copy")
        self._digests = parse_manifest(manifest)
        if list(self._digests) != self.names or next(iter(self._members)) != MANIFEST:
            raise ContainerError("manifest and archive do not list the same members in the same order",
                                 code="NEFF_MANIFEST", section=MANIFEST)


def located(error: ContainerError, path: Path) -> ContainerError:
    """Return `error` with the file's name in its place."""
    if not error.where.startswith(str(path)):
        error.where = ", ".join(p for p in (str(path), error.where) if p)
    return error


def manifest(digests: dict[str, str]) -> bytes:
    """Return the manifest of member name -> sha256 hex, in the format of the `sha256sum` command."""
    return b"".join(f"{digest}  {name}\n".encode() for name, digest in digests.items())


def parse_manifest(raw: bytes) -> dict[str, str]:
    """Return member name -> sha256 hex. Raises: ContainerError (NEFF_MANIFEST) unless `raw` is its own re-encoding."""
    digests = {}
    for line in raw.decode("ascii", errors="replace").splitlines():
        digests[line[_DIGEST_HEX + 2 :]] = line[:_DIGEST_HEX]
    if manifest(digests) != raw or not all(_is_digest(d) for d in digests.values()):
        raise ContainerError("manifest line is not `sha256  member`", code="NEFF_MANIFEST", section=MANIFEST)
    return digests


def _is_digest(text: str) -> bool:
    return len(text) == _DIGEST_HEX and all(c in "0123456789abcdef" for c in text)


def _map(path: Path) -> np.ndarray:
    try:
        with open(path, "rb", opener=_open_without_blocking) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ContainerError("not a regular file", code="NEFF_OPEN")
            if status.st_size == 0:
                raise ContainerError("file is empty", code="NEFF_EMPTY", limit=HEADER_BYTES, actual=0)
            mapped = mmap.mmap(file.fileno(), status.st_size, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ContainerError(f"cannot open the file: {error.strerror}", code="NEFF_OPEN") from error
    return np.frombuffer(mapped, dtype=np.uint8)


def _open_without_blocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO in the file's place must not hang the reader
