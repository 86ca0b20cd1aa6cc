"""Instruction words as lines, both ways. Mnemonics, parameters and flags come from the instruction tables.

    line  := mnemonic {parameter | flag | "wait(" semaphore ">=" value ")" | "post(" semaphore "+" n ")" | "dbg=" row}
    parameter := slot "=" value | "." field "=" value

Whatever is left out is zero. A field that the mnemonic gives no meaning is written by its own name with a dot in front,
so that every word has a text. `op.<code>` stands for an opcode without a mnemonic.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from isa import word
from isa.listing import operands, scalars
from isa.spec import ALU_OPS, FUNCTIONS, SPEC, Slot

_TOKEN = re.compile(r"(?:[^\s\[\(]|\[[^\]]*\]?|\([^\)]*\)?)+")
_WAIT = re.compile(r"wait\(\s*([\w.\-]+)\s*>=\s*(\w+)\s*\)")
_POST = re.compile(r"post\(\s*([\w.\-]+)\s*\+\s*(\w+)\s*\)")
_SYNC_FIELDS = ("wait_sem", "wait_val", "post_sem", "post_inc", "debug", "opcode", "flags")


@dataclass(frozen=True)
class Codec:
    """Text of a field's value: an int for number fields, raw bytes for operands and pointers."""

    format: Callable[..., str]
    parse: Callable[[str], int | bytes]
    is_bytes: bool = False
    symbolic: bool = False  # a label may stand for the number


def _unsigned(bits: int, symbolic: bool = False) -> Codec:
    return Codec(str, lambda text: scalars.number(text, bits), symbolic=symbolic)


def _signed(bits: int) -> Codec:
    return Codec(lambda value: str((value ^ 1 << bits - 1) - (1 << bits - 1)),
                 lambda text: scalars.number(text, bits, signed=True) & (1 << bits) - 1)


_FLOAT = Codec(scalars.format_float, scalars.parse_float)
_OPERAND = Codec(operands.format_operand, operands.parse_operand, is_bytes=True)
_POINTER = Codec(operands.format_pointer, operands.parse_pointer, is_bytes=True)
_KINDS: dict[str, Codec] = {  # slot kinds of isa.spec
    "operand": _OPERAND,
    "pattern": Codec(operands.format_pattern, operands.parse_pattern, is_bytes=True),
    "imm": _FLOAT,
    "f32": _FLOAT,
    "alu": Codec(scalars.code_formatter(ALU_OPS), scalars.code_parser(ALU_OPS, "operation")),
    "func": Codec(scalars.code_formatter(FUNCTIONS), scalars.code_parser(FUNCTIONS, "function")),
    "u8": _unsigned(8),
    "u16": _unsigned(16),
    "i16": _signed(16),
    "u32": _unsigned(32, symbolic=True),
    "i32": _signed(32),
}
_FIELDS = word.WORD.fields
assert _FIELDS is not None
OFFSETS = {name: int(entry[1]) for name, entry in _FIELDS.items()}
_PLAIN_FIELDS = tuple(name for name in OFFSETS if name not in _SYNC_FIELDS)


def _raw_codec(field: str) -> Codec:
    dtype = word.WORD[field]
    if dtype in (word.OPERAND, word.POINTER):
        return _OPERAND if dtype == word.OPERAND else _POINTER
    return _FLOAT if dtype.kind == "f" else _unsigned(8 * dtype.itemsize)


@dataclass(frozen=True)
class Form:
    """How the words of one opcode read: `entries` (field, label, codec) in listing order, flag names, parse table."""

    opcode: int
    mnemonic: str
    entries: tuple[tuple[str, str, Codec], ...]
    flags: Mapping[str, int]
    labels: Mapping[str, tuple[str, Codec]]  # label -> field, codec
    scalars: Mapping[str, tuple[str, str]]  # label -> pointer field, immediate field


