"""Reads a .cfg file: sections in square brackets, each with `option=value` lines.

As darknet reads it (src/parser.c, src/option_list.c): blanks count nowhere, lines that start with # or ; are comments,
of an option given twice the first counts, one without a value does not, and a number may be followed by anything. Where
darknet goes on with a zero because there is no number at all, this reader refuses the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from compiler.errors import ModelError

#: Two spellings of one section, the rarer one first.
ALIASES = {"conv": "convolutional", "deconv": "deconvolutional", "conn": "connected", "max": "maxpool",
           "avg": "avgpool", "soft": "softmax", "lrn": "normalization", "local_avg": "local_avgpool",
           "silence": "empty", "network": "net"}  # fmt: skip
#: Real files have a few hundred layers and stay below 100 kB.
_MOST_BYTES = 1 << 22
_MOST_SECTIONS = 1 << 13
#: darknet keeps sizes in ints of 32 bits.
LARGEST = 2**31 - 1

_INTEGER = re.compile(r"[+-]?\d+")
_REAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Section:
    """One section.

    Attributes:
        kind: what it is, without brackets, in the spelling that `ALIASES` lead to.
        index: number of the layer, from 0; -1 for [net].
        options: value by name, as text.
        where: file and line, for messages.
    """

    kind: str
    index: int
    options: dict[str, str]
    where: str

    @property
    def name(self) -> str:
        """What reports and outputs call the layer."""
        return f"layer{self.index}_{self.kind}"

    def has(self, option: str) -> bool:
        """Whether the section states the option."""
        return option in self.options

    def text(self, option: str, default: str = "") -> str:
        """A word; a comment behind it is cut off."""
        return self.options.get(option, default).split("#")[0]

    def integer(self, option: str, default: int, least: int = -LARGEST, most: int = LARGEST) -> int:
        """A whole number. Raises: ModelError CFG_VALUE when there is none, or it is outside least..most."""
        if option not in self.options:
            return default
        found = _INTEGER.match(self.options[option])
        value = int(found.group()[:20]) if found else None
        if value is None or not least <= value <= most:
            raise self._bad(option, f"a whole number, {least} to {most}")
        return value

    def real(self, option: str, default: float) -> float:
        """A real number. Raises: ModelError CFG_VALUE when there is none."""
        if option not in self.options:
            return default
        return self._real(option, self.options[option])

    def integers(self, option: str) -> list[int]:
        """Whole numbers with commas between. Raises: ModelError CFG_VALUE."""
        found = [_INTEGER.match(part) for part in self.text(option).rstrip(",").split(",")]
        if not all(found) or any(len(f.group()) > 10 for f in found if f):
            raise self._bad(option, "whole numbers with commas between")
        return [int(f.group()) for f in found if f]

    def _real(self, option: str, text: str) -> float:
        found = _REAL.match(text)
        if not found:
            raise self._bad(option, "a number")
        return float(found.group())

    def _bad(self, option: str, limit: str) -> ModelError:
        return ModelError(f"option {option!r} has a value that does not fit", code="CFG_VALUE", where=self.where,
                          limit=limit, actual=self.options.get(option, "")[:60] or "nothing")


def read_cfg(path: Path) -> tuple[Section, list[Section]]:
    """The [net] section and the layers of a file.

    Raises: ModelError CFG_SIZE (too long for a cfg), CFG_SYNTAX (a line that is none of section, option, comment),
        CFG_NET (it does not begin with [net], or has no layer).
    """
    where = str(path)
    if path.stat().st_size > _MOST_BYTES:
        raise ModelError("the file is too long for a DarkNet cfg", code="CFG_SIZE", where=where, limit=_MOST_BYTES,
                         actual=path.stat().st_size)
    text = path.read_bytes().decode("utf-8-sig", "replace")
    sections = _sections(text, where)
    if not sections or sections[0].kind != "net":
        raise ModelError("a DarkNet cfg begins with a section [net] or [network]", code="CFG_NET", where=where,
                         actual=f"[{sections[0].kind}]" if sections else "no section")
    if len(sections) == 1:
        raise ModelError("the DarkNet cfg has no layers", code="CFG_NET", where=where)
    return sections[0], sections[1:]


def _sections(text: str, where: str) -> list[Section]:
    sections: list[Section] = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = re.sub(r"[ \t\r]", "", raw)
        place = f"{where}, line {number}"
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            kind = line[1:].split("]")[0]
            if len(sections) > _MOST_SECTIONS:
                raise ModelError("too many layers", code="CFG_SIZE", where=place, limit=_MOST_SECTIONS)
            sections.append(Section(ALIASES.get(kind, kind), len(sections) - 1, {}, place))
        elif "=" in line and not line.startswith("=") and sections:
            option, value = line.split("=", 1)
            if value:
                sections[-1].options.setdefault(option, value)
        else:
            raise ModelError("a line that is no section, option or comment", code="CFG_SYNTAX", where=place,
                             actual=raw.strip()[:60])
    return sections
