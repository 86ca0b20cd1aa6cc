"""Names from models as text that every format can carry. Names are data of strangers: nothing in them is markup."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable

LONGEST = 300  # characters of a name; longer ones end in a digest, so that different names stay different
_DIGEST = 12
_UNSHOWN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, format characters, surrogates, separators
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def clean(name: str) -> str:
    """The name on one line, printable, encodable in UTF-8: controls, line separators and surrogates as escapes."""
    if not name.isprintable():
        name = "".join(_shown(c) for c in name)
    if len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
    return f"{name[:LONGEST - _DIGEST - 1]}…{digest}"


def _shown(character: str) -> str:
    """The character, or its escape where it would break a line, hide text, or cannot be encoded."""
    if unicodedata.category(character) in _UNSHOWN:
        return _NAMED.get(character) or f"\\u{ord(character):04x}"
    return character


class Names:
    """Texts by number, each once: `texts[number]`. Number 0 is the empty text."""

    def __init__(self) -> None:
        self.texts = [""]
        self._numbers = {"": 0}

    def number(self, name: str) -> int:
        """Number of the cleaned name; new ones get the next."""
        text = clean(name)
        found = self._numbers.setdefault(text, len(self.texts))
        if found == len(self.texts):
            self.texts.append(text)
        return found

    def numbers(self, names: Iterable[str]) -> list[int]:
        return [self.number(n) for n in names]