def _form(opcode: int) -> Form:
    instruction = SPEC.by_opcode.get(opcode)
    slots = list(instruction.slots.values()) if instruction else []
    entries: list[tuple[str, str, Codec]] = []
    pairs: dict[str, tuple[str, str]] = {}
    for slot in slots:
        entries += _entries(slot)
        if slot.kind == "scalar":
            pairs[slot.name] = (slot.fields[0], slot.fields[1])
    named = {field for field, _, _ in entries}
    entries += [(f, f".{f}", _raw_codec(f)) for f in _PLAIN_FIELDS if f not in named]
    labels = {label: (field, codec) for field, label, codec in entries if label not in pairs}
    labels |= {f".{f}": (f, _raw_codec(f)) for f in (*_PLAIN_FIELDS, "flags")}
    name = instruction.mnemonic if instruction else f"op.{opcode:#04x}"
    return Form(opcode, name, tuple(entries), dict(instruction.flags) if instruction else {}, labels, pairs)


def _entries(slot: Slot) -> list[tuple[str, str, Codec]]:
    if slot.kind == "scalar":
        return [(slot.fields[0], slot.name, _POINTER), (slot.fields[1], slot.name, _FLOAT)]
    return [(slot.field, slot.name, _KINDS[slot.kind])]


FORMS: tuple[Form, ...] = tuple(_form(opcode) for opcode in range(256))
BY_MNEMONIC: dict[str, Form] = {form.mnemonic: form for form in FORMS}


# ---- words -> lines
def format_words(stream: np.ndarray) -> Iterator[str]:
    """Yield one line per word of a [n] WORD array."""
    columns = {field: _column(stream, field) for field in _PLAIN_FIELDS}
    sync = [stream[f].tolist() for f in _SYNC_FIELDS]
    for i, (wait_sem, wait_val, post_sem, post_inc, debug, opcode, flags) in enumerate(zip(*sync)):
        form = FORMS[opcode]
        parts = [form.mnemonic]
        for field, label, codec in form.entries:
            value = columns[field][i]
            if value:
                parts.append(f"{_label(label, form, field, columns, i)}={codec.format(value)}")
        parts += _format_flags(form, flags)
        parts += _format_sync(wait_sem, wait_val, post_sem, post_inc)
        if debug:
            parts.append(f"dbg={debug}")
        yield " ".join(parts)


def _column(stream: np.ndarray, field: str) -> list[int] | list[bytes]:
    """Return one field of all words: ints (bits of floats), bytes of operands; b"" for one that is all zero."""
    codec = _raw_codec(field)
    values = stream[field]
    if not codec.is_bytes:
        raw = np.ascontiguousarray(values)
        found: list[int] = (raw.view(np.uint32) if raw.dtype.kind == "f" else raw).tolist()
        return found
    size, data = values.dtype.itemsize, values.tobytes()
    zero = bytes(size)
    pieces = [data[k : k + size] for k in range(0, len(data), size)]
    return [b"" if p == zero else p for p in pieces]


def _label(label: str, form: Form, field: str, columns: Mapping[str, list[int] | list[bytes]], i: int) -> str:
    """Return the label; an immediate beside a pointer needs its field's own name."""
    pair = form.scalars.get(label)
    return f".{field}" if pair and field == pair[1] and columns[pair[0]][i] else label


def _format_flags(form: Form, flags: int) -> list[str]:
    names = [name for name, mask in form.flags.items() if flags & mask]
    rest = flags & ~sum(form.flags.values())
    return [*names, f".flags={rest:#x}"] if rest else names


def _format_sync(wait_sem: list[int], wait_val: list[int], post_sem: int, post_inc: int) -> list[str]:
    parts = [f"wait({s}>={v})" for s, v in zip(wait_sem, wait_val)]
    while parts and parts[-1] == "wait(0>=0)":
        parts.pop()
    if post_sem or post_inc:
        parts.append(f"post({post_sem}+{post_inc})")
    return parts


# ---- lines -> words
class TokenError(ValueError):
    """A token that does not parse; `index` counts the tokens of its line."""

    def __init__(self, index: int, what: str) -> None:
        self.index = index
        super().__init__(what)


def split(line: str) -> list[str]:
    """Return the tokens of a line; blanks inside brackets do not separate."""
    return _TOKEN.findall(line)


