"""Variables that are kept in parts, as partitioners of TensorFlow 1 leave them.

A part has the key that tensorflow/core/util/saved_tensor_slice_util.cc makes of its name and place, in the ordered code
of tensorflow/core/lib/strings/ordered_code.cc. A place is a (start, length) for each dimension, -1 for all of it.
"""
from __future__ import annotations

from collections.abc import Sequence

from compiler.errors import ModelError
from compiler.frontends.tensorflow.protos import damaged, fields

Place = tuple[tuple[int, int], ...]


def place_of(data: bytes | memoryview, where: str) -> Place:
    """The place in a TensorSliceProto: extents of 1 start, 2 length (absent for all)."""
    found = []
    for number, extent in fields(data, where):
        if number == 1 and not isinstance(extent, int):
            values = {k: v for k, v in fields(extent, where) if isinstance(v, int)}
            found.append((values.get(1, 0), values.get(2, -1)))
    return tuple(found)


def place_of_text(text: str, where: str) -> Place:
    """The place in a RestoreV2's "6 4 0,3:-": sizes of the whole, then start,length or "-" for each dimension.

    Raises: ModelError MODEL_INVALID.
    """
    try:
        parts = [p.partition(",") for p in text.split(" ")[-1].split(":")] if text else []
        return tuple((0, -1) if start == "-" else (int(start), int(length)) for start, _, length in parts)
    except ValueError:
        raise damaged(f"{text[:80]!r} is no part of a variable", where) from None


def box(place: Place, shape: Sequence[int], where: str) -> tuple[slice, ...]:
    """A place as slices of an array. Raises: ModelError MODEL_INVALID."""
    if len(place) != len(shape):
        raise damaged(f"a part of {len(place)} dimensions of a variable of {len(shape)}", where)
    found = tuple(slice(start, size if length == -1 else start + length)
                  for (start, length), size in zip(place, shape, strict=True))
    if any(not 0 <= s.start <= s.stop <= size for s, size in zip(found, shape, strict=True)):
        raise damaged("a part outside its variable", where)
    return found


def key_of(name: str, place: Place) -> bytes:
    """The key of a part in the index."""
    text = name.encode().replace(b"\xff", b"\xff\x00").replace(b"\x00", b"\x00\xff") + b"\x00\x01"
    return b"\x00" + text + _count(len(place)) + b"".join(_signed(v) for extent in place for v in extent)


def _count(value: int) -> bytes:
    body = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(body)]) + body


def _signed(value: int) -> bytes:
    """As many leading ones (zeros below zero) as there are bytes, then the number."""
    magnitude = ~value if value < 0 else value
    size = magnitude.bit_length() // 7 + 1
    if size > 8:
        raise ModelError("a part of a variable lies too far out", code="MODEL_INVALID", actual=value)
    body = (value & (1 << 8 * size) - 1).to_bytes(size, "big")
    header = (0xFF00 >> size & 0xFF) << 8 * (size - 1)
    return (int.from_bytes(body, "big") ^ header).to_bytes(size, "big")
