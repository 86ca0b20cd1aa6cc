"""Variables of a SavedModel or a checkpoint: an index of entries and files of raw data.

tensorflow/core/protobuf/tensor_bundle.proto: BundleHeaderProto (1 num_shards, 2 endianness) under the empty key,
BundleEntryProto (1 dtype, 2 shape, 3 shard_id, 4 offset, 5 size, 7 slices) under every other.
"""
from __future__ import annotations

import mmap
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.tensorflow.protos import damaged, fields, parse, varint
from compiler.frontends.tensorflow.slices import Place, box, key_of, place_of
from compiler.frontends.tensorflow.table import read_table
from compiler.frontends.tensorflow.tensors import dims_of, dtype_name
from compiler.ir import numpy_dtype

_STRING = 7
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"


@dataclass(frozen=True)
class Entry:
    """Where a variable is: type number, sizes, file, and bytes in it; `parts`: places of those it is kept in."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    parts: tuple[Place, ...]


class Bundle:
    """The variables of `<prefix>.index` and `<prefix>.data-0000x-of-0000y`, read when asked for, as views of the files.

    Args:
        prefix: path without ending.
    Raises: ModelError MODEL_MISSING, MODEL_INVALID.
    """

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.where = f"{prefix}.index"
        self.entries: dict[str, Entry] = {}
        self._parts: dict[bytes, Entry] = {}
        self._shards = 1
        self._files: dict[int, np.ndarray] = {}
        for key, value in read_table(_read(Path(self.where)), self.where):
            if not key:
                self._header(value)
            elif key.startswith(b"\0"):
                self._parts[key] = self._entry(value)
            else:
                self.entries[key.decode("utf-8", "replace")] = self._entry(value)

    def array(self, key: str) -> np.ndarray:
        """A variable's value, a view of its file. Raises: ModelError VARIABLE_MISSING, MODEL_INVALID; UnsupportedOp."""
        entry = self.entries.get(key)
        where = f"{self.prefix}: variable {key!r}"
        if entry is None:
            raise ModelError(f"the variables have none of the name {key!r}", code="VARIABLE_MISSING",
                             where=str(self.prefix), help="save the model again with all its variables")
        return self._joined(key, entry, where) if entry.parts else self._whole(entry, where)

    def _whole(self, entry: Entry, where: str) -> np.ndarray:
        dtype = numpy_dtype(dtype_name(entry.dtype, where))
        if prod(entry.shape) * dtype.itemsize != entry.size:
            raise damaged(f"a variable of shape {entry.shape} has {entry.size} bytes", where)
        return self._bytes(entry, where).view(dtype).reshape(entry.shape)

    def _joined(self, key: str, entry: Entry, where: str) -> np.ndarray:
        """A variable put together from its parts, which have to be all of it."""
        found = {place: self._parts.get(key_of(key, place)) for place in entry.parts}
        arrays = {place: self._whole(part, where) for place, part in found.items() if part is not None}
        if len(arrays) != len(found) or sum(a.size for a in arrays.values()) != prod(entry.shape):
            raise damaged("parts of a variable are missing", where)
        whole = np.empty(entry.shape, numpy_dtype(dtype_name(entry.dtype, where)))
        for place, array in arrays.items():
            target = whole[box(place, entry.shape, where)]
            if target.shape != array.shape or target.dtype != array.dtype:
                raise damaged("a part of a variable does not fit its place", where)
            target[...] = array
        return whole

    def objects(self) -> Any | None:
        """The graph of objects (TrackableObjectGraph) that TensorFlow 2 keeps with the variables, or None."""
        entry = self.entries.get(_OBJECTS)
        if entry is None or entry.dtype != _STRING or entry.shape:
            return None
        data = self._bytes(entry, self.where).tobytes()
        size, at = varint(data, 0, len(data), self.where)  # length, checksum of the length, then the text
        if at + 4 + size != len(data):
            raise damaged("the graph of objects has not the length it states", self.where)
        return parse("TrackableObjectGraph", data[at + 4 :], self.where)

    def _header(self, value: bytes) -> None:
        found = dict(fields(value, self.where))
        if found.get(2):
            raise ModelError("variables of a machine with the other byte order", code="MODEL_FORMAT", where=self.where)
        shards = found.get(1, 1)
        self._shards = shards if isinstance(shards, int) else 1

    def _entry(self, value: bytes) -> Entry:
        numbers: dict[int, int] = {}
        shape: tuple[int, ...] = ()
        parts: list[Place] = []
        for number, found in fields(value, self.where):
            if isinstance(found, int):
                numbers[number] = found
            elif number == 2:
                dims = dims_of(parse("TensorShapeProto", bytes(found), self.where))
                if dims is None or None in dims:
                    raise damaged("a variable without a definite shape", self.where)
                shape = tuple(d for d in dims if d is not None)
            elif number == 7:
                parts.append(place_of(found, self.where))
        dtype, shard, offset, size = (numbers.get(k, 0) for k in (1, 3, 4, 5))
        return Entry(dtype, shape, shard, offset, size, tuple(parts))

    def _bytes(self, entry: Entry, where: str) -> np.ndarray:
        if entry.shard not in self._files:
            if entry.shard >= self._shards:
                raise damaged(f"a variable in file {entry.shard} of {self._shards}", where)
            self._files[entry.shard] = _mapped(
                Path(f"{self.prefix}.data-{entry.shard:05d}-of-{self._shards:05d}"))
        data = self._files[entry.shard]
        if entry.offset + entry.size > len(data):
            raise damaged(f"a variable ends at byte {entry.offset + entry.size} of a file of {len(data)}", where)
        return data[entry.offset : entry.offset + entry.size]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _missing(path, error) from None


def _mapped(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                return np.zeros(0, np.uint8)
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except OSError as error:
        raise _missing(path, error) from None


def _missing(path: Path, error: OSError) -> ModelError:
    return ModelError(f"the variables of the model cannot be read: {error.strerror}", code="MODEL_MISSING",
                      where=str(path), help="a SavedModel needs its folder `variables` with index and data")
