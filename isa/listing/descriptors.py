"""DMA descriptors as lines, both ways.

    line    := op "size=[" [n {"," n}] "]" "src=" side "dst=" side {field "=" value}
    side    := place "@" byte [":" dtype] ["(" [step {"," step}] ")"]
    place   := variable name | "%" variable id | "sbuf[" partition "]"
    step    := bytes | partitions "p"                 `p` on the SBUF side only: 1p is one partition further
    field   := "flags" | "dbg" | "index" | "index_step" | "index_limit"

Sizes count elements, outermost first, at most four; dimensions in front are size 1, step 0. Steps left out are dense:
row-major over the sizes, on the SBUF side with the outermost dimension over partitions. A DRAM variable may be written
by its name, or by `%` and its number.
"""
from __future__ import annotations

import math
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from isa import dtypes
from isa.listing.scalars import PLAIN_NAME, code_formatter, code_parser, format_dtype, number, parse_dtype
from isa.listing.words import TokenError
from isa.word import DESCRIPTOR, DMA_OPS, SBUF_PARTITION_STRIDE, SBUF_VARIABLE

T = TypeVar("T")
_DIMENSIONS = 4
_OPS = {name: code for code, name in enumerate(DMA_OPS)}
_format_op = code_formatter(_OPS)
_parse_op = code_parser(_OPS, "descriptor operation")
_SIDE = re.compile(r"(?P<place>sbuf\[\s*\w+\s*\]|%\w+|[A-Za-z_/][\w./:\-]*)@(?P<offset>\w+)"
                   r"(:(?P<dtype>\w+))?(?P<steps>\([^)]*\))?")
_EXTRA = {"flags": "flags", "dbg": "debug", "index_step": "index_step", "index_limit": "index_limit"}
_EXTRA_PARSERS: dict[str, Callable[[str], int]] = {
    label: partial(number, bits=8 * DESCRIPTOR[field].itemsize, signed=DESCRIPTOR[field].kind == "i")
    for label, field in _EXTRA.items()}
_PARAMETERS = ("size", "src", "dst", "index", *_EXTRA)
_PACKED = struct.Struct("<BBBBIIIQQ4I4q4qQiI")  # the fields of DESCRIPTOR in order
assert _PACKED.size == DESCRIPTOR.itemsize


def variable_names(names: list[str]) -> dict[int, str]:
    """Return id -> text of the variables (in id order) that can be written by name: plain, unique, not `sbuf`."""
    counts = Counter(names)
    return {i: n for i, n in enumerate(names, 1) if counts[n] == 1 and PLAIN_NAME.fullmatch(n) and n != "sbuf"}


# ---- descriptors -> lines
def format_descriptors(descriptors: np.ndarray, names: Mapping[int, str]) -> Iterator[str]:
    """Yield one line per descriptor of a [n] DESCRIPTOR array; `names` as of `variable_names`."""
    for row in _PACKED.iter_unpack(descriptors.tobytes()):
        yield _format_row(row, names)


def _format_row(row: tuple[int, ...], names: Mapping[int, str]) -> str:
    op, src_dtype, dst_dtype, flags, debug, src_var, dst_var, src_off, dst_off = row[:9]
    sizes, src_steps, dst_steps = row[9:13], row[13:17], row[17:21]
    used = (k for k in range(_DIMENSIONS) if sizes[k] != 1 or src_steps[k] or dst_steps[k])
    first = next(used, _DIMENSIONS)
    sizes = sizes[first:]
    name = _format_op(op)
    parts = [f"op.{name}" if name.isdigit() else name, f"size=[{','.join(map(str, sizes))}]",
             "src=" + _format_side(src_var, src_off, src_dtype, sizes, src_steps[first:], names),
             "dst=" + _format_side(dst_var, dst_off, dst_dtype, sizes, dst_steps[first:], names)]
    if row[21]:
        parts.append("index=" + _format_place(SBUF_VARIABLE, row[21], names))
    extra = {"flags": flags, "dbg": debug, "index_step": row[22], "index_limit": row[23]}
    parts += [f"{label}={value}" for label, value in extra.items() if value]
    return " ".join(parts)


def _format_place(variable: int, offset: int, names: Mapping[int, str]) -> str:
    if variable == SBUF_VARIABLE:
        return f"sbuf[{offset // SBUF_PARTITION_STRIDE}]@{offset % SBUF_PARTITION_STRIDE:#x}"
    return f"{names.get(variable) or f'%{variable}'}@{offset:#x}"


def _format_side(variable: int, offset: int, dtype: int, sizes: Sequence[int], steps: Sequence[int],
                 names: Mapping[int, str]) -> str:
    text = _format_place(variable, offset, names)
    if dtype:
        text += f":{format_dtype(dtype)}"
    if list(steps) == dense_steps(sizes, dtype, variable == SBUF_VARIABLE):
        return text
    return f"{text}({','.join(_format_step(s, variable == SBUF_VARIABLE) for s in steps)})"


