"""Links and attributes of objects that have many: fractal heaps, indexed by B-trees of version 2."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.frontends.keras.hdf5_image import UNDEFINED, Cursor, Damaged, Image, Message


def dense(image: Image, kind: int, content: memoryview) -> Iterator[memoryview]:
    """The messages that a link info or attribute info message leads to. Raises: Damaged."""
    head = Cursor(content)
    head.take(1)
    flags = head.uint(1)
    head.take((2 if kind == Message.ATTRIBUTE_INFO else 8) * (flags & 1))
    heap, index = head.uint(8), head.uint(8)
    if heap == UNDEFINED:
        return
    found, left = _Heap(image, heap), len(image.data)
    for record in _records(image, index):
        key = record[: found.key] if kind == Message.ATTRIBUTE_INFO else record[4 : 4 + found.key]
        message = found.get(Cursor(key))
        left -= len(message)
        if left < 0:
            raise Damaged("the objects of a heap overlap")
        yield message


def _records(image: Image, address: int) -> Iterator[memoryview]:
    """Records of a B-tree of version 2, in no certain order."""
    head = image.at(address)
    head.expect(b"BTHD\x00")
    kind, node, size, depth = head.uint(1), head.uint(4), head.uint(2), head.uint(2)
    head.take(2)
    root, count = head.uint(8), head.uint(2)
    if size == 0 or depth > 16 or node < 10 + size:
        raise Damaged("the sizes of a tree contradict each other")
    most = (node - 10) // size
    counted, total, totals = _bytes(most), most, [0]
    for _ in range(depth):
        pointer = 8 + counted + totals[-1]
        inner = max((node - 10 - pointer) // (size + pointer), 0)
        total = (inner + 1) * total + inner
        totals.append(_bytes(total))
    waiting, seen = [(root, count, depth)] if root != UNDEFINED else [], set[int]()
    while waiting:
        address, count, level = waiting.pop()
        if address in seen:
            raise Damaged("a tree contains itself")
        seen.add(address)
        block = image.at(address, node)
        block.expect((b"BTIN\x00" if level else b"BTLF\x00") + bytes([kind]))
        for _ in range(count):
            yield block.take(size)
        for _ in range(count + 1 if level else 0):
            child, inside = block.uint(8), block.uint(counted)
            block.take(totals[level - 1])
            waiting.append((child, inside, level - 1))


class _Heap:
    """A fractal heap: blocks of growing sizes in rows, which make up one space of offsets. `key`: bytes of an ID."""

    def __init__(self, image: Image, address: int) -> None:
        self._image = image
        head = image.at(address)
        head.expect(b"FRHP\x00")
        self.key, filtered = head.uint(2), head.uint(2)
        if filtered:
            raise Damaged("compressed heaps are not read")
        head.take(1)
        largest = head.uint(4)
        head.take(8)
        self._huge = head.uint(8)
        head.take(80)
        self._width, self._start, self._direct = head.uint(2), head.uint(8), head.uint(8)
        bits = head.uint(2)
        head.take(2)
        self._root, self._rows = head.uint(8), head.uint(2)
        if not self._width or not self._start or not self._direct or bits > 64:
            raise Damaged("the sizes of a heap contradict each other")
        self._offset = (bits + 7) // 8
        self._length = _bytes(min(self._direct, largest))

    def get(self, key: Cursor) -> memoryview:
        """The object of an ID. Raises: Damaged."""
        kind = key.uint(1) >> 4 & 3
        if kind == 0:
            offset = key.uint(self._offset)
            return self._block(offset).take(key.uint(self._length))
        if kind != 1:
            raise Damaged("objects inside IDs are not read")  # they are smaller than any link or attribute
        if self.key >= 17:
            return self._image.at(key.uint(8), key.uint(8)).data
        wanted = key.uint(min(self.key - 1, 8))
        for record in _records(self._image, self._huge):
            where = Cursor(record)
            address, size = where.uint(8), where.uint(8)
            if where.uint(8) == wanted:
                return self._image.at(address, size).data
        raise Damaged("a heap lacks an object")

    def _block(self, offset: int) -> Cursor:
        """A cursor at an offset of the heap's space."""
        address, indirect = self._root, self._rows > 0
        while indirect:
            head = self._image.at(address)
            head.expect(b"FHIB\x00")
            head.take(8 + self._offset)
            row = (offset // (self._start * self._width)).bit_length()
            size = self._start << max(row - 1, 0)
            column, offset = divmod(offset - (size * self._width if row else 0), size)
            head.take(8 * (row * self._width + column))
            address, indirect = head.uint(8), size > self._direct
        return self._image.at(address + offset)


def _bytes(most: int) -> int:
    """Bytes that hold numbers up to `most`."""
    return (most.bit_length() + 7) // 8