def column_of(line: str, index: int) -> int:
    """Return the column, from 1, of token `index` of `line`."""
    for k, match in enumerate(_TOKEN.finditer(line)):
        if k == index:
            return match.start() + 1
    return len(line) + 1


def parse_word(tokens: list[str], names: Mapping[str, int]) -> bytearray:
    """Return the 128 bytes of one instruction line; `names` are semaphores and descriptor labels.

    Raises: TokenError.
    """
    out = bytearray(word.WORD_BYTES)
    form = _parse_mnemonic(tokens[0])
    out[0] = form.opcode
    waits = 0
    seen = set()
    for index in range(1, len(tokens)):
        token = tokens[index]
        try:
            if token in form.flags:
                out[OFFSETS["flags"]] |= form.flags[token]
            elif token.startswith("wait("):
                _put_wait(out, token, waits, names)
                waits += 1
            elif token.startswith("post("):
                _put_post(out, token, names)
                token = "post()"
            else:
                token = _put_parameter(out, form, token, names)
        except ValueError as error:
            raise TokenError(index, str(error)) from error
        if token in seen and not token.startswith("wait("):
            raise TokenError(index, f"{token.rstrip('=')} is given twice")
        seen.add(token)
    return out


def _parse_mnemonic(token: str) -> Form:
    form = BY_MNEMONIC.get(token)
    if form is None and token.startswith("op."):
        try:
            return FORMS[scalars.number(token[3:], 8)]
        except ValueError as error:
            raise TokenError(0, str(error)) from error
    if form is None:
        raise TokenError(0, f"no instruction {token!r}; known: " + ", ".join(i.mnemonic for i in SPEC))
    return form


def _put_parameter(out: bytearray, form: Form, token: str, names: Mapping[str, int]) -> str:
    """Set one `label=value` and return the label."""
    label, equals, text = token.partition("=")
    if label == "dbg" and equals:
        _put(out, "debug", scalars.number(text, 32))
        return "dbg="
    pair = form.scalars.get(label)
    if pair:
        field, codec = (pair[0], _POINTER) if "[" in text else (pair[1], _FLOAT)
    elif label in form.labels:
        field, codec = form.labels[label]
    else:
        known = [*form.flags, *(f"{x}=" for x in (*form.scalars, *form.labels) if not x.startswith("."))]
        raise ValueError(f"{form.mnemonic} has no parameter {label!r}; it has: {' '.join(known) or 'none'}")
    if not equals:
        raise ValueError(f"parameter {label} needs a value: {label}=...")
    value = names[text] if codec.symbolic and text in names else codec.parse(text)
    if field == "flags":
        out[OFFSETS["flags"]] |= int(value)
    else:
        _put(out, field, value)
    return f"{label}="


def _put(out: bytearray, field: str, value: int | bytes, index: int = 0) -> None:
    base = word.WORD[field].base
    raw = value if isinstance(value, bytes) else value.to_bytes(base.itemsize, "little")
    start = OFFSETS[field] + index * base.itemsize
    out[start : start + len(raw)] = raw


def _semaphore(text: str, names: Mapping[str, int]) -> int:
    return names[text] if text in names else scalars.number(text, 16)


def _put_wait(out: bytearray, token: str, index: int, names: Mapping[str, int]) -> None:
    match = _WAIT.fullmatch(token)
    if match is None:
        raise ValueError(f"{token!r} is not wait(semaphore>=value)")
    if index == 2:
        raise ValueError("a word has at most two waits; put a nop with the third in front")
    _put(out, "wait_sem", _semaphore(match[1], names), index)
    _put(out, "wait_val", scalars.number(match[2], 32), index)


def _put_post(out: bytearray, token: str, names: Mapping[str, int]) -> None:
    match = _POST.fullmatch(token)
    if match is None:
        raise ValueError(f"{token!r} is not post(semaphore+n)")
    _put(out, "post_sem", _semaphore(match[1], names))
    _put(out, "post_inc", scalars.number(match[2], 16))
