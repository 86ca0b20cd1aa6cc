"""The NEFF container: round trip, reproducible bytes, one test per rule that a file can break."""
from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isa import neff, word
from isa.dtypes import dtype
from isa.errors import ContainerError
from isa.neff import archive, container, encode, layout
from isa.neff import writer as writing
from isa.neff.header import Header
from isa.program import DebugEntry, Node, Program, Stage, TensorInfo, Variable
from isa.spec import SPEC

SEED = np.random.default_rng(7)
WEIGHT_MEMBER = "sg00/weights/00003.bin"


def stream(*opcodes: str) -> np.ndarray:
    words = np.zeros(len(opcodes), dtype=word.WORD)
    words["opcode"] = [SPEC.by_name[o].opcode for o in opcodes]
    return words


def make_stage() -> Stage:
    sync = stream("dma_trigger", "dma_trigger")
    sync["count"], sync["arg"], sync["op0"], sync["debug"] = 1, [0, 1], [2, 3], 1
    descriptors = np.zeros(2, dtype=word.DESCRIPTOR)
    descriptors["src_var"], descriptors["dst_var"] = [1, 0], [0, 2]
    descriptors["size"], descriptors["src_dtype"], descriptors["dst_dtype"] = (1, 1, 4, 8), 1, [1, 2]
    variables = [
        Variable(1, "x", "input", dtype("fp32"), (4, 8)),
        Variable(2, "y", "output", dtype("bf16"), (4, 8)),
        Variable(3, "conv1.weight", "file", dtype("fp32"), (5, 5), SEED.integers(0, 256, 100, dtype=np.uint8)),
        Variable(4, "t", "tmp-buf", dtype("fp32"), (1,)),
        Variable(5, "empty", "file", dtype("fp32"), (0, 5), np.zeros(0, dtype=np.uint8)),
    ]
    debug = [DebugEntry(), DebugEntry("conv1", "Conv+Relu", "n1,n2", "compute", 12345)]
    return Stage({"sync": sync, "tensor": stream("nop")}, descriptors, variables, debug, 1024, 64, {"spill_bytes": 0})


def make_program() -> Program:
    nodes = [Node("s0", "neuron_core", ("x",), ("h",), 0), Node("c0", "cpu", ("h",), ("y",), -1, "cpu/seg0.onnx")]
    return Program("net", "trn1.2xlarge", "v2", [TensorInfo("x", (4, 8), "float32")],
                   [TensorInfo("y", (4, 8), "bfloat16")], nodes, [make_stage()], {"cpu/seg0.onnx": b"onnx bytes"},
                   {"operators": {"total": 3, "on_device": 2, "on_cpu": 1}, "compile_seconds": 1.5},
                   {"batch": np.int64(1), "neuroncore_pipeline_cores": 1})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    neff.write(make_program(), tmp_path / "x.neff")
    return tmp_path / "x.neff"


def test_round_trip(path: Path) -> None:
    made, back = make_program(), neff.read(path)
    assert (back.name, back.target, back.generation) == ("net", "trn1.2xlarge", "v2")
    assert (back.inputs, back.outputs, back.nodes) == (made.inputs, made.outputs, made.nodes)
    assert back.cpu_models == made.cpu_models
    assert back.report == {"operators": {"total": 3, "on_device": 2, "on_cpu": 1}}
    assert back.options == {"batch": 1, "neuroncore_pipeline_cores": 1}
    stage, expected = back.stages[0], make_stage()
    assert list(stage.streams) == ["tensor", "sync"]
    for engine, words in expected.streams.items():
        assert stage.streams[engine].dtype == word.WORD
        assert stage.streams[engine].tobytes() == words.tobytes()
    assert stage.descriptors.tobytes() == expected.descriptors.tobytes()
    assert stage.debug == expected.debug
    assert (stage.sbuf_peak_bytes, stage.psum_peak_bytes, stage.info) == (1024, 64, {"spill_bytes": 0})
    assert [(v.id, v.name, v.kind, v.dtype, v.shape) for v in stage.variables] == [
        (v.id, v.name, v.kind, v.dtype, v.shape) for v in expected.variables]


