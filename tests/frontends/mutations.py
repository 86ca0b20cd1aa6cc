"""Damaged copies of model files: how a mutation is written down, made at random, and tried.

A mutation is a few edits of one file of a model, or of one entry of a zip file, so that what a fuzzer finds is kept
in a line of JSON beside the model it was made from.
"""

from __future__ import annotations

import io
import json
import random
import re
import shutil
import struct
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
#: Sizes and numbers that readers are known to trip over, as they lie in binary files.
_WORDS = [struct.pack(f, v) for f in ("<i", "<q", ">i", ">q") for v in (-1, 0, 1, 0x7F, 0xFFFF, 0x7FFFFFFF, -(1 << 31))]
_WORDS += [struct.pack("<q", v) for v in (1 << 40, (1 << 63) - 1, -(1 << 63))] + [struct.pack("<f", v) for v in (
    float("nan"), float("inf"), -1e38)]
_TEXTS = [b"0", b"-1", b"1", b"99999999999999999999", b"2147483648", b"1e308", b"nan", b"null", b"{}", b"[]", b'""',
          b"", b"true", b'"x"', b"[[[[[[[[", b"\xff", b"\x00"]
_TOKEN = re.compile(rb'"[^"\n]{0,80}"|-?\d[\d.eE+-]*|[A-Za-z_]\w*|[\[\]{},:=]')


@dataclass(frozen=True)
class Mutation:
    """Edits of one file.

    Attributes:
        model: folder of the model below `tests/data`, for instance "keras/mobilenet_h5".
        file: path of the file in that folder.
        entry: entry of that file, when it is a zip whose entry is edited; else "".
        edits: (offset, bytes removed, hex of the bytes put in their place), offsets of the unedited file, ascending.
        was: what came out when it was found.
    """

    model: str
    file: str
    entry: str
    edits: tuple[tuple[int, int, str], ...]
    was: str = ""

    def line(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def of(line: str) -> Mutation:
        """The mutation of a line."""
        values = json.loads(line)
        return Mutation(**{**values, "edits": tuple(tuple(e) for e in values["edits"])})

    def apply(self, data: bytes) -> bytes:
        """The file's bytes, edited."""
        if not self.entry:
            return _edited(data, self.edits)
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
            for info in old.infolist():
                content = old.read(info)
                new.writestr(info.filename, _edited(content, self.edits) if info.filename == self.entry else content)
        return out.getvalue()

    def write(self, folder: Path) -> Path:
        """Copy the model into an empty folder with the mutation made; returns the path to compile."""
        source = DATA / self.model
        for path in sorted(p for p in source.rglob("*") if p.is_file() and p.name not in ("io.npz", "meta.json")):
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.relative_to(source).as_posix() == self.file:
                target.write_bytes(self.apply(path.read_bytes()))
            else:
                shutil.copyfile(path, target)
        return main_path(self.model, folder)


def _edited(data: bytes, edits: tuple[tuple[int, int, str], ...]) -> bytes:
    parts, at = [], 0
    for offset, removed, inserted in edits:
        parts += [data[at:offset], bytes.fromhex(inserted)]
        at = offset + removed
    return b"".join([*parts, data[at:]])


def meta(model: str) -> dict:
    """What is recorded of a stored model."""
    return json.loads((DATA / model / "meta.json").read_text())


def main_path(model: str, folder: Path) -> Path:
    """What a user would name on the command line: a file, or the folder of a SavedModel."""
    names = meta(model)["files"]
    if any(n.startswith(("saved_model", "variables")) for n in names):
        return folder
    return folder / next((n for n in names if n.endswith((".cfg", "symbol.json"))), names[0])


def files(model: str) -> list[tuple[str, str]]:
    """(file, entry) of everything of a model that can be edited; entries of zip files besides the files themselves."""
    found: list[tuple[str, str]] = []
    source = DATA / model
    for path in sorted(p for p in source.rglob("*") if p.is_file() and p.name not in ("io.npz", "meta.json")):
        name = path.relative_to(source).as_posix()
        found.append((name, ""))
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found += [(name, i.filename) for i in archive.infolist() if i.file_size]
    return found


def read(model: str, file: str, entry: str) -> bytes:
    """The bytes that a mutation of (file, entry) edits."""
    path = DATA / model / file
    if not entry:
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read(entry)


def draw(rng: random.Random, model: str, places: list[tuple[str, str]]) -> Mutation:
    """A random mutation of one of the places of a model."""
    file, entry = rng.choice(places)
    data = read(model, file, entry)
    text = b"\x00" not in data[:4096]
    count = rng.choice((1, 1, 1, 2, 3, 8))
    kinds = _IN_TEXT if text else _IN_BYTES
    edits = sorted({e[0]: e for e in (rng.choice(kinds)(rng, data) for _ in range(count))}.values())
    kept, end = [], 0
    for edit in edits:
        if edit[0] >= end:
            kept.append(edit)
            end = edit[0] + edit[1]
    return Mutation(model, file, entry, tuple(kept))


def _place(rng: random.Random, data: bytes) -> int:
    """An offset; more often near the beginning and the end, where sizes lie."""
    n = max(len(data) - 1, 0)
    kind = rng.random()
    if kind < 0.35:
        return rng.randint(0, min(n, 512))
    return rng.randint(max(0, n - 512), n) if kind < 0.45 else rng.randint(0, n)


def _flip(rng: random.Random, data: bytes) -> tuple[int, int, str]:
    at = _place(rng, data)
    return at, 1, bytes([(data[at] if data else 0) ^ (1 << rng.randint(0, 7))]).hex()


def _word(rng: random.Random, data: bytes) -> tuple[int, int, str]:
    word = rng.choice(_WORDS)
    at = _place(rng, data) & ~3
    return at, len(word), word.hex()


def _cut(rng: random.Random, data: bytes) -> tuple[int, int, str]:
    return (at := _place(rng, data)), len(data) - at, ""


def _drop(rng: random.Random, data: bytes) -> tuple[int, int, str]:
    return _place(rng, data), rng.choice((1, 2, 4, 8, 64)), ""


def _copy(rng: random.Random, data: bytes) -> tuple[int, int, str]:
    at = _place(rng, data)
    return at, 0, data[(start := _place(rng, data)) : start + rng.randint(1, 64)].hex()


def _token(rng: random.Random, data: bytes) -> tuple[int, int, str]:
    found = _TOKEN.search(data, _place(rng, data))
    if found is None:
        return _flip(rng, data)
    other = _TOKEN.search(data, _place(rng, data))
    new = other.group() if other is not None and rng.random() < 0.4 else rng.choice(_TEXTS)
    return found.start(), len(found.group()), new.hex()


_IN_TEXT = (_token, _token, _token, _cut, _copy, _flip)
_IN_BYTES = (_flip, _flip, _word, _word, _word, _cut, _copy, _drop)
