"""The zip archives that PyTorch saves, checked before anything in them is read."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np

from compiler.errors import ModelError

#: More entries than any model has parameters and source files.
MOST_ENTRIES = 200_000
#: Source and JSON may be deflated; they never shrink by more than this, nor to more than this many bytes.
MOST_RATIO = 200
MOST_DEFLATED = 1 << 28
_LOCAL = struct.Struct("<4s5H3L2H")  # local file header of the zip format

_EXPORT = ("save what can be compiled without running it: torch.jit.trace(model.eval(), inputs).save(\"model.pt\"), or "
           "torch.export.save(torch.export.export(model.eval(), inputs), \"model.pt2\")")


class Archive:
    """A zip written by PyTorch; entries are named without the folder that they all are in.

    Attributes:
        path: the file. names: of the entries, in the file's order.

    Raises: ModelError PICKLE_REFUSED (no zip: a bare pickle), MODEL_FORMAT, ARCHIVE_BOMB, ARCHIVE_INVALID.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as file:
                infos = file.infolist()
        except FileNotFoundError:
            raise ModelError("there is no such file", code="MODEL_MISSING", where=str(path)) from None
        except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error) as error:
            raise self._no_zip(error) from None
        self._size = path.stat().st_size
        self._check(infos)
        top = {i.filename.split("/", 1)[0] for i in infos if "/" in i.filename}
        cut = len(next(iter(top))) + 1 if len(top) == 1 and all("/" in i.filename for i in infos) else 0
        self._infos = {i.filename[cut:]: i for i in infos}
        self.names = tuple(self._infos)

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    def size(self, name: str) -> int:
        """Bytes of an entry. Raises: ModelError MODEL_INCOMPLETE."""
        return self._info(name).file_size

    def read(self, name: str, limit: int = MOST_DEFLATED) -> bytes:
        """The bytes of an entry. Raises: ModelError ARCHIVE_INVALID, ARCHIVE_BOMB (more than `limit` bytes)."""
        info = self._info(name)
        if info.file_size > limit:
            raise ModelError("an entry is larger than any of its sort", code="ARCHIVE_BOMB", where=self._place(name),
                             limit=f"{limit} bytes", actual=f"{info.file_size} bytes")
        try:
            with zipfile.ZipFile(self.path) as file:
                return file.read(info)
        except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError, EOFError, struct.error,
                zipfile.zlib.error) as error:  # type: ignore[attr-defined]
            raise ModelError("an entry of the archive cannot be read", code="ARCHIVE_INVALID", where=self._place(name),
                             actual=str(error)) from None

    def view(self, name: str) -> np.ndarray:
        """The bytes of an entry, uint8, as a view of the file where it is stored as it is. Raises: as `read`."""
        info = self._info(name)
        if info.compress_type != zipfile.ZIP_STORED:
            return np.frombuffer(self.read(name), np.uint8)
        with self.path.open("rb") as file:
            file.seek(info.header_offset)
            header = file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
            raise ModelError("an entry of the archive cannot be read", code="ARCHIVE_INVALID", where=self._place(name))
        start = info.header_offset + _LOCAL.size + sum(_LOCAL.unpack(header)[-2:])
        if start + info.file_size > self._size:
            raise ModelError("an entry goes on after the end of the file", code="ARCHIVE_INVALID",
                             where=self._place(name), limit=self._size, actual=start + info.file_size)
        if not info.file_size:
            return np.zeros(0, np.uint8)
        return np.memmap(self.path, np.uint8, "r", start, (info.file_size,))

    def _info(self, name: str) -> zipfile.ZipInfo:
        if name not in self._infos:
            raise ModelError("the archive lacks an entry", code="MODEL_INCOMPLETE", where=str(self.path), actual=name)
        return self._infos[name]

    def _place(self, name: str) -> str:
        return f"{self.path}: {name}"

    def _check(self, infos: list[zipfile.ZipInfo]) -> None:
        """Refuse what would take memory out of proportion to the file, or is not what PyTorch writes."""
        if len(infos) > MOST_ENTRIES:
            raise ModelError("too many entries", code="ARCHIVE_BOMB", where=str(self.path), limit=MOST_ENTRIES,
                             actual=len(infos))
        if sum(i.compress_size for i in infos) > self._size:
            raise ModelError("the entries overlap or are longer than the file", code="ARCHIVE_INVALID",
                             where=str(self.path), limit=self._size, actual=sum(i.compress_size for i in infos))
        if len({i.filename for i in infos}) < len(infos):
            raise ModelError("two entries have the same name", code="ARCHIVE_INVALID", where=str(self.path))
        deflated = [i for i in infos if i.compress_type != zipfile.ZIP_STORED]
        total = sum(i.file_size for i in deflated)
        if total > min(MOST_DEFLATED, MOST_RATIO * max(self._size, 1)):
            raise ModelError("the archive is much larger unpacked", code="ARCHIVE_BOMB", where=str(self.path),
                             limit=f"{min(MOST_DEFLATED, MOST_RATIO * self._size)} bytes", actual=f"{total} bytes")
        for info in infos:
            if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ModelError("an entry is encrypted or packed as PyTorch does not", code="ARCHIVE_INVALID",
                                 where=self._place(info.filename))
            if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
                raise ModelError("an entry's sizes contradict each other", code="ARCHIVE_INVALID",
                                 where=self._place(info.filename), limit=info.compress_size, actual=info.file_size)

    def _no_zip(self, error: Exception) -> ModelError:
        """The error for a file that is no archive: mostly a pickle of older PyTorch versions."""
        with self.path.open("rb") as file:
            start = file.read(2)
        if start[:1] == b"\x80":
            return pickled(self.path)
        return ModelError("this is neither a TorchScript file nor an exported program", code="MODEL_FORMAT",
                          where=str(self.path), actual=str(error), help=_EXPORT)


def pickled(path: Path) -> ModelError:
    """The error for a state dict or a pickled module, which only running it would open."""
    return ModelError("the file is a pickle (a state dict or a whole module); pickles run code and are never opened",
                      code="PICKLE_REFUSED", where=str(path), help=_EXPORT)
