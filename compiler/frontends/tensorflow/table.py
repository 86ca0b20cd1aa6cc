"""The sorted table of keys and values that variable bundles are indexed by: LevelDB's file format.

github.com/google/leveldb doc/table_format.md: blocks of prefix-compressed entries, each block followed by one byte of
compression and a checksum; an index block; a footer of 48 bytes.
"""
from __future__ import annotations

from collections.abc import Iterator

from compiler.frontends.tensorflow.protos import damaged, varint
from compiler.frontends.tensorflow.snappy import decompress

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TRAILER = 5  # compression and checksum
#: An index larger than this is none: it has a few hundred bytes for each variable.
_MOST_BYTES = 1 << 28


def read_table(data: bytes, where: str) -> Iterator[tuple[bytes, bytes]]:
    """Every (key, value) of a table, in order. Raises: ModelError MODEL_INVALID."""
    if len(data) < _FOOTER or int.from_bytes(data[-8:], "little") != _MAGIC:
        raise damaged("the file does not end as an index of variables does", where)
    body = len(data) - _FOOTER
    at = body
    for _ in range(2):  # offset and size of the block of metadata
        _, at = varint(data, at, len(data) - 8, where)
    left = _MOST_BYTES
    for _, handle in _entries(_block(data, at, len(data) - 8, body, left, where), where):
        block = _block_of(data, handle, body, left, where)
        left -= len(block)
        yield from _entries(block, where)


def _block_of(data: bytes, handle: bytes, body: int, most: int, where: str) -> bytes:
    offset, at = varint(handle, 0, len(handle), where)
    size, _ = varint(handle, at, len(handle), where)
    return _cut(data, offset, size, body, most, where)


def _block(data: bytes, at: int, end: int, body: int, most: int, where: str) -> bytes:
    offset, at = varint(data, at, end, where)
    size, _ = varint(data, at, end, where)
    return _cut(data, offset, size, body, most, where)


def _cut(data: bytes, offset: int, size: int, body: int, most: int, where: str) -> bytes:
    if offset + size + _TRAILER > body or size > most:
        raise damaged("a block of the index lies outside the file", where)
    block, kind = data[offset : offset + size], data[offset + size]
    if kind == 1:
        return decompress(block, most, where)
    if kind:
        raise damaged(f"compression number {kind} is unknown", where)
    return block


def _entries(block: bytes, where: str) -> Iterator[tuple[bytes, bytes]]:
    """Entries of a block: lengths of shared prefix, own key and value, then these; restart points at the end."""
    if len(block) < 4:
        raise damaged("a block of the index is too short", where)
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise damaged("a block of the index is shorter than its restart points", where)
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at, end, where)
        own, at = varint(block, at, end, where)
        size, at = varint(block, at, end, where)
        if shared > len(key) or at + own + size > end:
            raise damaged("an entry of the index runs over its block", where)
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + size]
        at += own + size
