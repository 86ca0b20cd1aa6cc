"""Bad programs and inputs on the command line: an error of its own each, nothing left on disk, never a crash."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from isa import neff
from isa.errors import ContainerError
from isa.neff import archive, writer
from neuronsim.cli import EXIT_BAD_INPUT, EXIT_INTERRUPTED
from neuronsim.cli.output import write_text
from tests.e2e.refusal import SMALL, Run, refused

ROOT = Path(__file__).parents[2]


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
    os.mkfifo("pipe")
    for path in ("no/such/folder/o", ".", "pipe"):
        refused(run("run", "bad.neff", "--outputs", path), "OUTPUT")
        refused(run("run", "bad.neff", "--outputs", "o.npz", "--stats", path), "OUTPUT")
        refused(run("compile", "m.onnx", "-o", path), "OUTPUT")
        refused(run("compile", "m.onnx", "-o", "m.neff", "--report", path), "OUTPUT")
        refused(run("disasm", "bad.neff", "-o", path), "OUTPUT")
    assert Path("pipe").is_fifo()


def test_files_are_written_through_links_and_never_over_a_device(tmp_path: Path, small: bytes) -> None:
    """The writers themselves: a device would be replaced by a file where the user may do that."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.neff").write_bytes(small)
    program = neff.read(tmp_path / "a.neff")
    with pytest.raises(ContainerError):
        neff.write(program, tmp_path / "pipe")
    with pytest.raises(OSError, match="regular"):
        write_text(tmp_path / "pipe", "text")
    (tmp_path / "link").symlink_to("b.neff")
    neff.write(program, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "b.neff").read_bytes() == small
    assert {p.name for p in tmp_path.iterdir()} >= {"pipe", "a.neff", "b.neff", "link"}
    assert not list(tmp_path.glob(".*"))


def test_outputs_that_are_inputs(run: Run, small: bytes) -> None:
    Path("bad.neff").write_bytes(small)
    Path("link.neff").symlink_to("bad.neff")
    onnx.save(SMALL, "m.onnx")
    refused(run("compile", "m.onnx", "-o", "m.onnx"), "OUTPUT")
    refused(run("disasm", "bad.neff", "-o", "bad.neff"), "OUTPUT")
    refused(run("run", "bad.neff", "--stats", "link.neff"), "OUTPUT")


def test_a_failed_comparison_leaves_no_outputs(run: Run, small: bytes) -> None:
    Path("bad.neff").write_bytes(small)
    refused(run("run", "bad.neff", "--outputs", "o.npz", "--compare", "absent.onnx"), "MODEL_MISSING")


@pytest.mark.parametrize("flag", ["--threads=0", "--iterations=0", "--seed=-1", "--top=-1", "--threads=two"])
def test_numbers_out_of_range(run: Run, small: bytes, flag: str) -> None:
    Path("bad.neff").write_bytes(small)
    code, codes, err = run("run", "bad.neff", flag)
    assert (code, codes) == (2, {"USAGE"}), err


def test_good_input_leaves_only_what_was_asked_for(run: Run) -> None:
    onnx.save(SMALL, "m.onnx")
    code, _, err = run("compile", "m.onnx", "-o", "m.neff", "--target", "trn1.2xlarge")
    assert code == 0, err
    assert {p.name for p in Path().iterdir()} == {"m.onnx", "m.neff"}
    assert neff.read("m.neff").inputs[0].name == "x"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_interrupted_writes_leave_nothing(run: Run, stop: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(SMALL, "m.onnx")

    def interrupted(*_: object) -> None:
        raise stop

    monkeypatch.setattr(writer, "_write_archive", interrupted)
    code, codes, _ = run("compile", "m.onnx", "-o", "m.neff")
    expected = (EXIT_INTERRUPTED, {"INTERRUPTED"}) if stop is KeyboardInterrupt else (EXIT_BAD_INPUT, {"IO"})
    assert (code, codes) == expected


def test_control_c_ends_a_long_run_without_outputs(tmp_path: Path, small: bytes) -> None:
    (tmp_path / "m.neff").write_bytes(small)
    arguments = ["run", "m.neff", "--iterations", "100000000", "--outputs", "o.npz", "--stats", "s.json"]
    code = "import sys; from neuronsim.cli import main; print('begun', flush=True); sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == EXIT_INTERRUPTED
    assert err.endswith("error[INTERRUPTED]: stopped by the user\n")
    assert "Traceback" not in err
    assert not {p.name for p in tmp_path.iterdir()} - {"m.neff", "small.neff"}
