"""The structures that make up an HDF5 file: superblock, object headers, groups, heaps.

Written after the HDF5 File Format Specification, version 3.0, whose names are used. Every read is checked against the
file's length, and no block is visited twice in one walk, so that what a damaged file costs is bounded by its size.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: An address that stands for nothing.
UNDEFINED = (1 << 64) - 1
#: Longer names of groups, datasets and attributes are refused: entries of a heap may share one and so multiply it.
_LONGEST_NAME = 4096


class Message(IntEnum):
    """Types of header messages."""

    DATASPACE = 1
    LINK_INFO = 2
    DATATYPE = 3
    LINK = 6
    EXTERNAL = 7
    LAYOUT = 8
    FILTERS = 11
    ATTRIBUTE = 12
    CONTINUATION = 16
    SYMBOLS = 17
    ATTRIBUTE_INFO = 21


class Damaged(ValueError):
    """A structure of the file contradicts itself, or is of a kind that is not read."""


class Cursor:
    """Reads fields one after another, never beyond its bytes."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.at

    def take(self, size: int) -> memoryview:
        """The next bytes. Raises: Damaged."""
        if not 0 <= size <= self.left:
            raise Damaged("a structure goes beyond the end of what holds it")
        self.at += size
        return self.data[self.at - size : self.at]

    def uint(self, size: int) -> int:
        """The next little-endian unsigned number. Raises: Damaged."""
        return int.from_bytes(self.take(size), "little")

    def expect(self, signature: bytes) -> None:
        """The next bytes are these. Raises: Damaged."""
        if bytes(self.take(len(signature))) != signature:
            raise Damaged(f"no {signature.decode('latin-1')} where there must be one")