def _format_step(step: int, sbuf: bool) -> str:
    partitions, rest = divmod(step, SBUF_PARTITION_STRIDE)
    return f"{partitions}p" if sbuf and step and not rest else str(step)


def dense_steps(sizes: Sequence[int], dtype: int, sbuf: bool) -> list[int]:
    """Return the byte steps that a side has when none are written."""
    size = int(dtypes.SIZES[dtype])
    steps = [size * math.prod(sizes[k + 1 :]) for k in range(len(sizes))]
    if sbuf and steps:
        steps[0] = SBUF_PARTITION_STRIDE
    return steps


# ---- lines -> descriptors
def parse_descriptor(tokens: list[str], variables: Mapping[str, int]) -> bytes:
    """Return the 128 bytes of one line; `variables` maps names to ids. Raises: TokenError."""
    op = _token(0, tokens[0].removeprefix("op."), _parse_op)
    values: dict[str, tuple[int, str]] = {}
    for index, token in enumerate(tokens[1:], 1):
        label, equals, text = token.partition("=")
        if not equals or label not in _PARAMETERS:
            raise TokenError(index, f"a descriptor has no parameter {token!r}; it has: "
                             + " ".join(f"{x}=" for x in _PARAMETERS))
        if label in values:
            raise TokenError(index, f"{label}= is given twice")
        values[label] = (index, text)
    for needed in ("size", "src", "dst"):
        if needed not in values:
            raise TokenError(len(tokens), f"a descriptor needs {needed}=")
    sizes = _token(*values["size"], _parse_sizes)
    src, dst = (_token(*values[side], lambda t: _parse_side(t, sizes, variables)) for side in ("src", "dst"))
    extra = {label: _token(*values.get(label, (0, "0")), parse) for label, parse in _EXTRA_PARSERS.items()}
    front = _DIMENSIONS - len(sizes)
    pad = [0] * front
    index_off = _token(*values["index"], _parse_index) if "index" in values else 0
    return _PACKED.pack(op, src[2], dst[2], extra["flags"], extra["dbg"], src[0], dst[0], src[1], dst[1],
                        *[1] * front, *sizes, *pad, *src[3], *pad, *dst[3], index_off, extra["index_step"],
                        extra["index_limit"])


def _parse_index(text: str) -> int:
    place, at, offset = text.partition("@")
    if not at or not place.startswith("sbuf["):
        raise ValueError(f"{text!r} is not an SBUF address such as sbuf[0]@0x40")
    return _parse_place(place, offset, {})[1]


def _token(index: int, text: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except (ValueError, OverflowError) as error:
        raise TokenError(index, str(error)) from error


def _parse_sizes(text: str) -> list[int]:
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError("sizes are written [n,n,...]")
    sizes = [number(t.strip(), 32) for t in text[1:-1].split(",") if t.strip()]
    if len(sizes) > _DIMENSIONS:
        raise ValueError(f"a descriptor has at most {_DIMENSIONS} dimensions")
    return sizes


def _parse_side(text: str, sizes: list[int], variables: Mapping[str, int]) -> tuple[int, int, int, list[int]]:
    match = _SIDE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a side such as x@0x0:fp32 or sbuf[0]@0x40:fp32(1p,4)")
    variable, offset = _parse_place(match["place"], match["offset"], variables)
    dtype = parse_dtype(match["dtype"]) if match["dtype"] else 0
    if match["steps"] is None:
        steps = dense_steps(sizes, dtype, variable == SBUF_VARIABLE)
        if any(s >= 1 << 63 for s in steps):
            raise ValueError("dense steps do not fit 64 bits")
        return variable, offset, dtype, steps
    steps = [_parse_step(t.strip()) for t in match["steps"][1:-1].split(",") if t.strip()]
    if len(steps) != len(sizes):
        raise ValueError(f"{len(steps)} steps for {len(sizes)} sizes")
    return variable, offset, dtype, steps


def _parse_place(place: str, offset: str, variables: Mapping[str, int]) -> tuple[int, int]:
    byte = number(offset, 64)
    if place.startswith("sbuf["):
        byte += number(place[5:-1].strip(), 64) * SBUF_PARTITION_STRIDE
        return SBUF_VARIABLE, number(str(byte), 64)
    if place.startswith("%"):
        return number(place[1:], 32), byte
    if place not in variables:
        raise ValueError(f"no variable {place!r}; known: " + (", ".join(variables) or "none"))
    return variables[place], byte


def _parse_step(text: str) -> int:
    step = number(text[:-1], 64, signed=True) * SBUF_PARTITION_STRIDE if text.endswith("p") else None
    return number(text if step is None else str(step), 64, signed=True)
