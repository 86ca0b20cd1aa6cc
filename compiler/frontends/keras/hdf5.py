"""HDF5 files as Keras needs them, with every claim checked against the file's length before memory is taken.

A file may hold links to other files, datasets whose data lie elsewhere, and compressed ones that expand without bound:
all are refused. Keras writes none of these.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.keras import hdf5_data
from compiler.frontends.keras.config import invalid
from compiler.frontends.keras.hdf5_dense import dense
from compiler.frontends.keras.hdf5_image import UNDEFINED, Cursor, Damaged, Image, Message, link

#: A compressed dataset is at most so many times its stored bytes; trained weights hardly compress at all.
MOST_EXPANSION = 64
_SLACK = 1 << 16
_COMPACT, _CONTIGUOUS, _CHUNKED, _VIRTUAL = range(4)


@dataclass
class _Object:
    """A group or dataset: its header's messages by type, its members once they were asked for."""

    messages: dict[int, list[memoryview]] = field(default_factory=dict)
    links: dict[str, int | None] | None = None
    texts: dict[str, list[str]] | None = None

    @property
    def dataset(self) -> bool:
        return Message.DATASPACE in self.messages

    def only(self, kind: int) -> Cursor:
        """The message of a type that there must be. Raises: Damaged."""
        if kind not in self.messages:
            raise Damaged("a dataset lacks a part of its description")
        return Cursor(self.messages[kind][0])


