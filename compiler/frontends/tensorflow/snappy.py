"""Snappy's raw form (github.com/google/snappy, format_description.txt), decompressed within a bound."""
from __future__ import annotations

from compiler.frontends.tensorflow.protos import damaged, varint


def decompress(data: bytes, most: int, where: str) -> bytes:
    """The bytes behind a compressed block, at most `most`. Raises: ModelError MODEL_INVALID."""
    size, at = varint(data, 0, len(data), where)
    if size > most:
        raise damaged(f"a compressed block claims {size} bytes", where)
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            at = _literal(data, at, tag >> 2, out, where)
        else:
            at = _copy(data, at, tag, out, size, where)
        if len(out) > size:
            break
    if len(out) != size:
        raise damaged("a compressed block has not the size it states", where)
    return bytes(out)


def _literal(data: bytes, at: int, length: int, out: bytearray, where: str) -> int:
    if length >= 60:  # the length itself takes 1 to 4 bytes
        wide = length - 59
        length = int.from_bytes(data[at : at + wide], "little")
        at += wide
    end = at + length + 1
    if end > len(data):
        raise damaged("a compressed block ends within a literal", where)
    out += data[at:end]
    return end


def _copy(data: bytes, at: int, tag: int, out: bytearray, size: int, where: str) -> int:
    kind = tag & 3
    wide = (0, 1, 2, 4)[kind]
    low = int.from_bytes(data[at : at + wide], "little")
    length = (tag >> 2 & 7) + 4 if kind == 1 else (tag >> 2) + 1
    offset = (tag >> 5) << 8 | low if kind == 1 else low
    if at + wide > len(data) or not 0 < offset <= len(out) or len(out) + length > size:
        raise damaged("a compressed block copies from outside itself", where)
    start = len(out) - offset
    piece = bytes(out[start : start + length])
    out += (piece * -(-length // len(piece)))[:length]  # a copy may run into what it writes
    return at + wide
