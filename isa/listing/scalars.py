"""Numbers, floats, names and quoted texts of a listing: each format beside its parse.

Parsers raise ValueError with one sentence; the assembler adds line and column.
"""
from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np

from isa.dtypes import BY_CODE, BY_NAME

PLAIN_NAME = re.compile(r"[A-Za-z_/][A-Za-z0-9_./:\-]*")
_BITS = "bits:"
_PREFIXES = ("0x", "0b", "0o")
_CACHE = 1 << 16


def quote(text: str) -> str:
    """Return `text` as it stands when it is a plain name, else as a JSON string."""
    return text if PLAIN_NAME.fullmatch(text) else json.dumps(text)


def unquote(token: str) -> str:
    """Return the text of a token that may be a JSON string."""
    if not token.startswith('"'):
        return token
    value = json.loads(token)
    if not isinstance(value, str):
        raise ValueError(f"{token} is not a text")
    return value


def number(text: str, bits: int, signed: bool = False) -> int:
    """Return the integer in `text` (decimal, 0x, 0b, 0o) that must fit `bits`."""
    try:
        value = int(text, 0)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if not low <= value <= high:
        raise ValueError(f"{text} is outside {low}..{high}")
    return value


@lru_cache(_CACHE)
def format_float(bits: int) -> str:
    """Return the shortest text of the fp32 with these bits; `bits:0x...` where no number says it exactly."""
    text = str(np.uint32(bits).view(np.float32))
    return text if _rounded(text) == bits else f"{_BITS}{bits:#010x}"


@lru_cache(_CACHE)
def parse_float(text: str) -> int:
    """Return the fp32 bits of a number, `inf`, `nan` or `bits:0x...`."""
    if text.startswith(_BITS):
        return number(text[len(_BITS) :], 32)
    try:
        return _rounded(int(text, 0) if text[:2].lower() in _PREFIXES else text)
    except OverflowError:
        raise ValueError(f"{text} is beyond fp32") from None
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None


def _rounded(value: str | int) -> int:
    """Return the fp32 bits. Raises: ValueError for text that is no number, OverflowError beyond fp32."""
    return int(struct.unpack("<I", struct.pack("<f", float(value)))[0])


def code_formatter(names: Mapping[str, int]) -> Callable[[int], str]:
    """Return the formatter of a code that may have a name."""
    by_code = {code: name for name, code in names.items()}
    return lambda code: by_code.get(code) or str(code)


def code_parser(names: Mapping[str, int], what: str, bits: int = 8) -> Callable[[str], int]:
    """Return the parser of a name of `names` or a plain number of `bits`."""

    def parse(text: str) -> int:
        if text in names:
            return names[text]
        if not text[:1].isdigit():
            raise ValueError(f"no {what} {text!r}; known: " + ", ".join(names))
        return number(text, bits)

    return parse


def format_dtype(code: int) -> str:
    """Return the data type's name, `type<code>` for a code without one."""
    found = BY_CODE.get(code)
    return found.name if found else f"type{code}"


def parse_dtype(text: str) -> int:
    """Return the code of a data type."""
    if text in BY_NAME:
        return BY_NAME[text].code
    if text.startswith("type") and text[4:].isdigit():
        return number(text[4:], 8)
    raise ValueError(f"no data type {text!r}; known: " + ", ".join(BY_NAME))


def format_shape(shape: tuple[int, ...]) -> str:
    """Return `4x8`, `scalar` for a shape without dimensions."""
    return "x".join(map(str, shape)) or "scalar"


def parse_shape(text: str) -> tuple[int, ...]:
    """Return the shape of `4x8` or `scalar`."""
    if text == "scalar":
        return ()
    parts = text.split("x")
    if not all(p.isdigit() and p.isascii() and len(p) < 19 for p in parts):
        raise ValueError(f"{text!r} is not a shape such as 4x8")
    return tuple(int(p) for p in parts)
