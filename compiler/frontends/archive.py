"""Opens archives that nobody vouches for: tar (plain, gzip, bzip2, xz) and zip.

What an archive says about itself is checked before anything is written, and what comes out is counted while it does.
"""

from __future__ import annotations

import re
import shutil
import stat
import struct
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from compiler.errors import ModelError
from compiler.frontends.tarstream import Entry, damage, entries, is_tar

#: Models with external data, or SavedModels with assets, have hundreds of files; this leaves room.
MAX_ENTRIES = 1 << 16
#: Bytes that come out: twice the device memory of a Trn1 chip (32 GiB, isa/targets).
MAX_BYTES = 1 << 36
#: Trained weights hardly shrink (by less than 2), pruned ones by some tens; deflate itself ends at 1032. What is small
#: once unpacked may shrink as it likes: models whose weights were never trained do.
MAX_RATIO, FREE_BYTES = 200, 1 << 26
#: Bytes of a zip's directory: 46 and a name for each of MAX_ENTRIES. `zipfile` makes objects of all before any is seen.
_MAX_DIRECTORY = MAX_ENTRIES * 128
#: Disk space that is left alone.
_RESERVE = 1 << 28
_MAX_DEPTH, _MAX_NAME = 32, 255
_CHUNK = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def is_archive(path: Path) -> bool:
    """Whether a file is an archive by its content: a zip, or a tar however compressed."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\3\4", b"PK\5\6") or is_tar(path)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A temporary folder with what an archive holds, removed at the end.

    Raises: ModelError ARCHIVE_PATH (absolute, with "..", too long), ARCHIVE_LINK (links and devices),
        ARCHIVE_DUPLICATE (two entries of one name, capitals apart), ARCHIVE_SIZE (too many entries or bytes for what
        the file is), ARCHIVE_ENCRYPTED, ARCHIVE_DAMAGED, ARCHIVE_DISK (not enough space).
    """
    with TemporaryDirectory(prefix="neuronsim-") as temporary:
        folder = Path(temporary, path.name.partition(".")[0] or "model")  # a SavedModel is called what its folder is
        folder.mkdir()
        names, budget = _Names(path), _Budget(path, folder)
        try:
            with damage(path):
                for entry, pieces in _contents(path):
                    budget.promise(entry)
                    name = names.take(entry)
                    if entry.kind == "file":
                        _store(folder / name, pieces, entry.size)
                    else:
                        (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModelError(f"an archive cannot be unpacked: {error.strerror or error}", code="ARCHIVE_DISK",
                             where=str(path), help="set TMPDIR to a folder with more space") from None
        yield folder


@contextmanager
def checked_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip file whose directory is sound: every entry can be read at no more than the size it states.

    Entries are stored or deflated, not encrypted, of different names, do not overlap, and stay within the limits.
    Reading one whose data differ from what was stated raises ModelError too, as long as the context lasts.
    Raises: ModelError ARCHIVE_SIZE, ARCHIVE_ENCRYPTED, ARCHIVE_DUPLICATE, ARCHIVE_DAMAGED.
    """
    with damage(path):
        _check_directory(path)
        file = _opened(path)
    with file, damage(path):
        _check_entries(path, file.infolist())
        yield file


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (NotImplementedError, struct.error, IndexError, OverflowError, OSError) as error:
        raise zipfile.BadZipFile(str(error)) from None


def _check_entries(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    size, packed = path.stat().st_size, sum(i.compress_size for i in infos)
    if not all(i.filename and 0 <= i.header_offset < size for i in infos):
        raise zipfile.BadZipFile("an entry has no name, or lies outside the file")
    if any(i.flag_bits & 0x1 for i in infos):
        raise ModelError("the archive is encrypted", code="ARCHIVE_ENCRYPTED", where=str(path),
                         help="pack it again without a password")
    if any(i.compress_type not in _METHODS for i in infos):
        raise ModelError("an entry of the zip is neither stored nor deflated", code="ARCHIVE_DAMAGED", where=str(path),
                         help="pack it again with usual settings")
    if len({i.filename for i in infos}) < len(infos):
        raise ModelError("two entries of the archive have the same name", code="ARCHIVE_DUPLICATE", where=str(path))
    if packed > size:
        raise ModelError("entries of the zip overlap", code="ARCHIVE_SIZE", where=str(path), limit=f"{size} bytes",
                         actual=packed)
    check_size(path, len(infos), sum(i.file_size for i in infos))


def check_size(path: Path, count: int, total: int) -> None:
    """Compare what comes out of an archive with the limits. Raises: ModelError ARCHIVE_SIZE."""
    allowed = min(MAX_BYTES, FREE_BYTES + MAX_RATIO * path.stat().st_size)
    if count > MAX_ENTRIES or total > allowed:
        limit, actual = (f"{MAX_ENTRIES} entries", count) if count > MAX_ENTRIES else (f"{allowed} bytes", total)
        raise ModelError("the archive holds more than a model of its size would", code="ARCHIVE_SIZE", where=str(path),
                         limit=limit, actual=actual, help="if it can be trusted, unpack it and give the folder")


class _Budget:
    """Counts what comes out of an archive."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.count, self.total = path, 0, 0
        self.free = shutil.disk_usage(folder).free - _RESERVE

    def promise(self, entry: Entry) -> None:
        """Check an entry's stated size before its data. Raises: ModelError ARCHIVE_SIZE, ARCHIVE_DISK."""
        self.count += 1
        self.total += entry.size
        check_size(self.path, self.count, self.total)
        if self.total > self.free:
            raise ModelError("there is not enough disk space to unpack the archive", code="ARCHIVE_DISK",
                             where=str(self.path), limit=f"{max(0, self.free)} bytes", actual=self.total,
                             help="set TMPDIR to a folder with more space")


class _Names:
    """Checks names, and that none comes twice, on disks that ignore capitals too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, tuple[str, str]] = {}  # by spelling without capitals: path, kind

    def take(self, entry: Entry) -> str:
        """The clean relative path of an entry, "" for the top. Raises: ModelError as `unpacked`."""
        where = f"{self.path}: {entry.name[:_MAX_NAME]!r}"
        if entry.kind not in ("file", "folder"):
            raise ModelError(f"the archive has a {entry.kind} in it", code="ARCHIVE_LINK", where=where,
                             help="pack plain files only: tar czhf follows links")
        parts = [p for p in entry.name.split("/") if p not in ("", ".")]
        if not _is_plain(entry, parts):
            raise ModelError("a name in the archive leads elsewhere, or cannot be a file's", code="ARCHIVE_PATH",
                             where=where, help="pack with names relative to one folder: tar czf model.tar.gz -C DIR .")
        for depth in range(1, len(parts) + 1):
            this = ("/".join(parts[:depth]), entry.kind if depth == len(parts) else "folder")
            earlier = self.known.setdefault(unicodedata.normalize("NFC", this[0]).casefold(), this)
            if earlier is not this and (earlier != this or this[1] == "file"):
                raise ModelError("two entries of the archive have the same name", code="ARCHIVE_DUPLICATE", where=where,
                                 actual=f"{earlier[0]!r} and {this[0]!r}", help="pack again, each file once")
        return "/".join(parts)


def _is_plain(entry: Entry, parts: list[str]) -> bool:
    """Whether a name stays inside its folder and can be a file's on common systems."""
    return (not entry.name.startswith("/") and ".." not in parts and len(parts) <= _MAX_DEPTH
            and (entry.kind == "folder" or bool(parts)) and not re.match("[A-Za-z]:", entry.name)
            and all(len(p.encode()) <= _MAX_NAME and "\\" not in p and p.isprintable() for p in parts))


def _contents(path: Path) -> Iterator[tuple[Entry, Iterator[bytes]]]:
    """Entries of an archive with their data, in the archive's order."""
    return entries(path) if is_tar(path) else _zip_entries(path)


def _zip_entries(path: Path) -> Iterator[tuple[Entry, Iterator[bytes]]]:
    with checked_zip(path) as file:
        for info in file.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            known = {0: "file", stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "symbolic link"}
            name = "folder" if info.is_dir() else known.get(kind, "device or other special file")
            yield Entry(info.filename, name, info.file_size), _zip_data(file, info)


def _zip_data(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    if not info.is_dir():
        with file.open(info) as data:
            while piece := data.read(_CHUNK):
                yield piece


def _store(path: Path, pieces: Iterable[bytes], size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        for piece in pieces:
            file.write(piece)
        if file.tell() != size:
            raise EOFError(f"{path.name} is shorter than stated")


def _check_directory(path: Path) -> None:
    """Compare the size of a zip's directory with its limit before `zipfile` reads all of it.

    Layout: PKWARE APPNOTE 4.3.16 (end record: 22 bytes and a comment, the directory's size at 12), 4.3.14 (zip64).
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - (1 << 16) - 22 - 76))
        tail = file.read()
    sizes = [int.from_bytes(tail[m.start() + at : m.start() + at + n], "little")
             for magic, at, n in ((b"PK\5\6", 12, 4), (b"PK\6\6", 40, 8)) for m in re.finditer(re.escape(magic), tail)]
    if max((s for s in sizes if s <= size), default=0) > _MAX_DIRECTORY:
        raise ModelError("the archive has too many entries", code="ARCHIVE_SIZE", where=str(path),
                         limit=f"{MAX_ENTRIES} entries")
