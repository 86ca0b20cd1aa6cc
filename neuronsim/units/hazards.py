"""Read after write inside one engine: which bytes a word reads and writes, as boxes of partitions and bytes.

A box bounds an access pattern; two patterns that interleave without touching count as overlapping.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isa.dtypes import SIZES
from neuronsim.units.model import DST_READ, SRC1_WRITTEN

SPACE_MASK = 3  # the other bits of `space` name a base register


@dataclass(frozen=True)
class Box:
    """Bytes [low, high) of every partition in [first, last) of memory `space`."""

    space: int
    first: int
    last: int
    low: int
    high: int

    def overlaps(self, other: Box) -> bool:
        return (self.space == other.space and self.low < other.high and other.low < self.high
                and self.first < other.last and other.first < self.last)


def operand_box(operand: Any) -> Box:
    """Box of an OPERAND record that is present."""
    size = int(SIZES[operand["dtype"]])
    reach = [int(step) * (int(count) - 1) * size for step, count in zip(operand["step"], operand["size"]) if count]
    start, first = int(operand["start"]), int(operand["partition"])
    low = start + sum(r for r in reach if r < 0)
    high = start + size + sum(r for r in reach if r > 0)
    return Box(int(operand["space"]) & SPACE_MASK, first, first + int(operand["partitions"]), low, high)


def pointer_box(pointer: Any, partitions: int) -> Box:
    """Box of a POINTER record: one element in each partition of the destination."""
    start, first = int(pointer["start"]), int(pointer["partition"])
    high = start + int(SIZES[pointer["dtype"]])
    return Box(int(pointer["space"]) & SPACE_MASK, first, first + partitions, start, high)


def _present(record: Any) -> bool:
    return bool(record["space"] & SPACE_MASK)


def reads(word: Any, role: int) -> list[Box]:
    """What the word reads from SBUF and PSUM."""
    operands = [word["src0"]]
    if not role & SRC1_WRITTEN:
        operands.append(word["src1"])
    if role & DST_READ:
        operands.append(word["dst"])
    partitions = int(word["dst"]["partitions"])
    return ([operand_box(o) for o in operands if _present(o)]
            + [pointer_box(p, partitions) for p in (word["ptr0"], word["ptr1"]) if _present(p)])


def writes(word: Any, role: int) -> list[Box]:
    """What the word writes."""
    operands = [word["dst"], word["src1"]] if role & SRC1_WRITTEN else [word["dst"]]
    return [operand_box(o) for o in operands if _present(o)]
