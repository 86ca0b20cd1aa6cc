"""Datatypes, shapes, attributes and the data of datasets in HDF5 files."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np

from compiler.frontends.keras.hdf5_image import Cursor, Damaged, Image

#: Floating point types by bytes, bits of the exponent, bits of the mantissa.
_FLOATS = {(2, 5, 10): "f2", (4, 8, 23): "f4", (8, 11, 52): "f8"}
_BFLOAT16 = (2, 8, 7)
_DEFLATE, _SHUFFLE, _FLETCHER = 1, 2, 3


@dataclass(frozen=True)
class Type:
    """A datatype.

    Attributes:
        size: bytes of one element in the file. dtype: None where numpy has no such type. text: strings of any length,
            kept elsewhere. bfloat16: kept as u2.
    """

    size: int
    dtype: np.dtype | None
    text: bool = False
    bfloat16: bool = False


def datatype(head: Cursor) -> Type:
    """The type of a datatype message. Raises: Damaged."""
    kind, flags = head.uint(1), head.uint(3)
    size = head.uint(4)
    order = ">" if flags & 1 else "<"
    if kind & 15 == 0 and size in (1, 2, 4, 8):
        if (head.uint(2), head.uint(2)) == (0, 8 * size):
            return Type(size, np.dtype(f"{order}{'i' if flags & 8 else 'u'}{size}"))
    elif kind & 15 == 1:
        first, bits, place, exponent = head.uint(2), head.uint(2), head.uint(1), head.uint(1)
        low, mantissa, bias = head.uint(1), head.uint(1), head.uint(4)
        parts = (size, exponent, mantissa)
        regular = (first, bits, place, low, 2 * bias + 2) == (0, 8 * size, mantissa, 0, 1 << exponent)
        regular = regular and flags & ~1 == 0x20 | (8 * size - 1) << 8  # where the sign is; a mantissa without its 1
        if regular and parts == _BFLOAT16:
            return Type(2, np.dtype(order + "u2"), bfloat16=True)
        if regular and parts in _FLOATS:
            return Type(size, np.dtype(order + _FLOATS[parts]))
    elif kind & 15 in (3, 5) and 0 < size < 1 << 31:
        return Type(size, np.dtype(f"{'S' if kind & 15 == 3 else 'V'}{size}"))
    elif kind & 15 == 8:
        base = datatype(head)
        return Type(1, np.dtype(bool)) if (flags, base.size) == (2, 1) else base
    elif kind & 15 == 9 and flags & 15 == 1:
        return Type(16, None, text=True)
    return Type(size, None)


def shape(head: Cursor) -> tuple[int, ...]:
    """The dimensions of a dataspace message; (0,) where there is nothing. Raises: Damaged."""
    version, rank, _ = head.uint(1), head.uint(1), head.uint(1)
    if version not in (1, 2) or rank > 32:
        raise Damaged("a shape of an unknown version or more than 32 dimensions")
    if version == 1:
        head.take(5)
    elif head.uint(1) == 2:
        return (0,)
    return tuple(head.uint(8) for _ in range(rank))


@dataclass(frozen=True)
class Attribute:
    """An attribute message taken apart."""

    name: str
    kind: Cursor
    space: Cursor
    data: Cursor


def attribute(content: memoryview) -> Attribute:
    """Take an attribute message apart. Raises: Damaged."""
    head = Cursor(content)
    version, flags = head.uint(1), head.uint(1)
    if version not in (1, 2, 3) or (version > 1 and flags & 3):
        raise Damaged("an attribute of an unknown version, or whose type is kept elsewhere")
    sizes = [head.uint(2) for _ in range(3)]
    head.take(1 if version == 3 else 0)
    parts = []
    for size in sizes:
        parts.append(head.take(size))
        head.take(-size % 8 if version == 1 else 0)
    name = bytes(parts[0]).rstrip(b"\x00").decode(errors="replace")
    return Attribute(name, Cursor(parts[1]), Cursor(parts[2]), head)


def strings(image: Image, found: Attribute) -> list[bytes] | None:
    """The strings of an attribute; None where it holds something else. Raises: Damaged."""
    stored, count, data = datatype(found.kind), math.prod(shape(found.space)), found.data
    if stored.text:
        if count * stored.size > data.left:
            raise Damaged("an attribute is longer than what holds it")
        texts, left = [], len(image.data)
        for _ in range(count):
            texts.append(bytes(image.text(data)))
            left -= len(texts[-1])
            if left < 0:
                raise Damaged("the strings of an attribute overlap")
        return texts
    if stored.dtype is None or stored.dtype.kind != "S":
        return None
    return [bytes(data.take(stored.size)).rstrip(b"\x00") for _ in range(count)]


# ---- data that is stored in pieces -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Filter:
    """One step of how chunks are stored: number of the filter and its first parameter."""

    kind: int
    parameter: int


def filters(head: Cursor) -> list[Filter]:
    """The steps of a filter pipeline message. Raises: Damaged."""
    version, count = head.uint(1), head.uint(1)
    if version not in (1, 2):
        raise Damaged("a filter pipeline of an unknown version")
    head.take(6 if version == 1 else 0)
    found = []
    for _ in range(count):
        kind = head.uint(2)
        name = head.uint(2) if version == 1 or kind >= 256 else 0
        _, numbers = head.uint(2), head.uint(2)
        head.take(name)
        values = [head.uint(4) for _ in range(numbers)]
        head.take(4 if version == 1 and numbers % 2 else 0)
        found.append(Filter(kind, values[0] if values else 0))
    unknown = [f.kind for f in found if f.kind not in (_DEFLATE, _SHUFFLE, _FLETCHER)]
    if unknown:
        raise Damaged(f"filter {unknown[0]} is not known, only deflate, shuffle and fletcher32")
    return found


@dataclass(frozen=True)
class Chunk:
    """A stored piece of a dataset: its place, the filters that were left out (bits), where and how many its bytes."""

    offsets: tuple[int, ...]
    skipped: int
    address: int
    size: int


def chunks(image: Image, tree: int, rank: int) -> list[Chunk]:
    """All pieces of a dataset of `rank` dimensions. Raises: Damaged."""
    found = []
    for key, address in image.leaves(tree, 1, 8 * (rank + 2)):
        head = Cursor(key)
        size, skipped = head.uint(4), head.uint(4)
        found.append(Chunk(tuple(head.uint(8) for _ in range(rank)), skipped, address, size))
    return found


def assemble(
    image: Image, pieces: list[Chunk], steps: list[Filter], dims: tuple[int, ...], chunk: tuple[int, ...],
    dtype: np.dtype,
) -> np.ndarray:
    """The array of dimensions `dims` whose pieces have dimensions `chunk`; what is not stored is 0. Raises: Damaged."""
    array = np.zeros(dims, dtype)
    size = math.prod(chunk) * dtype.itemsize
    for piece in pieces:
        if any(o % c or o >= d for o, c, d in zip(piece.offsets, chunk, dims, strict=True)):
            raise Damaged("a chunk lies outside its dataset")
        data = _plain(bytes(image.at(piece.address, piece.size).data), steps, piece.skipped, size)
        block = np.frombuffer(data, dtype).reshape(chunk)
        target = array[tuple(slice(o, o + c) for o, c in zip(piece.offsets, chunk, strict=True))]
        target[...] = block[tuple(slice(n) for n in target.shape)]
    return array


def _plain(data: bytes, steps: list[Filter], skipped: int, size: int) -> bytes:
    """The `size` bytes of a chunk, its filters undone."""
    for k, step in reversed(list(enumerate(steps))):
        if skipped >> k & 1:
            continue
        if step.kind == _DEFLATE:
            try:
                data = zlib.decompressobj().decompress(data, size + 5)  # a checksum may follow
            except zlib.error as error:
                raise Damaged(f"a chunk does not decompress: {error}") from None
        elif step.kind == _FLETCHER:
            data = data[:-4]
        elif step.parameter > 1:
            whole = len(data) // step.parameter * step.parameter
            table = np.frombuffer(data[:whole], np.uint8).reshape(step.parameter, -1)
            data = table.T.tobytes() + data[whole:]
    if len(data) != size:
        raise Damaged("a chunk has not the size that its dataset states")
    return data
