"""Instructions to rows of the word and descriptor arrays, in bulk, with addresses relative to their tiles.

`encode` runs once; `place` adds the addresses of the tiles when they are known. Streams are cut out of the rows by
`compiler/backend/emit.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from isa.lang import Copy, DramView, Instr, View
from isa.word import DESCRIPTOR, SBUF_PARTITION_STRIDE, WORD, WORD_BYTES

_HEAD = struct.Struct("<6BHI2f2H2I2HI")
_OPERAND = struct.Struct("<I4B4h4H")
_POINTER = struct.Struct("<I4B")
_COPY = struct.Struct("<4BIIIQQ4I4q4qQiI")
_NO_OPERAND, _NO_POINTER = bytes(_OPERAND.size), bytes(_POINTER.size)
assert _HEAD.size + 2 * _POINTER.size + 3 * _OPERAND.size == WORD_BYTES
assert _COPY.size == DESCRIPTOR.itemsize

ON_CHIP = ("ptr0", "ptr1", "dst", "src0", "src1")  # fields with an address, in word order


class Encoded:
    """Rows in program order.

    Attributes:
        words: [n] `WORD`; a dma_trigger names its descriptors. Addresses count from the tile's start.
        descriptors: [m] `DESCRIPTOR`, likewise.
        word_tiles: [n, 5] tile id of each of `ON_CHIP`, -1 none.
        copy_tiles: [m, 3] tile id of src, dst and index, -1 none.
    """

    def __init__(
        self, words: np.ndarray, descriptors: np.ndarray, word_tiles: np.ndarray, copy_tiles: np.ndarray
    ) -> None:
        self.words = words
        self.descriptors = descriptors
        self.word_tiles = word_tiles
        self.copy_tiles = copy_tiles

    def place(self, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(words, descriptors) with addresses, given the byte offset of each tile: int64 [tiles]."""
        base = np.append(offsets, 0)  # tile -1
        words, descriptors = self.words.copy(), self.descriptors.copy()
        for k, field in enumerate(ON_CHIP):
            words[field]["start"] += base[self.word_tiles[:, k]].astype(np.uint32)
        for k, field in enumerate(("src_off", "dst_off", "index_off")):
            descriptors[field] += base[self.copy_tiles[:, k]].astype(np.uint64)
        return words, descriptors


def _operand(v: View | None, steps: tuple[int, ...] | None = None) -> bytes:
    if v is None:
        return _NO_OPERAND if steps is None else _OPERAND.pack(0, 0, 0, 0, 0, *steps, 0, 0, 0, 0)
    p = v.pattern()
    return _OPERAND.pack(v.start, v.partition, v.partitions, v.dtype.code, v.tile.space, *p[0], *p[1])


def _pointer(v: View | None) -> bytes:
    return _NO_POINTER if v is None else _POINTER.pack(v.start, v.partition, v.dtype.code, v.tile.space, 0)


def _id(v: View | DramView | None) -> int:
    return -1 if v is None or isinstance(v, DramView) else v.tile.id


def encode(instrs: Sequence[Instr]) -> Encoded:
    """Rows of `instrs`. Raises: struct.error never for checked instructions: `isa.lang` has checked every field."""
    rows: list[bytes] = []
    tiles: list[int] = []
    copies: list[bytes] = []
    copy_tiles: list[int] = []
    for i in instrs:
        arg = i.arg
        if i.copies is not None:
            arg = len(copies)
            for c in i.copies:
                copies.append(_copy(c, i.debug))
                copy_tiles += (_id(c.src), _id(c.dst), _id(c.index))
        second = i.src1 if i.dst1 is None else i.dst1
        src0_steps = i.pattern if i.src0 is None else None
        src1_steps = i.pattern if i.src0 is not None else None
        rows += (
            _HEAD.pack(
                i.opcode, i.flags, i.op0, i.op1, i.func, i.axes, i.count, i.debug, i.imm0, i.imm1, 0, 0, 0, 0, 0, 0, arg
            ),
            _pointer(i.ptr0),
            _pointer(i.ptr1),
            _operand(i.dst),
            _operand(i.src0, steps=src0_steps),
            _operand(second, steps=src1_steps),
        )
        tiles += (_id(i.ptr0), _id(i.ptr1), _id(i.dst), _id(i.src0), _id(second))
    return Encoded(
        np.frombuffer(b"".join(rows), dtype=WORD),
        np.frombuffer(b"".join(copies), dtype=DESCRIPTOR),
        np.array(tiles, dtype=np.int64).reshape(-1, len(ON_CHIP)),
        np.array(copy_tiles, dtype=np.int64).reshape(-1, 3),
    )


def _copy(c: Copy, debug: int) -> bytes:
    pad = 4 - len(c.sizes)
    src_var = c.src.tensor.id if isinstance(c.src, DramView) else 0
    dst_var = c.dst.tensor.id if isinstance(c.dst, DramView) else 0
    index_off = 0 if c.index is None else c.index.partition * SBUF_PARTITION_STRIDE + c.index.start
    return _COPY.pack(
        c.op,
        c.src.dtype.code,
        c.dst.dtype.code,
        0,
        debug,
        src_var,
        dst_var,
        c.src_off,
        c.dst_off,
        *(1,) * pad,
        *c.sizes,
        *(0,) * pad,
        *c.src_steps,
        *(0,) * pad,
        *c.dst_steps,
        index_off,
        c.index_step,
        c.index_limit,
    )
