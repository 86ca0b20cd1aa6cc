"""Files that break one rule each, with hashes that are right: every rule of docs/neff.md has its error."""
from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isa import neff
from isa.errors import ContainerError
from isa.neff import container, encode, layout
from isa.neff import writer as writing
from isa.neff.header import Header
from tests.isa.neff_files import make_program, weight_offset


@pytest.fixture
def path(tmp_path: Path) -> Path:
    neff.write(make_program(), tmp_path / "x.neff")
    return tmp_path / "x.neff"


def seal(path: Path, members: dict[str, bytes], **fields: Any) -> None:
    """Write a file with correct hashes from arbitrary members and header fields."""
    data = {n: np.frombuffer(d, dtype=np.uint8) for n, d in members.items()}
    manifest = container.manifest({n: hashlib.sha256(d.data).hexdigest() for n, d in data.items()})
    everything: encode.Members = {layout.MANIFEST: np.frombuffer(manifest, dtype=np.uint8)} | data
    header = Header.of(make_program(), writing.archive_bytes(everything))
    sealed = dataclasses.replace(header, **fields).sealed(manifest)
    writing.replace_file(path, sealed.to_bytes(), everything)


def raw_members() -> dict[str, bytes]:
    return {n: d.tobytes() for n, d in encode.members(make_program()).items()}


def code_of(path: Path) -> str:
    with pytest.raises(ContainerError) as error:
        neff.read(path)
    assert str(path) in error.value.where
    return error.value.code


def edited_json(name: str, edit: Callable[[dict[str, Any]], object]) -> dict[str, bytes]:
    members = raw_members()
    document = json.loads(members[name])
    edit(document)
    return members | {name: json.dumps(document).encode()}


GRAPH, DEF = "kelf-a.json", "sg00/def.json"
JSON_EDITS: list[tuple[str, str, Callable[[dict[str, Any]], object]]] = [
    ("NEFF_JSON", GRAPH, lambda d: d.pop("name")),
    ("NEFF_REFERENCE", GRAPH, lambda d: d["inputs"][0].update(dtype="seq(tensor(float)")),
    ("NEFF_REFERENCE", GRAPH, lambda d: d["inputs"][0].update(dtype="seq(tensor(float))")),
    ("NEFF_REFERENCE", GRAPH, lambda d: d["inputs"][0].update(dtype="__class__")),
    ("NEFF_LIMIT", GRAPH, lambda d: d["inputs"][0].update(shape=[4, -2])),
    ("NEFF_JSON", GRAPH, lambda d: d.update(extra=1)),
    ("NEFF_JSON", GRAPH, lambda d: d.update(name=3)),
    ("NEFF_JSON", GRAPH, lambda d: d.update(format=2)),
    ("NEFF_JSON", GRAPH, lambda d: d.update(nodes={})),
    ("NEFF_JSON", GRAPH, lambda d: d.update(report=[])),
    ("NEFF_JSON", GRAPH, lambda d: d["inputs"][0].update(shape=[True])),
    ("NEFF_LIMIT", GRAPH, lambda d: d["inputs"][0].update(shape=[1] * 99)),
    ("NEFF_LIMIT", GRAPH, lambda d: d.update(name="n" * 70000)),
    ("NEFF_LIMIT", GRAPH, lambda d: d.update(stages=["sg00"] * 5000)),
    ("NEFF_HEADER", GRAPH, lambda d: d.update(name="other")),
    ("NEFF_MEMBER_MISSING", GRAPH, lambda d: d.update(stages=["sg00", "sg01"])),
    ("NEFF_REFERENCE", GRAPH, lambda d: d.update(stages=["sg01"])),
    ("NEFF_REFERENCE", GRAPH, lambda d: d["nodes"][0].update(stage=1)),
    ("NEFF_REFERENCE", GRAPH, lambda d: d["nodes"][0].update(kind="gpu")),
    ("NEFF_REFERENCE", GRAPH, lambda d: d["nodes"][1].update(model="cpu/other.onnx")),
    ("NEFF_STREAM", DEF, lambda d: d["engines"]["sync"].update(instructions=1)),
    ("NEFF_STREAM", DEF, lambda d: d.update(descriptors=3)),
    ("NEFF_MEMBER_EXTRA", DEF, lambda d: d.update(descriptors=0)),
    ("NEFF_MEMBER_EXTRA", DEF, lambda d: d["engines"].pop("tensor")),
    ("NEFF_MEMBER_MISSING", DEF, lambda d: d["engines"].update(
        vector={"file_name": "sg00/Vector.bin", "instructions": 0})),
    ("NEFF_JSON", DEF, lambda d: d["engines"].update(warp={})),
    ("NEFF_JSON", DEF, lambda d: d["engines"]["sync"].update(file_name="sg00/../Sync.bin")),
    ("NEFF_JSON", DEF, lambda d: d["var"][2].update(file_name="/etc/passwd")),
    ("NEFF_JSON", DEF, lambda d: d["var"][2].update(var_id=7)),
    ("NEFF_JSON", DEF, lambda d: d["var"][0].update(size=127)),
    ("NEFF_WEIGHT", DEF, lambda d: d["var"][2].update(shape=[5, 6], size=120)),
    ("NEFF_LIMIT", DEF, lambda d: d["var"][3].update(shape=[1 << 39, 1 << 39], size=0)),
    ("NEFF_REFERENCE", DEF, lambda d: d["var"][0].update(dtype="fp7")),
    ("NEFF_REFERENCE", DEF, lambda d: d["var"][0].update(type="pointer")),
    ("NEFF_JSON", "sg00/debug.json", lambda d: d["rows"].pop()),
    ("NEFF_JSON", "sg00/debug.json", lambda d: d["rows"][1].pop()),
    ("NEFF_JSON", "sg00/debug.json", lambda d: d["rows"][1].__setitem__(4, -1)),
]


