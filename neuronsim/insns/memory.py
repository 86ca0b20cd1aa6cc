"""Memories of a core as numpy arrays, and operands of a word as tiles [partitions, s0, s1, s2, s3] of them."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from isa import dtypes
from isa.word import PARTITIONS, PSUM, SBUF, SBUF_PARTITION_STRIDE
from neuronsim.insns import rounding

SPACE_MASK = 3
CACHE_LINE, HUGE_PAGE = 64, 2 << 20
FEW_BYTES = 16 << 10  # per partition: below, the host zeroes the small pages in use sooner than all of the memory
REDUCING = (0x13, 0x31)  # their src1 slot is the second destination


@dataclass
class Memory:
    """Attributes:
    sbuf, psum: [128, pitch] uint8; a row holds one partition and unused bytes that keep the pitch off powers of two.
    variables: DRAM variable id -> uint8 bytes.
    """

    sbuf: np.ndarray
    psum: np.ndarray
    variables: Mapping[int, np.ndarray] = field(default_factory=dict)

    def tile(self, operand: np.void) -> np.ndarray:
        """The operand as a strided view [P, s0, s1, s2, s3] of its memory."""
        dtype = dtypes.BY_CODE[int(operand["dtype"])]
        memory = {SBUF: self.sbuf, PSUM: self.psum}[int(operand["space"]) & SPACE_MASK]
        pitch = memory.strides[0]
        steps = tuple(int(s) * dtype.size for s in operand["step"])
        shape = (int(operand["partitions"]), *(int(s) for s in operand["size"]))
        offset = int(operand["partition"]) * pitch + int(operand["start"])
        flat = memory.reshape(-1)
        return np.ndarray(shape, dtype.numpy, flat.data, offset, (pitch, *steps))

    def address(self, variable: int, offset: int) -> tuple[np.ndarray, int]:
        """Flat uint8 memory and position of a descriptor's address."""
        if variable:
            return self.variables[variable], offset
        return self.sbuf.reshape(-1), offset // SBUF_PARTITION_STRIDE * self.sbuf.strides[
            0
        ] + offset % SBUF_PARTITION_STRIDE

    def step(self, variable: int, step: int) -> int:
        """A descriptor's byte step as a byte step in the host's memory."""
        if variable:
            return step
        partitions = (step + SBUF_PARTITION_STRIDE // 2) // SBUF_PARTITION_STRIDE
        return partitions * self.sbuf.strides[0] + step - partitions * SBUF_PARTITION_STRIDE


def new_memory(target_sbuf_bytes: int, target_psum_bytes: int, used_bytes: int = 0) -> Memory:
    """Zeroed SBUF and PSUM of that many bytes per partition; a program uses `used_bytes` of SBUF, 0 if unknown."""
    few = 0 < used_bytes < FEW_BYTES

    def rows(size: int) -> np.ndarray:
        pitch = (-(-size // CACHE_LINE) | 1) * CACHE_LINE
        flat = np.zeros(PARTITIONS * pitch, np.uint8) if few else _aligned_zeros(PARTITIONS * pitch)
        return flat.reshape(PARTITIONS, pitch)

    return Memory(rows(target_sbuf_bytes), rows(target_psum_bytes))


def _aligned_zeros(size: int) -> np.ndarray:
    """[size] uint8 in huge pages where the host has them: a column of a tile touches 128 rows far apart."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(size, np.uint8)
    room = mmap.mmap(-1, -(-size // HUGE_PAGE) * HUGE_PAGE + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without huge pages
        room.madvise(mmap.MADV_HUGEPAGE)
    array = np.frombuffer(room, np.uint8)
    first = -array.ctypes.data % HUGE_PAGE
    return array[first : first + size]


class Tiles:
    """Operands of one word: what a meaning reads and writes.

    `engine` is an index in `isa.word.ENGINES`. `sample` holds sources copied aside at the start of the word, dense and
    in the order src0, src1, ptr0, ptr1.
    """

    def __init__(self, word: np.void, memory: Memory, engine: int = 1, sample: np.ndarray | None = None) -> None:
        self.word = word
        self.memory = memory
        self.engine = engine
        self._raw: dict[str, np.ndarray] = {}
        at = 0
        for slot in ("src0", "src1", "ptr0", "ptr1"):
            operand = self._operand(slot)
            if int(operand["space"]) & SPACE_MASK and not (slot == "src1" and word["opcode"] in REDUCING):
                self._raw[slot], at = self._read(operand, sample, at)

    def _operand(self, slot: str) -> np.void:
        given: np.void = self.word[slot]
        if not slot.startswith("ptr"):
            return given
        made = np.zeros((), self.word["dst"].dtype)
        for name in ("start", "partition", "dtype", "space"):
            made[name] = given[name]
        has_dst = int(self.word["dst"]["space"]) & SPACE_MASK
        made["partitions"] = self.word["dst" if has_dst else "src0"]["partitions"]
        made["size"] = 1
        return made.reshape(1)[0]

    def _read(self, operand: np.void, sample: np.ndarray | None, at: int) -> tuple[np.ndarray, int]:
        tile = self.memory.tile(operand)
        if sample is None:
            return tile.copy(), at
        return sample[at : at + tile.size * tile.itemsize].view(tile.dtype).reshape(
            tile.shape
        ).copy(), at + tile.size * tile.itemsize

    def dtype(self, slot: str) -> dtypes.DType:
        return dtypes.BY_CODE[int(self.word[slot]["dtype"])]

    def has(self, slot: str) -> bool:
        return bool(int(self.word[slot]["space"]) & SPACE_MASK)

    def raw(self, slot: str) -> np.ndarray:
        """Elements of a source, [P, s0, s1, s2, s3] in its own type."""
        return self._raw[slot]

    def fp32(self, slot: str) -> np.ndarray:
        """A source as fp32, [P, s0, s1, s2, s3]."""
        return rounding.to_float32(self._raw[slot], self.dtype(slot))

    def rows(self, slot: str) -> np.ndarray:
        """A source as fp32 with its free dimensions flattened, [P, N]."""
        return self.fp32(slot).reshape(self._raw[slot].shape[0], -1)

    def numbers(self, slot: str) -> np.ndarray:
        """[P, N]: an integer source stays integer (for bitwise operators), a float source is fp32."""
        return self._raw[slot].reshape(self._raw[slot].shape[0], -1) if self._is_integer(slot) else self.rows(slot)

    def _is_integer(self, slot: str) -> bool:
        return self.dtype(slot).kind in "iu" and self.dtype(slot).name != "bool"

    def all_integer(self, *slots: str) -> bool:
        return all(self._is_integer(s) for s in slots)

    def scalar(self, k: int) -> np.ndarray:
        """Operand a (k = 0) or b (k = 1): [P, 1] from its pointer, else [1, 1] immediate; numbers as above."""
        if f"ptr{k}" in self._raw:
            return self.numbers(f"ptr{k}")
        return np.full((1, 1), self.word[f"imm{k}"], np.float32)

    def write(self, slot: str, values: np.ndarray) -> None:
        """Write fp32 values, rounded, or the low bits of a bitwise operator's integers, in the slot's type."""
        dtype = self.dtype(slot)
        if values.dtype.kind == "f":
            elements = rounding.from_float32(values.astype(np.float32), dtype)
        elif self._is_integer(slot):
            elements = values.astype(dtype.numpy)
        else:
            elements = rounding.from_float32(values.astype(np.float32), dtype)
        self.write_raw(slot, elements)

    def write_raw(self, slot: str, elements: np.ndarray) -> None:
        """Write elements as they are."""
        tile = self.memory.tile(self.word[slot])
        tile[...] = elements.reshape(tile.shape)

    def moved(self, slot: str) -> np.ndarray:
        """[P, N] values of a source for words that move data: exact integers where the type is dst's, else fp32."""
        exact = self.dtype(slot).name == self.dtype("dst").name and self._is_integer(slot)
        return self.numbers(slot) if exact else self.rows(slot)