class Image:
    """The bytes of a file from its base address on. `root`: address of the root group's header."""

    def __init__(self, data: memoryview) -> None:
        start = 0
        while bytes(data[start : start + 8]) != SIGNATURE:
            start = start * 2 or 512
            if start >= len(data):
                raise Damaged("there is no signature of HDF5")
        head = Cursor(data[start + 8 :])
        version = head.uint(1)
        if version > 3:
            raise Damaged(f"version {version} of the superblock is unknown")
        if version < 2:
            head.take(4)
        sizes = head.uint(1), head.uint(1)
        if sizes != (8, 8):
            raise Damaged(f"addresses and lengths of {sizes} bytes are not read, only of 8")
        head.take((9, 13, 1, 1)[version])
        base = head.uint(8)
        head.take(8)
        end = head.uint(8)
        head.take(16 if version < 2 else 0)
        self.root = head.uint(8)
        if base > len(data) or end > len(data):
            raise Damaged(f"the file ends before its stated end, byte {end}")
        self.data = data[base:]
        self._objects: dict[int, dict[int, memoryview]] = {}

    def at(self, address: int, size: int | None = None) -> Cursor:
        """A cursor at an address, for so many bytes or to the end of the file. Raises: Damaged."""
        if address > len(self.data):
            raise Damaged("an address lies beyond the end of the file")
        rest = self.data[address:]
        return Cursor(rest if size is None else Cursor(rest).take(size))

    # ---- object headers ----------------------------------------------------------------------------------------------

    def messages(self, address: int) -> list[tuple[int, memoryview]]:
        """(type, content) of the messages of an object's header, but those kept elsewhere. Raises: Damaged."""
        head = self.at(address)
        if head.uint(1) == 1:
            head.take(7)
            size = head.uint(4)
            head.take(4)
            prefix, tracked = b"", None
        else:
            head.at = 0
            head.expect(b"OHDR\x02")
            flags = head.uint(1)
            head.take(16 * (flags >> 5 & 1) + 4 * (flags >> 4 & 1))
            size = head.uint(1 << (flags & 3))
            prefix, tracked = b"OCHK", 2 * (flags >> 2 & 1)
        found: list[tuple[int, memoryview]] = []
        blocks, seen = [Cursor(head.take(size))], {address}
        for block in blocks:  # which grows as continuations are met
            for kind, content in _messages(block, tracked):
                if kind != Message.CONTINUATION:
                    found.append((kind, content))
                    continue
                where = Cursor(content)
                further, size = where.uint(8), where.uint(8)
                if further in seen:
                    raise Damaged("an object header continues in itself")
                seen.add(further)
                blocks.append(self.at(further, size - (4 if prefix else 0)))
                blocks[-1].expect(prefix)
        return found

    # ---- groups ------------------------------------------------------------------------------------------------------

    def old_links(self, content: memoryview) -> dict[str, int | None]:
        """Address of each member of a group with a symbol table; None for a link that is not hard. Raises: Damaged."""
        where = Cursor(content)
        tree, heap = where.uint(8), self.at(where.uint(8))
        heap.expect(b"HEAP\x00")
        heap.take(3)
        size = heap.uint(8)
        heap.take(8)
        names = self.at(heap.uint(8), size).data
        found: dict[str, int | None] = {}
        for _, address in self.leaves(tree, 0, 8):
            node = self.at(address)
            node.expect(b"SNOD\x01")
            node.take(1)
            for _ in range(node.uint(2)):
                name, header, kind = node.uint(8), node.uint(8), node.uint(4)
                node.take(20)
                found[_terminated(names, name)] = None if kind == 2 else header
        return found

    def leaves(self, root: int, kind: int, key: int) -> Iterator[tuple[memoryview, int]]:
        """(key, address) of all leaves of a version 1 B-tree, in order.

        Args:
            kind: 0 for groups, 1 for chunks of a dataset. key: bytes of one key.
        Raises: Damaged.
        """
        waiting, seen = [(root, -1)], set[int]()
        while waiting:
            address, wanted = waiting.pop()
            if address in seen:
                raise Damaged("a tree contains itself")
            seen.add(address)
            node = self.at(address)
            node.expect(b"TREE" + bytes([kind]))
            level, count = node.uint(1), node.uint(2)
            if wanted not in (-1, level):
                raise Damaged("a tree has uneven levels")
            node.take(16)
            entries = [(node.take(key), node.uint(8)) for _ in range(count)]
            if level == 0:
                yield from entries
            else:
                waiting += [(child, level - 1) for _, child in reversed(entries)]

    # ---- the global heap, where strings of any length are -----------------------------------------------------------

    def text(self, reference: Cursor) -> memoryview:
        """The string that a reference of 16 bytes leads to. Raises: Damaged."""
        size, address, index = reference.uint(4), reference.uint(8), reference.uint(4)
        if size == 0:
            return memoryview(b"")
        if address not in self._objects:
            self._objects[address] = dict(self._heap(address))
        found = self._objects[address].get(index)
        if found is None or size > len(found):
            raise Damaged("a string is not in the heap that it refers to")
        return found[:size]

    def _heap(self, address: int) -> Iterator[tuple[int, memoryview]]:
        head = self.at(address)
        head.expect(b"GCOL\x01")
        head.take(3)
        heap = Cursor(head.take(head.uint(8) - 16))
        while heap.left >= 16:
            index = heap.uint(2)
            if index == 0:
                return
            heap.take(6)
            size = heap.uint(8)
            yield index, heap.take(size)
            heap.take(min(-size % 8, heap.left))


def _messages(block: Cursor, tracked: int | None) -> Iterator[tuple[int, memoryview]]:
    """Messages of one block; `tracked` is None in headers of version 1, else the bytes of each one's order."""
    while block.left >= (8 if tracked is None else 4 + tracked):
        kind, size, flags = block.uint(2 if tracked is None else 1), block.uint(2), block.uint(1)
        block.take(3 if tracked is None else tracked)
        content = block.take(size)
        if not flags & 2:  # one that is shared holds but a reference
            yield kind, content


def _terminated(names: memoryview, start: int) -> str:
    found = bytes(names[start : start + _LONGEST_NAME])
    end = found.find(b"\x00")
    if end < 0:
        raise Damaged("a name does not end")
    return found[:end].decode(errors="replace")


def link(content: memoryview) -> tuple[str, int | None]:
    """Name and address of a link message; None for a link that is not hard. Raises: Damaged."""
    head = Cursor(content)
    head.take(1)
    flags = head.uint(1)
    kind = head.uint(1) if flags & 8 else 0
    head.take((8 if flags & 4 else 0) + (flags >> 4 & 1))
    name = bytes(head.take(head.uint(1 << (flags & 3)))).decode(errors="replace")
    return name, head.uint(8) if kind == 0 else None
