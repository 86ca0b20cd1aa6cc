"""HDF5 files, with every claim checked against the file's length before anything is read.

A file may hold links to other files, datasets whose data lie elsewhere, and compressed ones that expand without bound:
all are refused. Keras writes none of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.files import require
from compiler.frontends.keras.config import invalid

#: Deflate, shuffle, Fletcher's checksum and LZF: HDF5's own numbers for the filters that h5py can write.
_FILTERS = frozenset({1, 2, 3, 32000})
#: A compressed dataset is at most so many times its stored bytes; trained weights hardly compress at all.
MOST_EXPANSION = 64
_SLACK = 1 << 16


class Hdf5:
    """An open file. `where` names it in messages; `size`: its bytes."""

    def __init__(self, file: Any, size: int, where: str) -> None:
        self._file = file
        self._size = size
        self.where = where

    def has(self, path: str) -> bool:
        """Whether there is a group or dataset at `path`. Raises: as `array`."""
        return self._find(path) is not None

    def text(self, path: str, name: str) -> str | None:
        """An attribute that is one string, or None. Raises: ModelError MODEL_INVALID."""
        found = self._attribute(path, name)
        if isinstance(found, bytes):
            found = found.decode(errors="replace")
        return found if isinstance(found, str) else None

    def names(self, path: str, name: str) -> list[str]:
        """An attribute that is a list of strings; Keras numbers the pieces of a long one. Raises: as `text`."""
        pieces = [self._attribute(path, name)]
        while pieces[0] is None and len(pieces) < 1 << 16:
            piece = self._attribute(path, f"{name}{len(pieces) - 1}")
            if piece is None:
                break
            pieces.append(piece)
        texts = [t for p in pieces if p is not None for t in np.atleast_1d(p).tolist()]
        return [t.decode(errors="replace") if isinstance(t, bytes) else str(t) for t in texts]

    def children(self, path: str) -> list[str]:
        """Names inside a group, sorted; [] where there is none."""
        found = self._find(path)
        with self._guarded(path):
            return sorted(found) if found is not None and hasattr(found, "keys") else []

    def array(self, path: str) -> np.ndarray:
        """A dataset.

        Raises: ModelError WEIGHT_MISSING, MODEL_UNSAFE (links, outside data), MODEL_LIMIT (a size that the file cannot
        hold), MODEL_INVALID (not numbers, or damaged).
        """
        found = self._find(path)
        with self._guarded(path):
            if found is None or not hasattr(found, "dtype"):
                raise ModelError("the file has no such weight", code="WEIGHT_MISSING", where=self.where, actual=path)
            self._check(found, path)
            array = np.asarray(found[()])
            if array.dtype.kind == "V" and array.dtype.itemsize == 2 and found.attrs.get("dtype") == "bfloat16":
                return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        if array.dtype.kind not in "fiub":
            raise invalid("a weight is no array of numbers", self.where, f"{path}: {array.dtype}")
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def _check(self, dataset: Any, path: str) -> None:
        if dataset.external or dataset.is_virtual:
            raise ModelError("the data of a weight lie in another file", code="MODEL_UNSAFE", where=self.where,
                             actual=path)
        claimed = math.prod(dataset.shape or ()) * dataset.dtype.itemsize
        stored = dataset.id.get_storage_size()
        plist = dataset.id.get_create_plist()
        filters = {plist.get_filter(k)[0] for k in range(plist.get_nfilters())}
        if filters - _FILTERS:
            raise ModelError("a weight is stored through a filter that is not known", code="MODEL_INVALID",
                             where=self.where, actual=path)
        allowed = stored * MOST_EXPANSION if filters else stored
        if dataset.chunks is not None:
            allowed += _SLACK
            claimed = max(claimed, math.prod(dataset.chunks) * dataset.dtype.itemsize - _SLACK)
        if claimed > allowed or stored > self._size:
            raise ModelError("a weight claims more bytes than the file holds", code="MODEL_LIMIT",
                             where=f"{self.where}: {path}", limit=min(allowed, self._size), actual=claimed)

    def _attribute(self, path: str, name: str) -> Any:
        found = self._find(path)
        if found is None:
            return None
        with self._guarded(path):
            if name not in found.attrs:
                return None
            stated = found.attrs.get_id(name)
            if math.prod(stated.shape or ()) * stated.dtype.itemsize > self._size:
                raise ModelError("an attribute claims more bytes than the file holds", code="MODEL_LIMIT",
                                 where=f"{self.where}: {path}", limit=self._size, actual=name)
            return found.attrs[name]

    def _find(self, path: str) -> Any:
        """What hard links lead to, or None."""
        require("h5py", "keras", "to read Keras files")
        import h5py

        place = self._file
        with self._guarded(path):
            for part in path.split("/"):
                if not part or part == ".":
                    continue
                if not isinstance(place, h5py.Group):
                    return None
                link = place.get(part, getlink=True)
                if link is None:
                    return None
                if not isinstance(link, h5py.HardLink):
                    raise ModelError("a link in the file leads elsewhere", code="MODEL_UNSAFE", where=self.where,
                                     actual=path)
                place = place[part]
        return place

    @contextmanager
    def _guarded(self, path: str) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeError, OverflowError) as error:
            raise invalid("the HDF5 file is damaged", f"{self.where}: {path}", str(error)[:100]) from None


@contextmanager
def opened(source: Path | BinaryIO, size: int, where: str) -> Iterator[Hdf5]:
    """Open an HDF5 file for reading. Raises: ModelError MODEL_INVALID, EXTRA_MISSING."""
    h5py = require("h5py", "keras", "to read Keras files")
    try:
        file = h5py.File(source, "r")
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise invalid("the file is no HDF5 file, or damaged", where, str(error)[:100]) from None
    with file:
        yield Hdf5(file, size, where)
