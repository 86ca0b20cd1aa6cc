"""The NEFF container: round trip, reproducible bytes, one test per rule that a file can break."""
from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest

from isa import neff, word
from isa.dtypes import dtype
from isa.errors import ContainerError
from isa.neff import container
from isa.program import Program, TensorInfo, Variable
from tests.isa.neff_files import WEIGHT_MEMBER, make_program, make_stage, weight_offset


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
    old = program.stages[0].variables[2]
    same = neff.weight_bytes(old).view(np.float32).reshape(5, 5).copy()
    program.stages[0].variables[2] = Variable(3, "conv1.weight", "file", dtype("fp32"), (5, 5), same)
    return program


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


HOST_TENSORS = (
    TensorInfo("rows", (-1, 4), "float32"),
    TensorInfo("any", (), "int64", ranked=False),
    TensorInfo("words", (3,), "string"),
    TensorInfo("list", (), "seq(tensor(float))"),
    TensorInfo("labels", (), "seq(map(int64,tensor(float)))"),
    TensorInfo("maybe", (), "optional(seq(tensor(bfloat16)))"),
)


def test_tensors_of_the_host_survive(tmp_path: Path) -> None:
    program = dataclasses.replace(make_program(), inputs=HOST_TENSORS)
    neff.write(program, tmp_path / "host.neff")
    assert tuple(neff.read(tmp_path / "host.neff").inputs) == HOST_TENSORS
    assert [t.is_static for t in HOST_TENSORS] == [False] * 6
    assert [t.is_tensor for t in HOST_TENSORS] == [True, True, True, False, False, False]


@pytest.mark.parametrize("info", [
    TensorInfo("x", (1,), "seq(tensor(float))"),
    TensorInfo("x", (1,), "float32", ranked=False),
    TensorInfo("x", (-2,), "float32"),
    TensorInfo("x", (), "seq(seq(seq(tensor(float))))"),
])
def test_writer_refuses_types_that_nobody_can_read(tmp_path: Path, info: TensorInfo) -> None:
    program = dataclasses.replace(make_program(), outputs=[info])
    with pytest.raises(ContainerError, match="'x'"):
        neff.write(program, tmp_path / "bad.neff")