@pytest.mark.parametrize("case", range(len(JSON_EDITS)))
def test_json_rules(path: Path, case: int) -> None:
    code, member, edit = JSON_EDITS[case]
    seal(path, edited_json(member, edit))
    assert code_of(path) == code


@pytest.mark.parametrize("text", [b"", b"[1]", b"{", b'{"a":NaN}', b'{"a":1,"a":2}', b"\xff", b"[" * 100_000])
def test_json_that_does_not_parse(path: Path, text: bytes) -> None:
    seal(path, raw_members() | {GRAPH: text})
    assert code_of(path) == "NEFF_JSON"


def test_debug_row_that_is_not_there(path: Path) -> None:
    members = edited_json("sg00/debug.json", lambda d: d["rows"].pop())
    seal(path, members | {DEF: edited_json(DEF, lambda d: d.update(debug_rows=1))[DEF]})
    assert code_of(path) == "NEFF_REFERENCE"


def test_stream_that_is_not_whole_words(path: Path) -> None:
    members = raw_members()
    seal(path, members | {"sg00/Sync.bin": members["sg00/Sync.bin"][:-1]})
    assert code_of(path) == "NEFF_STREAM"


def test_member_nobody_names(path: Path) -> None:
    seal(path, raw_members() | {"sg00/extra.bin": b"x"})
    assert code_of(path) == "NEFF_MEMBER_EXTRA"


@pytest.mark.parametrize("fields", [{"num_tpb": 2}, {"requested_tpb_count": 9}, {"lnc_size": 2},
                                    {"tpb_per_node": (2,) * 64}, {"name": "x"}, {"header_size": 1000}])
def test_header_that_contradicts(path: Path, fields: dict[str, object]) -> None:
    seal(path, raw_members(), **fields)
    assert code_of(path) == "NEFF_HEADER"


@pytest.mark.parametrize(("fields", "code"), [
    ({"pkg_version": 1}, "NEFF_VERSION"), ({"neff_version_major": 9}, "NEFF_VERSION"),
    ({"neff_version_minor": 9}, "NEFF_VERSION"), ({"feature_bits": 1}, "NEFF_FEATURES"),
    ({"data_size": 1 << 62}, "NEFF_TRUNCATED"), ({"data_size": 5}, "NEFF_TRAILING")])
def test_header_rules(path: Path, fields: dict[str, object], code: str) -> None:
    seal(path, raw_members(), **fields)
    assert code_of(path) == code


def patched(path: Path, offset: int, data: bytes) -> Path:
    raw = bytearray(path.read_bytes())
    raw[offset : offset + len(data)] = data
    path.write_bytes(raw)
    return path


def rewritten_tar_header(path: Path, at: slice, data: bytes) -> Path:
    """Replace part of the first member header and repair its checksum."""
    head = bytearray(path.read_bytes()[1024:1536])
    head[at] = data
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\x00 " % sum(head)
    return patched(path, 1024, bytes(head))


