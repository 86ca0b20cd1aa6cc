"""Operands and pointers of a word as text, both ways, exact for every bit pattern.

    operand := memory "[" first ":" end "]" "@" byte ":" dtype dims        sbuf[0:64]@0x1a00:fp32[4,512]
    pointer := memory "[" partition "]" "@" byte ":" dtype ["~" zero]      sbuf[0]@0x40:fp32
    memory  := ("sbuf" | "psum" | "none" | "mem3") [".r" register]
    dims    := "[" [dim {"," dim}] "]"           outermost first, at most four; dimensions in front are size 1, step 0
    dim     := size [":" step]                   step in elements; left out: 1 if innermost, else dense over the next
    pattern := "(" [step {"," step}] ")"         steps of an operand that has nothing else
"""
from __future__ import annotations

import re
import struct
from functools import lru_cache

from isa.listing.scalars import format_dtype, number, parse_dtype
from isa.word import SPACE_NAMES

_OPERAND = struct.Struct("<IBBBB4h4H")
_POINTER = struct.Struct("<IBBBB")
_MEMORIES = tuple(SPACE_NAMES.get(code, "none" if code == 0 else f"mem{code}") for code in range(4))
_CODES = {name: code for code, name in enumerate(_MEMORIES)}
_DIMENSIONS = 4

_PLACE = r"(?P<memory>\w+)(\.r(?P<register>\d+))?\s*\[\s*(?P<first>\w+)\s*(:\s*(?P<end>\w+)\s*)?\]@(?P<start>\w+)"
_OPERAND_TEXT = re.compile(_PLACE + r":(?P<dtype>\w+)(\[(?P<dims>[^\]]*)\])?")
_POINTER_TEXT = re.compile(_PLACE + r":(?P<dtype>\w+)(~(?P<zero>\w+))?")
_CACHE = 1 << 16


@lru_cache(_CACHE)
def format_operand(raw: bytes) -> str:
    """Return the text of a 24-byte operand."""
    start, partition, partitions, dtype, space, *rest = _OPERAND.unpack(raw)
    dims = format_dims(rest[_DIMENSIONS:], rest[:_DIMENSIONS])
    return f"{_format_space(space)}[{partition}:{partition + partitions}]@{start:#x}:{format_dtype(dtype)}{dims}"


@lru_cache(_CACHE)
def parse_operand(text: str) -> bytes:
    """Return the 24 bytes of an operand. Raises: ValueError."""
    match = _OPERAND_TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an operand such as sbuf[0:64]@0x1a00:fp32[4,512]")
    space, first, start, dtype = _place(match)
    end = number(match["end"], 16) if match["end"] else first + 1
    if not 0 <= end - first < 256:
        raise ValueError(f"partitions {first}:{end} are not a range of at most 255")
    sizes, steps = parse_dims(match["dims"] or "")
    return _OPERAND.pack(start, first, end - first, dtype, space, *steps, *sizes)


@lru_cache(_CACHE)
def format_pointer(raw: bytes) -> str:
    """Return the text of an 8-byte pointer."""
    start, partition, dtype, space, zero = _POINTER.unpack(raw)
    text = f"{_format_space(space)}[{partition}]@{start:#x}:{format_dtype(dtype)}"
    return f"{text}~{zero}" if zero else text


@lru_cache(_CACHE)
def parse_pointer(text: str) -> bytes:
    """Return the 8 bytes of a pointer. Raises: ValueError."""
    match = _POINTER_TEXT.fullmatch(text)
    if match is None or match["end"]:
        raise ValueError(f"{text!r} is not a column such as sbuf[0]@0x40:fp32")
    space, first, start, dtype = _place(match)
    return _POINTER.pack(start, first, dtype, space, number(match["zero"] or "0", 8))


def format_pattern(raw: bytes) -> str:
    """Return the steps of an operand that has only steps, else its full text."""
    steps = list(_OPERAND.unpack(raw)[5 : 5 + _DIMENSIONS])
    if raw != _OPERAND.pack(0, 0, 0, 0, 0, *steps, *[0] * _DIMENSIONS):
        return format_operand(raw)
    while steps and steps[0] == 0:
        steps.pop(0)
    return f"({','.join(map(str, steps))})"


def parse_pattern(text: str) -> bytes:
    """Return the 24 bytes of a pattern. Raises: ValueError."""
    if not text.startswith("("):
        return parse_operand(text)
    steps = [number(t.strip(), 16, signed=True) for t in text.strip("()").split(",") if t.strip()]
    if len(steps) > _DIMENSIONS:
        raise ValueError(f"a pattern has at most {_DIMENSIONS} steps")
    return _OPERAND.pack(0, 0, 0, 0, 0, *[0] * (_DIMENSIONS - len(steps)), *steps, *[0] * _DIMENSIONS)


def format_dims(sizes: list[int], steps: list[int]) -> str:
    """Return the text of four (size, step) pairs, outermost first."""
    used = [d for d in range(_DIMENSIONS) if sizes[d] != 1 or steps[d]]
    parts: list[str] = []
    dense = 1
    for size, step in reversed(list(zip(sizes, steps))[used[0] :] if used else []):
        parts.append(str(size) if step == dense else f"{size}:{step}")
        dense = size * step
    return f"[{','.join(reversed(parts))}]"


def parse_dims(text: str) -> tuple[list[int], list[int]]:
    """Return four sizes and four steps. Raises: ValueError."""
    dims = [d.strip() for d in text.split(",")] if text.strip() else []
    if len(dims) > _DIMENSIONS:
        raise ValueError(f"an operand has at most {_DIMENSIONS} dimensions")
    sizes, steps = [1] * _DIMENSIONS, [0] * _DIMENSIONS
    dense = 1
    for place, dim in zip(range(_DIMENSIONS - 1, -1, -1), reversed(dims)):
        size, colon, step = dim.partition(":")
        sizes[place] = number(size, 16)
        steps[place] = number(step if colon else str(dense), 16, signed=True)
        dense = sizes[place] * steps[place]
    return sizes, steps


def _format_space(space: int) -> str:
    memory, register = _MEMORIES[space & 3], space >> 2
    return f"{memory}.r{register - 1}" if register else memory


def _place(match: re.Match[str]) -> tuple[int, int, int, int]:
    """Return (space byte, first partition, start byte, dtype code)."""
    if match["memory"] not in _CODES:
        raise ValueError(f"no memory {match['memory']!r}; known: " + ", ".join(_CODES))
    register = number(match["register"], 16) + 1 if match["register"] else 0
    if register > 63:
        raise ValueError("a base register is r0..r62")
    return (_CODES[match["memory"]] | register << 2, number(match["first"], 8), number(match["start"], 32),
            parse_dtype(match["dtype"]))