class Hdf5:
    """An open file. `where` names it in messages."""

    def __init__(self, image: Image, where: str) -> None:
        self._image = image
        self._size = len(image.data)
        self._objects: dict[int, _Object] = {}
        self.where = where

    def has(self, path: str) -> bool:
        """Whether there is a group or dataset at `path`. Raises: as `array`."""
        return self._find(path) is not None

    def text(self, path: str, name: str) -> str | None:
        """An attribute that is one string, or None. Raises: ModelError MODEL_INVALID."""
        found = self._texts(path).get(name)
        return found[0] if found is not None and len(found) == 1 else None

    def names(self, path: str, name: str) -> list[str]:
        """An attribute that is a list of strings; Keras numbers the pieces of a long one. Raises: as `text`."""
        texts = self._texts(path)
        if name in texts:
            return texts[name]
        found: list[str] = []
        number = 0
        while f"{name}{number}" in texts:
            found += texts[f"{name}{number}"]
            number += 1
        return found

    def children(self, path: str) -> list[str]:
        """Names inside a group, sorted; [] where there is none."""
        found = self._find(path)
        with self._guarded(path):
            return sorted(self._links(found)) if found is not None else []

    def array(self, path: str) -> np.ndarray:
        """A dataset, a view of the file where it can be.

        Raises: ModelError WEIGHT_MISSING, MODEL_UNSAFE (links, outside data), MODEL_LIMIT (a size that the file cannot
        hold), MODEL_INVALID (not numbers, or damaged).
        """
        found = self._find(path)
        if found is None or not found.dataset:
            raise ModelError("the file has no such weight", code="WEIGHT_MISSING", where=self.where, actual=path)
        with self._guarded(path):
            stored = hdf5_data.datatype(found.only(Message.DATATYPE))
            if stored.dtype is None:
                raise Damaged("a weight is of a type that is no number")
            array = self._data(found, hdf5_data.shape(found.only(Message.DATASPACE)), stored.dtype, path)
        if stored.bfloat16 or (stored.dtype == "V2" and self.text(path, "dtype") == "bfloat16"):
            bits = array if stored.bfloat16 else array.view("<u2")
            return (bits.astype(np.uint32) << 16).view(np.float32)
        if array.dtype.kind not in "fiub":
            raise invalid("a weight is no array of numbers", self.where, f"{path}: {array.dtype}")
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def _data(self, found: _Object, dims: tuple[int, ...], dtype: np.dtype, path: str) -> np.ndarray:
        head = found.only(Message.LAYOUT)
        version, kind = head.uint(1), head.uint(1)
        if Message.EXTERNAL in found.messages or kind == _VIRTUAL:
            raise ModelError("the data of a weight lie in another file", code="MODEL_UNSAFE", where=self.where,
                             actual=path)
        if version not in (3, 4) or kind > _VIRTUAL or (version, kind) == (4, _CHUNKED):
            raise Damaged(f"layout {kind} of version {version} is not read")
        claimed = math.prod(dims) * dtype.itemsize
        if kind == _CHUNKED:
            return self._chunked(found, head, dims, dtype, path)
        if kind == _COMPACT:
            data = head.take(head.uint(2))
        else:
            address = head.uint(8)
            data = self._image.at(0 if address == UNDEFINED else address).data
            data = data[: 0 if address == UNDEFINED else head.uint(8)]
        if claimed > len(data):
            raise self._limit(path, len(data), claimed)
        return np.frombuffer(data, dtype, math.prod(dims)).reshape(dims)

    def _chunked(self, found: _Object, head: Cursor, dims: tuple[int, ...], dtype: np.dtype, path: str) -> np.ndarray:
        if head.uint(1) != len(dims) + 1:
            raise Damaged("chunks have more or fewer dimensions than their dataset")
        tree, chunk = head.uint(8), tuple(head.uint(4) for _ in dims)
        if not all(chunk):
            raise Damaged("a chunk is empty")
        steps = hdf5_data.filters(found.only(Message.FILTERS)) if Message.FILTERS in found.messages else []
        pieces = hdf5_data.chunks(self._image, tree, len(dims)) if tree != UNDEFINED else []
        stored = sum(p.size for p in pieces)
        allowed = (stored * MOST_EXPANSION if steps else stored) + _SLACK
        claimed = max(math.prod(dims) * dtype.itemsize, math.prod(chunk) * dtype.itemsize - _SLACK)
        if claimed > allowed or stored > self._size:
            raise self._limit(path, min(allowed, self._size), claimed)
        if len({p.offsets for p in pieces}) < len(pieces):
            raise Damaged("a chunk is stored twice")
        return hdf5_data.assemble(self._image, pieces, steps, dims, chunk, dtype)

    def _limit(self, path: str, limit: int, claimed: int) -> ModelError:
        return ModelError("a weight claims more bytes than the file holds", code="MODEL_LIMIT",
                          where=f"{self.where}: {path}", limit=limit, actual=claimed)

    def _texts(self, path: str) -> dict[str, list[str]]:
        """The attributes of an object that are strings."""
        found = self._find(path)
        if found is None:
            return {}
        if found.texts is None:
            with self._guarded(path):
                contents = list(found.messages.get(Message.ATTRIBUTE, []))
                for info in found.messages.get(Message.ATTRIBUTE_INFO, []):
                    contents += dense(self._image, Message.ATTRIBUTE_INFO, info)
                found.texts = {}
                for content in contents:
                    attribute = hdf5_data.attribute(content)
                    strings = hdf5_data.strings(self._image, attribute)
                    if strings is not None:
                        found.texts[attribute.name] = [s.decode(errors="replace") for s in strings]
        return found.texts

    def _find(self, path: str) -> _Object | None:
        """What hard links lead to, or None."""
        with self._guarded(path):
            place = self._object(self._image.root)
            for part in path.split("/"):
                if not part or part == ".":
                    continue
                links = self._links(place)
                if part not in links:
                    return None
                address = links[part]
                if address is None:
                    raise ModelError("a link in the file leads elsewhere", code="MODEL_UNSAFE", where=self.where,
                                     actual=path)
                place = self._object(address)
        return place

    def _object(self, address: int) -> _Object:
        if address not in self._objects:
            found = _Object()
            for kind, content in self._image.messages(address):
                found.messages.setdefault(kind, []).append(content)
            self._objects[address] = found
        return self._objects[address]

    def _links(self, place: _Object) -> dict[str, int | None]:
        if place.links is None:
            place.links = {}
            for content in place.messages.get(Message.SYMBOLS, []):
                place.links |= self._image.old_links(content)
            contents = list(place.messages.get(Message.LINK, []))
            for info in place.messages.get(Message.LINK_INFO, []):
                contents += dense(self._image, Message.LINK_INFO, info)
            place.links |= dict(map(link, contents))
        return place.links

    @contextmanager
    def _guarded(self, path: str) -> Iterator[None]:
        try:
            yield
        except Damaged as error:
            where = f"{self.where}: {path}"
            raise invalid("the HDF5 file is damaged, or of a form that is not read", where, str(error)) from None


def opened(source: Path | bytes, where: str) -> Hdf5:
    """An HDF5 file for reading. Raises: ModelError MODEL_INVALID."""
    try:
        return Hdf5(Image(memoryview(source if isinstance(source, bytes) else _mapped(source))), where)
    except Damaged as error:
        raise invalid("the file is no HDF5 file, or damaged", where, str(error)) from None


def _mapped(path: Path) -> mmap.mmap | bytes:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