@pytest.mark.parametrize(("name", "code"), [
    (b"../../etc/passwd", "NEFF_MEMBER_PATH"), (b"/etc/passwd", "NEFF_MEMBER_PATH"),
    (b"a/./b", "NEFF_MEMBER_PATH"), (b"a//b", "NEFF_MEMBER_PATH"), (b"a\\b", "NEFF_MEMBER_PATH"),
    (b"caf\xc3\xa9", "NEFF_MEMBER_PATH"), (b"kelf-a.json", "NEFF_MEMBER_DUPLICATE"), (b"other", "NEFF_MEMBER_MISSING")])
def test_member_paths(path: Path, name: bytes, code: str) -> None:
    assert code_of(rewritten_tar_header(path, slice(0, 100), name.ljust(100, b"\0"))) == code


@pytest.mark.parametrize(("at", "data", "code"), [
    (slice(156, 157), b"1", "NEFF_MEMBER_PATH"), (slice(156, 157), b"2", "NEFF_MEMBER_PATH"),
    (slice(156, 157), b"5", "NEFF_MEMBER_HEADER"), (slice(345, 346), b"x", "NEFF_MEMBER_PATH"),
    (slice(136, 147), b"00000000001", "NEFF_MEMBER_HEADER"), (slice(108, 115), b"0000001", "NEFF_MEMBER_HEADER"),
    (slice(124, 136), b"77777777777\0", "NEFF_TRUNCATED"), (slice(124, 136), b"\x80" + bytes(11), "NEFF_MEMBER_HEADER"),
    (slice(124, 136), b"        100\0", "NEFF_MEMBER_HEADER"), (slice(265, 269), b"root", "NEFF_MEMBER_HEADER")])
def test_member_headers(path: Path, at: slice, data: bytes, code: str) -> None:
    assert code_of(rewritten_tar_header(path, at, data)) == code


def test_padding_everywhere(path: Path) -> None:
    original = path.read_bytes()
    filler = weight_offset(path) + 100
    for offset in (555 + 1, 1023, 220 + 255, 40 + 127, filler, filler + 411, len(original) - 1, len(original) - 1024):
        path.write_bytes(original)
        assert code_of(patched(path, offset, b"\1")) in ("NEFF_PADDING", "NEFF_MEMBER_HEADER", "NEFF_MEMBER_PATH",
                                                         "NEFF_TRUNCATED")


def test_manifest_rules(path: Path) -> None:
    members = raw_members()
    data = {n: np.frombuffer(d, dtype=np.uint8) for n, d in members.items()}
    digests = {n: hashlib.sha256(d.data).hexdigest() for n, d in data.items()}
    reordered = dict(reversed(digests.items()))
    short = dict(list(digests.items())[:-1])
    shouting = {n: d.upper() for n, d in digests.items()}
    for manifest in (container.manifest(reordered), container.manifest(short), container.manifest(shouting), b"junk",
                     container.manifest(digests) + b"\n"):
        everything = {layout.MANIFEST: np.frombuffer(manifest, dtype=np.uint8)} | data
        header = Header.of(make_program(), writing.archive_bytes(everything)).sealed(manifest)
        writing.replace_file(path, header.to_bytes(), everything)
        assert code_of(path) == "NEFF_MANIFEST"


def test_file_rules(tmp_path: Path, path: Path) -> None:
    empty = tmp_path / "empty.neff"
    empty.touch()
    assert code_of(empty) == "NEFF_EMPTY"
    assert code_of(tmp_path / "missing.neff") == "NEFF_OPEN"
    assert code_of(tmp_path) == "NEFF_OPEN"
    os.mkfifo(tmp_path / "fifo.neff")
    assert code_of(tmp_path / "fifo.neff") == "NEFF_OPEN"
    path.write_bytes(path.read_bytes() + b"\0")
    assert code_of(path) == "NEFF_TRAILING"


def test_every_code_is_documented() -> None:
    root = Path(__file__).parents[2]
    raised = {c for p in (root / "isa" / "neff").glob("*.py") for c in re.findall(r'"(NEFF_[A-Z_]+)"', p.read_text())}
    documented = set(re.findall(r"NEFF_[A-Z_]+", (root / "docs" / "neff.md").read_text()))
    assert raised == documented
