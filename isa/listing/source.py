"""A listing as a sequence of plain lines: comments taken off, `.repeat` unrolled, `{expressions}` replaced.

    .define NAME expression
    .repeat count [index name, default i]     lines up to the matching .endr, with {index name} counting from 0
    { expression }                            in instruction and descriptor lines: whole-number arithmetic + - * // %
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from isa import expression
from isa.errors import AssemblyError, NeuronError

MAX_LINES = 1 << 22  # after unrolling
_NAME = re.compile(r"[A-Za-z_]\w*")
_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|;.*')
_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Line:
    """One line that means something: its number from 1, its text with columns as in the listing."""

    number: int
    text: str

    def error(self, what: str, column: int | None = None, help: str = "") -> AssemblyError:
        """Return the error that points here; without `column` at the first character that is not blank."""
        first = len(self.text) - len(self.text.lstrip()) + 1
        return AssemblyError(what, line=self.number, column=column or first, help=help)


def lines(text: str) -> Iterator[Line]:
    """Yield the lines of a listing. Raises: AssemblyError."""
    plain = [Line(n, _uncomment(raw.rstrip("\r"))) for n, raw in enumerate(text.split("\n"), 1)]
    count = 0
    for line in _unroll([p for p in plain if p.text], {}):
        count += 1
        if count > MAX_LINES:
            raise line.error(f"the listing has more than {MAX_LINES} lines after unrolling")
        yield line


def _uncomment(text: str) -> str:
    if ";" in text:
        text = _COMMENT.sub(lambda m: "" if m[0].startswith(";") else m[0], text)
    return text.rstrip()


def _unroll(block: list[Line], env: dict[str, int]) -> Iterator[Line]:
    position = 0
    while position < len(block):
        line = block[position]
        position += 1
        if line.text.lstrip()[:1] != ".":
            yield _substituted(line, env) if "{" in line.text else line
            continue
        words = line.text.split(maxsplit=2)
        if words[0] == ".define":
            env[_name(line, words[1:])] = _value(line, words[2] if len(words) == 3 else "", env)
        elif words[0] == ".repeat":
            end = _end(block, position, line)
            count, index = _repeat(line, env)
            for value in range(count):
                yield from _unroll(block[position:end], env | {index: value})
            position = end + 1
        elif words[0] == ".endr":
            raise line.error(".endr without .repeat")
        else:
            yield line


def _end(block: list[Line], start: int, opening: Line) -> int:
    depth = 1
    for position in range(start, len(block)):
        word = block[position].text.split(maxsplit=1)[0]
        depth += (word == ".repeat") - (word == ".endr")
        if not depth:
            return position
    raise opening.error(".repeat without .endr")


def _repeat(line: Line, env: dict[str, int]) -> tuple[int, str]:
    words = line.text.split()
    if not 2 <= len(words) <= 3:
        raise line.error("expected .repeat count [name]; the count has no blanks in it")
    count = _value(line, words[1], env)
    if not 0 <= count <= MAX_LINES:
        raise line.error(f"a count is 0..{MAX_LINES}, found {count}")
    return count, _name(line, words[2:]) if len(words) == 3 else "i"


def _name(line: Line, words: list[str]) -> str:
    if not words or not _NAME.fullmatch(words[0]):
        raise line.error("expected a name")
    return words[0]


def _substituted(line: Line, env: dict[str, int]) -> Line:
    text = _BRACES.sub(lambda m: str(_value(line, m[1], env, m.start() + 1)), line.text)
    return Line(line.number, text)


def _value(line: Line, text: str, env: dict[str, int], column: int | None = None) -> int:
    try:
        value = expression.parse(text.strip()).evaluate(env)
    except KeyError as error:
        raise line.error(f"no name {error.args[0]!r} in {text!r}", column, "known: " + ", ".join(env)) from error
    except (NeuronError, ArithmeticError, TypeError, ValueError, RecursionError) as error:
        raise line.error(f"cannot evaluate {text!r}: {error}", column) from error
    if not isinstance(value, int) or abs(value) >> 64:
        raise line.error(f"{text!r} is not a whole number of at most 64 bits", column, "divide with //")
    return value