def test_weights_are_mapped_and_aligned(path: Path) -> None:
    weight = neff.read(path).stages[0].variables[2]
    data = weight.data
    assert data is not None
    assert data.dtype == np.uint8 and data.shape == (100,) and not data.flags.writeable
    assert data.ctypes.data % 64 == 0
    assert neff.weight_bytes(weight).ctypes.data == data.ctypes.data
    with pytest.raises(ContainerError) as error:
        neff.weight_bytes(neff.read(path).stages[0].variables[0])
    assert error.value.code == "NEFF_WEIGHT"


def test_same_program_same_bytes(path: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.neff"
    neff.write(make_program_again(), again)
    assert again.read_bytes() == path.read_bytes()
    rewritten = tmp_path / "rewritten.neff"
    neff.write(neff.read(path), rewritten)
    assert rewritten.read_bytes() == path.read_bytes()


def make_program_again() -> Program:
    """The same program with other wall-clock facts, key order and weight identity."""
    program = make_program()
    program.report = {"compile_seconds": 99.0, "operators": {"on_cpu": 1, "total": 3, "on_device": 2}}
    first = neff_weight(program)
    program.stages[0].variables[2] = Variable(3, "conv1.weight", "file", dtype("fp32"), (5, 5), first)
    return program


def neff_weight(program: Program) -> np.ndarray:
    data = np.random.default_rng(7).integers(0, 256, 100, dtype=np.uint8)
    assert program.stages[0].variables[2].size_bytes == data.size
    return data


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    global SEED
    SEED = np.random.default_rng(7)


def test_archive_is_an_ordinary_tar(path: Path) -> None:
    raw = path.read_bytes()
    inner = path.with_suffix(".tar")
    inner.write_bytes(raw[1024:])
    with tarfile.open(inner) as tar:
        names = tar.getnames()
        assert all(m.isfile() and m.mtime == 0 and m.uid == 0 for m in tar.getmembers())
    assert names == ["manifest.sha256", "kelf-a.json", "sg00/def.json", "sg00/Tensor.bin", "sg00/Sync.bin",
                     "sg00/dma.bin", "sg00/debug.json", "cpu/seg0.onnx", WEIGHT_MEMBER, "sg00/weights/00005.bin"]


def test_header_follows_the_published_layout(path: Path) -> None:
    raw = path.read_bytes()
    assert int.from_bytes(raw[8:16], "little") == 1024
    assert int.from_bytes(raw[16:24], "little") == len(raw) - 1024
    assert int.from_bytes(raw[168:172], "little") == 1  # num_tpb
    assert raw[220:224] == b"net\0"
    assert raw[480:482] == b"\1\0"  # tpb_per_node: a core, then a CPU node
    assert not any(raw[556:1024])
    blank = bytearray(raw[:1024])
    blank[172:220] = bytes(48)
    size = int(raw[1024 + 124 : 1024 + 135], 8)
    assert hashlib.sha256(bytes(blank) + raw[1536 : 1536 + size]).digest() == raw[172:204]


def test_inspect_file_and_program(path: Path) -> None:
    seen = neff.inspect(path)
    assert json.loads(json.dumps(seen)) == seen
    header = seen["header"]
    assert isinstance(header, dict) and header["name"] == "net" and len(header["hash"]) == 64
    assert seen["operators"] == {"total": 3, "on_device": 2, "on_cpu": 1}
    stages = seen["stages"]
    assert isinstance(stages, list)
    assert stages[0]["instructions"] == {"tensor": 1, "sync": 2}
    assert stages[0]["dma_bytes"] == 32 * 4 + 32 * 2
    assert stages[0]["variables"]["file"] == {"count": 2, "bytes": 100}
    assert neff.inspect(neff.read(path)) == seen | {"header": None}


def test_queue_sets(path: Path) -> None:
    definition = json.loads(container.Container(path).bytes("sg00/def.json").tobytes())
    assert definition["dma_queue"] == {"sync2": {"type": "in", "owner": "sync", "num_queues": 1},
                                       "sync3": {"type": "out", "owner": "sync", "num_queues": 1}}


def test_unpack_gives_members_that_sha256sum_accepts(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    names = neff.unpack(path, folder)
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == sorted(names)
    subprocess.run(["sha256sum", "-c", "--quiet", "manifest.sha256"], cwd=folder, check=True)
    with pytest.raises(ContainerError) as error:
        neff.unpack(path, folder)
    assert error.value.code == "NEFF_UNPACK"


def test_write_is_atomic(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        neff.write(make_program(), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_hash_of_a_weight_is_checked_on_first_use_only(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[weight_offset(path) + 17] ^= 4
    path.write_bytes(raw)
    weight = neff.read(path).stages[0].variables[2]
    assert (weight.name, weight.size_bytes) == ("conv1.weight", 100)
    for _ in range(2):
        with pytest.raises(ContainerError) as error:
            _ = weight.data
        assert error.value.code == "NEFF_HASH" and error.value.section == WEIGHT_MEMBER
    for check in (neff.verify_all, lambda p: neff.read(p, verify=True)):
        with pytest.raises(ContainerError, match="NEFF_HASH") as error:
            check(path)
        assert str(path) in error.value.where


def weight_offset(path: Path) -> int:
    view = memoryview(path.read_bytes())
    return next(m.offset for m in archive.members(view) if m.name == WEIGHT_MEMBER)


# ---- hostile files: hashes are right, something else is wrong

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
    ("NEFF_JSON", GRAPH, lambda d: d.update(extra=1)),
    ("NEFF_JSON", GRAPH, lambda d: d.update(name=3)),
    ("NEFF_JSON", GRAPH, lambda d: d.update(format=2)),
    ("NEFF_JSON", GRAPH, lambda d: d.update(nodes={})),
    ("NEFF_JSON", GRAPH, lambda d: d.update(report=[])),
    ("NEFF_JSON", GRAPH, lambda d: d["inputs"][0].update(shape=[True])),
    ("NEFF_LIMIT", GRAPH, lambda d: d["inputs"][0].update(shape=[-1])),
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


def refused(program: Program, tmp_path: Path) -> str:
    with pytest.raises(ContainerError) as error:
        neff.write(program, tmp_path / "bad.neff")
    assert not (tmp_path / "bad.neff").exists()
    return error.value.code


def test_writer_refuses_what_the_reader_would(tmp_path: Path) -> None:
    program = make_program()
    program.report = {"x": float("nan")}
    assert refused(program, tmp_path) == "NEFF_JSON"
    program = make_program()
    program.options = {"x": object()}
    assert refused(program, tmp_path) == "NEFF_JSON"
    program = make_program()
    program.cpu_models = {"cpu/seg0.onnx": b"", "../seg1.onnx": b""}
    assert refused(program, tmp_path) == "NEFF_MEMBER_PATH"
    program = make_program()
    program.stages[0].variables[2] = Variable(3, "w", "file", dtype("fp32"), (5, 5), np.zeros(99, np.uint8))
    assert refused(program, tmp_path) == "NEFF_WEIGHT"
    program = make_program()
    program.stages[0].variables.pop(0)
    assert refused(program, tmp_path) == "NEFF_REFERENCE"
    program = make_program()
    program.stages[0].debug.pop()
    assert refused(program, tmp_path) == "NEFF_REFERENCE"
    program = make_program()
    program.stages[0].streams["sync"] = np.zeros(128, dtype=np.uint8)
    assert refused(program, tmp_path) == "NEFF_STREAM"
    program = make_program()
    program.stages[0].streams["warp"] = word_stream()
    assert refused(program, tmp_path) == "NEFF_STREAM"


def word_stream() -> np.ndarray:
    return np.zeros(1, dtype=word.WORD)


def test_long_name_is_clipped_in_the_header_only(tmp_path: Path) -> None:
    program = make_program()
    program.name = "ü" * 200
    neff.write(program, tmp_path / "long.neff")
    assert neff.read(tmp_path / "long.neff").name == program.name
    seen = neff.inspect(tmp_path / "long.neff")["header"]
    assert isinstance(seen, dict) and seen["name"] == "ü" * 128


def test_every_code_is_documented() -> None:
    root = Path(__file__).parents[2]
    raised = {c for p in (root / "isa" / "neff").glob("*.py") for c in re.findall(r'"(NEFF_[A-Z_]+)"', p.read_text())}
    documented = set(re.findall(r"NEFF_[A-Z_]+", (root / "docs" / "neff.md").read_text()))
    assert raised == documented
