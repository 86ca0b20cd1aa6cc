"""Reads a tar archive of any compression front to back, in bounded memory: headers and data as a stream."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compiler.errors import ModelError

_BLOCK = 512
_CHUNK = 1 << 20
#: A long name or a set of extended attributes is smaller; all of them together as well.
_MAX_HEADER, _MAX_HEADERS = 1 << 20, 1 << 24
#: Padding behind the end: tar's blocks are 10 KiB, tapes had some MiB.
_MAX_PADDING = 1 << 24
#: Working memory of xz at its strongest usual setting (-9) is 65 MiB.
_XZ_MEMORY = 1 << 28
_KINDS = {
    tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file", tarfile.CONTTYPE: "file", tarfile.DIRTYPE: "folder",
    tarfile.LNKTYPE: "hard link", tarfile.SYMTYPE: "symbolic link", tarfile.GNUTYPE_SPARSE: "sparse file",
}  # fmt: skip
#: What decoders of the library raise for data they cannot decode; NotImplementedError is `zipfile`'s.
_BROKEN = (
    zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile, tarfile.HeaderError, EOFError, NotImplementedError
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """What an archive says of one of its members. kind: "file", "folder", or what is refused. size: bytes of a file."""

    name: str
    kind: str
    size: int


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """Turn what decoders raise into ModelError ARCHIVE_DAMAGED; names that are no UTF-8 into ARCHIVE_PATH."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise ModelError("a name in the archive is no UTF-8 text", code="ARCHIVE_PATH", where=str(path),
                         actual=repr(error.object[:100]), help="rename the file and pack again") from None
    except _BROKEN as error:
        raise ModelError(f"the archive is cut off or damaged: {error or type(error).__name__}", code="ARCHIVE_DAMAGED",
                         where=str(path), help="copy or pack it again") from None


def is_tar(path: Path) -> bool:
    """Whether a file is a tar archive, compressed or not."""
    try:
        pieces = _pieces(path)
        first = b"".join(piece for piece, _ in zip(pieces, range(1), strict=False))[:_BLOCK]
        if not first.strip(b"\0"):
            return len(first) == _BLOCK and is_compressed(path)
        tarfile.TarInfo.frombuf(first, "utf-8", "replace")
    except tarfile.HeaderError:
        return False
    except (*_BROKEN, OSError):  # compressed data that end or break off at once: it is for `entries` to say so
        return is_compressed(path)
    return True


def is_compressed(path: Path) -> bool:
    """Whether a file is one that gzip, bzip2 or xz made."""
    return _magic(path) is not None


def entries(path: Path) -> Iterator[tuple[Entry, Iterator[bytes]]]:
    """Every member in order, with its data in pieces; what of them is not taken is skipped. Raises: as `damage`."""
    with damage(path):
        stream = _Stream(_pieces(path))
        long_name, attributes, headers = "", dict[str, str](), 0
        while (block := stream.read(_BLOCK)).strip(b"\0"):
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
            if info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
                             tarfile.SOLARIS_XHDTYPE):  # fmt: skip
                headers += abs(info.size) + _BLOCK
                if abs(info.size) > _MAX_HEADER or headers > _MAX_HEADERS:
                    raise ModelError("the archive has more headers than content", code="ARCHIVE_SIZE", where=str(path))
                data = stream.read(_padded(info.size))[: info.size]
                if info.type == tarfile.GNUTYPE_LONGNAME:
                    long_name = data.rstrip(b"\0").decode()
                elif info.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
                    attributes = _attributes(data)
                continue
            kind = _KINDS.get(info.type, "device or other special file")
            if any(key.startswith("GNU.sparse") for key in attributes):
                kind = "sparse file"
            size = _number(attributes.get("size", str(info.size))) if kind == "file" else 0
            pieces = stream.take(size)
            yield Entry(attributes.get("path", long_name or info.name), kind, size), pieces
            for _ in pieces:
                pass
            stream.read(_padded(size) - size)
            long_name, attributes = "", {}
        stream.finish(path)


def _attributes(data: bytes) -> dict[str, str]:
    """Records `LENGTH KEY=VALUE\\n` of an extended header (POSIX.1-2017, pax); values that are no text are left out."""
    found: dict[str, str] = {}
    data, at = data.rstrip(b"\0"), 0
    while at < len(data):
        length = data[at : at + 20].partition(b" ")[0]
        start, end = at + len(length) + 1, at + _number(length.decode("ascii", "replace"))
        if not start < end <= len(data) or data[end - 1 : end] != b"\n":
            raise EOFError("an extended header does not parse")
        key, _, value = data[start : end - 1].partition(b"=")
        if key in (b"path", b"size") or key.startswith(b"GNU.sparse"):
            found[key.decode()] = value.decode()
        at = end
    return found


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,40}", text):
        raise EOFError("an extended header has no number where one is needed")
    return int(text)


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _magic(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(6)
    forms = ((b"\x1f\x8b", "gz"), (b"BZh", "bz2"), (b"\xfd7zXZ\0", "xz"))
    return next((form for magic, form in forms if head.startswith(magic)), None)


def _pieces(path: Path) -> Iterator[bytes]:
    """The decompressed bytes, at most `_CHUNK` at once."""
    form = _magic(path)
    if form == "xz":
        yield from _xz_pieces(path)
        return
    with gzip.open(path) if form == "gz" else bz2.open(path) if form == "bz2" else path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


def _xz_pieces(path: Path) -> Iterator[bytes]:
    """xz by hand, for its reader in the library takes as much memory as the file asks for."""
    with path.open("rb") as file:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        while not decoder.eof:
            packed = file.read(_CHUNK) if decoder.needs_input else b""
            if decoder.needs_input and not packed:
                raise EOFError("the compressed data end early")
            yield decoder.decompress(packed, _CHUNK)


class _Stream:
    """Exact reads from pieces of any size."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._piece, self._at = pieces, b"", 0

    def take(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes as they come. Raises: EOFError."""
        while size:
            if self._at == len(self._piece):
                piece = next(self._pieces, None)
                if piece is None:
                    raise EOFError("it ends in the middle of a file")
                self._piece, self._at = piece, 0
            taken = self._piece[self._at : self._at + size]
            self._at += len(taken)
            size -= len(taken)
            yield taken

    def read(self, size: int) -> bytes:
        """The next `size` bytes in one. Raises: EOFError."""
        return b"".join(self.take(size))

    def finish(self, path: Path) -> None:
        """Read to the end, so that the checksum of the compression is compared. Raises: ModelError ARCHIVE_SIZE."""
        left = _MAX_PADDING
        for piece in self._pieces:
            left -= len(piece)
            if left < 0:
                raise ModelError("the archive goes on behind its end", code="ARCHIVE_SIZE", where=str(path))
