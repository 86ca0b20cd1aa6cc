"""Bad input on the command line: an error of its own, a non-zero exit, nothing left on disk, and never a crash."""

from __future__ import annotations

import io
import re
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from isa import neff
from isa.assembler import assemble_to_neff
from isa.neff import archive
from neuronsim.cli import EXIT_BAD_INPUT, main

Run = Callable[..., tuple[int, set[str], str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an own folder; returns exit code, error codes and stderr, after looking for left-overs."""
    work, temporary = tmp_path / "work", tmp_path / "tmp"
    work.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def invoke(*arguments: str) -> tuple[int, set[str], str]:
        before = {p: p.read_bytes() for p in work.rglob("*") if p.is_file()}
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        err = capsys.readouterr().err
        if code:
            assert {p: p.read_bytes() for p in work.rglob("*") if p.is_file()} == before
        assert not list(temporary.iterdir())
        return code, set(re.findall(r"^error\[([A-Z0-9_]+)\]: ", err, re.MULTILINE)), err

    return invoke


def model(
    nodes: Sequence[onnx.NodeProto], inputs: dict[str, Sequence[int | str]], outputs: Sequence[str],
    constants: dict[str, np.ndarray] | None = None, opset: int = 17,
) -> onnx.ModelProto:  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


node = helper.make_node
RELU = node("Relu", ["x"], ["y"], "r")
SMALL = model([RELU], {"x": [2, 3]}, ["y"])


def refused(result: tuple[int, set[str], str], code: str) -> str:
    exit_code, codes, err = result
    assert (exit_code, codes) == (EXIT_BAD_INPUT, {code}), err
    return err


# ---- model files
@pytest.mark.parametrize(
    "content, code",
    [
        (None, "MODEL_MISSING"),
        (b"", "MODEL_EMPTY"),
        (SMALL.SerializeToString()[:-9], "MODEL_TRUNCATED"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "MODEL_FORMAT"),
        (b"version https://git-lfs.github.com/spec/v1\n", "MODEL_FORMAT"),
    ],
)
def test_files_that_are_no_model(run: Run, content: bytes | None, code: str) -> None:
    if content is not None:
        Path("m.onnx").write_bytes(content)
    assert "m.onnx" in refused(run("compile", "m.onnx", "-o", "out.neff", "--report", "r.json"), code)


def test_a_directory_is_no_model(run: Run) -> None:
    Path("folder").mkdir()
    refused(run("compile", "folder"), "MODEL_MISSING")


MODELS: dict[str, tuple[onnx.ModelProto, str, str]] = {
    "failing checker": (model([node("Add", ["x"], ["y"], "a")], {"x": [2]}, ["y"]), "MODEL_INVALID", ""),
    "undefined input": (model([node("Relu", ["z"], ["y"], "a")], {"x": [2]}, ["y"]), "MODEL_INVALID", ""),
    "unknown operator": (model([node("Frob", ["x"], ["y"], "f1")], {"x": [2]}, ["y"]), "UNSUPPORTED_OP", "f1"),
    "unknown attribute": (model([node("Relu", ["x"], ["y"], "r", slope=2.0)], {"x": [2]}, ["y"]), "UNKNOWN_ATTRIBUTE",
                          "slope"),
    "symbolic shape": (model([RELU], {"x": ["N", 3, "h"]}, ["y"]), "INPUT_SYMBOLIC", "--input-shape x:1x3xN"),
    "shape of data": (model([node("NonZero", ["x"], ["y"], "nz")], {"x": [2]}, ["y"]), "SHAPE_DYNAMIC", "nz"),
    "shapes that do not fit": (model([node("MatMul", ["x", "w"], ["y"], "mm")], {"x": [2, 3]}, ["y"],
                                     {"w": np.ones((4, 5), np.float32)}), "SHAPE_MISMATCH", "mm"),
    "newer opset": (model([RELU], {"x": [2]}, ["y"], opset=999), "MODEL_OPSET", "999"),
    "no elements": (model([RELU], {"x": [0, 3]}, ["y"]), "TENSOR_EMPTY", "0x3"),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_models_that_cannot_be_compiled(run: Run, name: str) -> None:
    proto, code, words = MODELS[name]
    Path("m.onnx").write_bytes(proto.SerializeToString())
    assert words in refused(run("compile", "m.onnx", "-o", "out.neff"), code)


def test_all_unknown_operators_are_reported_at_once(run: Run) -> None:
    nodes = [node("Frob", ["x"], ["a"], "f1"), node("Warp", ["a"], ["y"], "w1")]
    onnx.save(model(nodes, {"x": [2]}, ["y"]), "m.onnx")
    err = refused(run("compile", "m.onnx"), "UNSUPPORTED_OP")
    assert err.count("error[") == 2


def test_reshape_that_fixes_the_batch_names_node_and_shapes(run: Run) -> None:
    nodes = [node("Reshape", ["x", "s"], ["y"], "flat")]
    onnx.save(model(nodes, {"x": [1, 2048, 1, 1]}, ["y"], {"s": np.array([1, 2048])}), "m.onnx")
    err = refused(run("compile", "m.onnx", "--input-shape", "x:8x2048x1x1"), "SHAPE_MISMATCH")
    for words in ("'flat'", "[8, 2048, 1, 1]", "[1, 2048]"):
        assert words in err


@pytest.mark.parametrize(
    "flags, code",
    [
        (["--input-shape", "z:2x3"], "INPUT_NAME"),
        (["--input-shape", "x:2x3x4"], "INPUT_SHAPE"),
        (["--input-shape", "x:2xthree"], "OPTION"),
        (["--input-shape", "x:2x3", "--input-shape", "x:2x3"], "OPTION"),
        (["--batch", "0"], "OPTION"),
        (["--target", "trn9.huge"], "TARGET_UNKNOWN"),
        (["--print-after", "no-such-pass"], "PASS_NAME"),
    ],
)
def test_options_that_cannot_be_meant(run: Run, flags: list[str], code: str) -> None:
    onnx.save(SMALL, "m.onnx")
    refused(run("compile", "m.onnx", "-o", "out.neff", *flags), code)


# ---- little files that promise much
def tensor(dims: Sequence[int], values: Sequence[float] = ()) -> onnx.TensorProto:
    made = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims)
    if values:
        made.float_data.extend(values)
    else:
        made.raw_data = b""
    return made


def with_weight(weight: onnx.TensorProto) -> onnx.ModelProto:
    made = model([node("Add", ["x", "w"], ["y"], "a")], {"x": [1]}, ["y"])
    made.graph.initializer.append(weight)
    return made


HUGE = 10**6
BOMBS: dict[str, tuple[onnx.ModelProto, str]] = {
    "input": (model([RELU], {"x": [1, 3, HUGE, HUGE]}, ["y"]), "TENSOR_TOO_LARGE"),
    "input past 64 bits": (model([RELU], {"x": [2**32, 2**32]}, ["y"]), "TENSOR_TOO_LARGE"),
    "constant fill": (model([node("ConstantOfShape", ["s"], ["c"]), node("Add", ["x", "c"], ["y"])], {"x": [1]}, ["y"],
                            {"s": np.array([HUGE, HUGE])}), "TENSOR_TOO_LARGE"),
    "constant expand": (model([node("Expand", ["c", "s"], ["e"]), node("Add", ["x", "e"], ["y"])], {"x": [1]}, ["y"],
                              {"s": np.array([HUGE, HUGE]), "c": np.float32([1])}), "TENSOR_TOO_LARGE"),
    "constant outer product": (model([node("Mul", ["a", "b"], ["e"]), node("Add", ["x", "e"], ["y"])], {"x": [1]},
                                     ["y"], {"a": np.ones((HUGE, 1), np.float32), "b": np.ones((1, HUGE), np.float32)}),
                               "TENSOR_TOO_LARGE"),
    "range": (model([node("Range", ["a", "b", "c"], ["e"]), node("Add", ["x", "e"], ["y"])], {"x": [1]}, ["y"],
                    {"a": np.float32(0), "b": np.float32(1e12), "c": np.float32(1)}), "TENSOR_TOO_LARGE"),
    "pad": (model([node("Pad", ["x", "p"], ["y"])], {"x": [1, 4]}, ["y"], {"p": np.array([0, 0, 0, 10**12])}),
            "TENSOR_TOO_LARGE"),
    "tile": (model([node("Tile", ["x", "t"], ["y"])], {"x": [4]}, ["y"], {"t": np.array([10**12])}),
             "TENSOR_TOO_LARGE"),
    "convolution padding": (model([node("Conv", ["x", "w"], ["y"], pads=[HUGE] * 4)], {"x": [1, 1, 4, 4]}, ["y"],
                                  {"w": np.ones((1, 1, 3, 3), np.float32)}), "TENSOR_TOO_LARGE"),
    "resize": (model([node("Resize", ["x", "", "s"], ["y"])], {"x": [1, 1, 4, 4]}, ["y"],
                     {"s": np.float32([1, 1, 1e6, 1e6])}), "TENSOR_TOO_LARGE"),
    "weight without data": (with_weight(tensor([2**32, 2**32])), "TENSOR_DATA"),
    "weight with little data": (with_weight(tensor([HUGE, HUGE], [1.0])), "TENSOR_DATA"),
    "empty weight with a huge side": (with_weight(tensor([0, 2**62])), "TENSOR_DATA"),
    "all of the memory together": (model([node("Concat", ["x"] * 4, ["y"], axis=0)], {"x": [2**29]}, ["y"]),
                                   "TENSOR_TOO_LARGE"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_huge_shapes_in_a_small_model(run: Run, name: str) -> None:
    """Refused by arithmetic: nothing of that size is ever allocated (some of these exceed any address space)."""
    proto, code = BOMBS[name]
    Path("m.onnx").write_bytes(proto.SerializeToString())
    refused(run("compile", "m.onnx", "-o", "out.neff"), code)


LISTINGS = {
    "variable larger than a container may say": (".variable x input fp32 4294967296x4294967296", "ASSEMBLY"),
    "variable larger than the device memory": (".variable x input fp32 1000000x100000", "DRAM"),
    "scratch larger than the device memory": (".variable x tmp-buf fp32 1000000x100000", "DRAM"),
    "input that no stage has": (".input x float32 1000000x1000000", "HOST_MEMORY"),
    "input of another size than its variable": (".input x float32 7x7\n.variable x input fp32 4x4", "INTERFACE"),
    "variable nobody feeds": (".input z float32 4x4\n.variable x input fp32 4x4", "INTERFACE"),
    "output nobody makes": (".output z float32 4x4", "INTERFACE"),
    "output of another size": (".output y float32 7x7\n.variable y output fp32 4x4", "INTERFACE"),
    "unknown type": (".input x banana 4x4\n.variable x input fp32 4x4", "DTYPE"),
    "transfer of 2^128 elements": (
        ".variable x input fp32 4\n.dma\ncopy size=[4294967295,4294967295,4294967295,4294967295] "
        "src=x@0:fp32(0,0,0,0) dst=sbuf[0]@0:fp32(0,0,0,0)\n.engine sync\ndma_trigger first=0 count=1 post(17+1)",
        "FREE_SIZE",
    ),
    "instruction of 2^64 elements": (
        ".engine vector\nmemset dst=sbuf[0:4]@0:fp32[65535:0,65535:0,65535:0,65535:0] value=1",
        "FREE_SIZE",
    ),
    "unknown target": (".target trn9.huge", "TARGET_UNKNOWN"),
    "not a listing": ("what is this", "ASSEMBLY"),
    "more lines than memory": (".engine sync\n" + ".repeat 9999\n" * 5 + "nop\n" + ".endr\n" * 5, "ASSEMBLY"),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_listings_that_promise_what_nobody_has(run: Run, name: str) -> None:
    text, code = LISTINGS[name]
    Path("a.s").write_text(text + "\n")
    first = run("asm", "a.s", "-o", "a.neff")
    refused(first if first[0] else run("run", "a.neff", "--outputs", "o.npz", "--stats", "s.json"), code)


# ---- NEFF files
@pytest.fixture
def small(tmp_path: Path) -> bytes:
    """A NEFF of a few kilobytes with every kind of member: y = 2 x + b through DRAM, SBUF and the scalar engine."""
    text = """.variable x input fp32 4x8
.variable y output fp32 4x8
.variable b file fp32 4x1 file=sg00/weights/00003.bin
.debug 1 affine Mul+Add mul,add compute 32
.dma
    copy size=[4,8] src=x@0:fp32 dst=sbuf[0]@0:fp32
    copy size=[4,1] src=b@0:fp32 dst=sbuf[0]@0x200:fp32
    copy size=[4,8] src=sbuf[0]@0x100:fp32 dst=y@0:fp32
.engine sync
    dma_trigger first=0 count=2 post(16+1)
    dma_trigger first=2 count=1 queue=1 wait(3>=1) post(17+1)
.engine scalar
    activation dst=sbuf[0:4]@0x100:fp32[8] src0=sbuf[0:4]@0:fp32[8] scale=2 bias=sbuf[0]@0x200:fp32 wait(16>=16) post(3+1) dbg=1
"""  # noqa: E501
    path = tmp_path / "small.neff"
    assemble_to_neff(text, path, {"sg00/weights/00003.bin": np.arange(4, dtype=np.float32).tobytes()})
    return path.read_bytes()


RUN = ("run", "bad.neff", "--outputs", "o.npz", "--stats", "s.json", "--trace", "t.npz")


def test_the_small_program_runs(run: Run, small: bytes) -> None:
    Path("bad.neff").write_bytes(small)
    code, codes, err = run(*RUN)
    assert (code, codes) == (0, set()), err
    assert {p.name for p in Path().iterdir()} == {"bad.neff", "o.npz", "s.json", "t.npz"}


def test_truncated_at_every_section(run: Run, small: bytes) -> None:
    cuts = {0, 1, 512, 1023, 1024, len(small) - 1024, len(small) - 512, len(small) - 1}
    for member in archive.members(memoryview(small)):
        cuts |= {member.offset - 512, member.offset - 1, member.offset, member.offset + member.size // 2,
                 member.offset + member.size}  # fmt: skip
    for size in sorted(cuts):
        Path("bad.neff").write_bytes(small[:size])
        code, codes, _ = run(*RUN)
        assert (code, codes) == (EXIT_BAD_INPUT, {"NEFF_TRUNCATED" if size else "NEFF_EMPTY"}), size


@pytest.mark.parametrize("flips, mode", [(1000, ["--values-only"]), (100, []), (100, ["--check"])])
def test_a_thousand_flipped_bits(run: Run, small: bytes, flips: int, mode: list[str]) -> None:
    """Anywhere in the file, header, padding, weights: a run with values names the damage and writes nothing."""
    rng = np.random.default_rng(flips)
    for bit in rng.choice(len(small) * 8, flips, replace=False).tolist():
        damaged = bytearray(small)
        damaged[bit // 8] ^= 1 << bit % 8
        Path("bad.neff").write_bytes(damaged)
        code, codes, err = run("run", "bad.neff", "--outputs", "o.npz", *mode)
        assert code == EXIT_BAD_INPUT, (bit, err)
        assert len(codes) == 1 and codes.pop().startswith("NEFF"), (bit, err)


def test_wrong_version(run: Run, small: bytes) -> None:
    for offset in (0, 24):  # package and format version
        damaged = bytearray(small)
        damaged[offset] += 1
        Path("bad.neff").write_bytes(damaged)
        refused(run(*RUN), "NEFF_VERSION")


@pytest.mark.parametrize("name", ["../evil", "sg00/../../evil", "/etc/evil", "a//b", "./a", "sg00/.."])
@pytest.mark.parametrize("command", [["run", "bad.neff"], ["unpack", "bad.neff", "-o", "out"], ["inspect", "bad.neff"]])
def test_member_paths_that_leave_the_archive(run: Run, small: bytes, name: str, command: list[str]) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo(name)
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"evil"))
    data = stream.getvalue()
    head = bytearray(small[:1024])
    head[16:24] = len(data).to_bytes(8, "little")
    Path("bad.neff").write_bytes(bytes(head) + data)
    refused(run(*command), "NEFF_MEMBER_PATH")


@pytest.mark.parametrize("command", ["run", "inspect", "disasm", "unpack"])
@pytest.mark.parametrize("content", [None, b"", b"not a NEFF" * 200])
def test_files_that_are_no_neff(run: Run, command: str, content: bytes | None) -> None:
    if content is not None:
        Path("bad.neff").write_bytes(content)
    more = ["-o", "out"] if command == "unpack" else []
    code, codes, err = run(command, "bad.neff", *more)
    assert code == EXIT_BAD_INPUT
    assert len(codes) == 1 and codes.pop().startswith("NEFF_"), err
    assert "bad.neff" in err


# ---- inputs
@pytest.mark.parametrize(
    "arrays, code",
    [
        ({"z": np.zeros((4, 8), np.float32)}, "INPUT_NAME"),
        ({"x": np.zeros((4, 9), np.float32)}, "INPUT_SHAPE"),
        ({"x": np.zeros((4, 8), np.float64)}, "INPUT_DTYPE"),
        ({"x": np.zeros((4, 8), np.int32)}, "INPUT_DTYPE"),
        ({"x": np.array([{}], dtype=object)}, "NPZ"),
    ],
)
def test_wrong_inputs(run: Run, small: bytes, arrays: dict[str, np.ndarray], code: str) -> None:
    Path("bad.neff").write_bytes(small)
    np.savez("in.npz", **arrays)
    refused(run(*RUN, "--inputs", "in.npz"), code)


@pytest.mark.parametrize("content, code", [(None, "IO"), (b"", "NPZ"), (b"text" * 99, "NPZ"), (b"PK\3\4" * 99, "NPZ")])
def test_input_files_that_are_no_arrays(run: Run, small: bytes, content: bytes | None, code: str) -> None:
    Path("bad.neff").write_bytes(small)
    if content is not None:
        Path("in.npz").write_bytes(content)
    assert "in.npz" in refused(run(*RUN, "--inputs", "in.npz"), code)


def test_a_damaged_npz_of_any_kind(run: Run, small: bytes) -> None:
    Path("bad.neff").write_bytes(small)
    np.savez_compressed("good.npz", x=np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32))
    good = Path("good.npz").read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(good)
        for k in rng.integers(0, len(good), 3).tolist():
            damaged[k] ^= int(rng.integers(1, 256))
        Path("in.npz").write_bytes(damaged[: int(rng.integers(1, len(good) + 1))])
        code, _, err = run("run", "bad.neff", "--values-only", "--inputs", "in.npz")
        assert code in (0, EXIT_BAD_INPUT), err  # 0: the damage is in bytes no reader looks at


def test_an_npz_that_promises_too_much(run: Run, small: bytes) -> None:
    """An array header may claim any shape; the claim is compared with the bytes that are there."""
    Path("bad.neff").write_bytes(small)
    np.savez("in.npz", x=np.zeros((4, 8), np.float32))
    raw = Path("in.npz").read_bytes().replace(b"'shape': (4, 8), }   ", b"'shape': (4000000000000, 8), }"[:21])
    assert raw != Path("in.npz").read_bytes()
    Path("in.npz").write_bytes(raw)
    refused(run(*RUN, "--inputs", "in.npz"), "NPZ")


def test_nan_inputs_are_reported_where_they_first_matter(run: Run, small: bytes) -> None:
    Path("bad.neff").write_bytes(small)
    x = np.zeros((4, 8), np.float32)
    x[2, 3] = np.nan
    np.savez("in.npz", x=x)
    code, _, err = run("run", "bad.neff", "--inputs", "in.npz")
    assert code == 0
    assert "input 'x' holds NaN; first read by layer" in err


def test_output_that_cannot_be_written(run: Run, small: bytes) -> None:
    Path("bad.neff").write_bytes(small)
    onnx.save(SMALL, "m.onnx")
    refused(run("run", "bad.neff", "--outputs", "no/such/folder/o.npz"), "IO")
    refused(run("compile", "m.onnx", "-o", "no/such/folder/m.neff"), "IO")


def test_good_input_leaves_only_what_was_asked_for(run: Run) -> None:
    onnx.save(SMALL, "m.onnx")
    code, _, err = run("compile", "m.onnx", "-o", "m.neff", "--target", "trn1.2xlarge")
    assert code == 0, err
    assert {p.name for p in Path().iterdir()} == {"m.onnx", "m.neff"}
    assert neff.read("m.neff").inputs[0].name == "x"
