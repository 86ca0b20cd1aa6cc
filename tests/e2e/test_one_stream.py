"""One stream for values and time: a NEFF needs no framework, and an edited operand changes exactly what it should."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import neuronsim
from isa import neff
from isa.assembler import assemble_to_neff
from neuronsim.cli import main
from tests.e2e.fixture_models import TARGETS, calls, compiled, model_path

ROOT = Path(__file__).parents[2]

BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("compiler", "onnx", "onnxruntime"):
            raise ImportError("blocked " + name)
sys.meta_path.insert(0, Block())
for name in ("onnx", "onnxruntime", "compiler"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(name + " is not blocked")
from neuronsim.cli import main
code = main(sys.argv[1:])
assert not {"onnx", "onnxruntime", "compiler"} & {m.split(".")[0] for m in sys.modules}
raise SystemExit(code)
"""


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["onnx/bert_encoder2", "onnx/resnet_cls"])
def test_runs_with_onnx_onnxruntime_and_compiler_absent(name: str, target: str, tmp_path: Path) -> None:
    call = calls(name)[0]
    neff.write(compiled(name, target).program, tmp_path / "m.neff")
    np.savez(tmp_path / "in.npz", **call.inputs)
    arguments = ["run", "m.neff", "--inputs", "in.npz", "--outputs", "out.npz", "--stats", "s.json", "--check"]
    done = subprocess.run([sys.executable, "-c", BLOCKED, *arguments], cwd=tmp_path, capture_output=True, text=True,
                          env={"PYTHONPATH": str(ROOT), "PATH": ""}, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    here = neuronsim.load(tmp_path / "m.neff").run(call.inputs)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as file:
        for tensor, array in here.outputs.items():
            assert file[tensor].tobytes() == array.tobytes()
    assert json.loads((tmp_path / "s.json").read_text())["total_time"] == here.stats["total_time"]


X = np.arange(4 * 16, dtype=np.float32).reshape(4, 16) / 8 - 3
# y = 2 x + 0.5 on four partitions; the other eight columns of x are loaded and not used
PROGRAM = """.target trn1.2xlarge
.variable x input fp32 4x16
.variable y output fp32 4x8
.variable b file fp32 4x1 file=sg00/weights/00003.bin
.dma
    copy size=[4,8] src=x@0:fp32(64,4) dst=sbuf[0]@0:fp32
    copy size=[4,1] src=b@0:fp32 dst=sbuf[0]@0x200:fp32
    copy size=[4,8] src=sbuf[0]@0x100:fp32 dst=y@0:fp32
.engine sync
    dma_trigger first=0 count=2 post(16+1)
    dma_trigger first=2 count=1 queue=1 wait(3>=1) post(17+1)
.engine scalar
    activation dst=sbuf[0:4]@0x100:fp32[8] src0=sbuf[0:4]@0:fp32[8] scale=2 bias=sbuf[0]@0x200:fp32 wait(16>=16) post(3+1)
"""  # noqa: E501
BIAS = np.float32([0.5, 0.25, -1, 4])[:, None]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "affine.neff"
    assemble_to_neff(PROGRAM, path, {"sg00/weights/00003.bin": BIAS.tobytes()})
    return path


def edited(program: Path, old: str, new: str) -> np.ndarray:
    """disasm, replace one operand, asm with the weights of the original, run: all on the command line."""
    folder = program.parent
    assert main(["disasm", str(program), "-o", str(folder / "a.s")]) == 0
    listing = (folder / "a.s").read_text()
    assert listing.count(old) == 1, listing
    (folder / "b.s").write_text(listing.replace(old, new))
    assert main(["asm", str(folder / "b.s"), "-o", str(folder / "b.neff"), "--weights", str(program)]) == 0
    np.savez(folder / "in.npz", x=X)
    files = ["--inputs", str(folder / "in.npz"), "--outputs", str(folder / "out.npz")]
    assert main(["run", str(folder / "b.neff"), *files, "--check"]) == 0
    with np.load(folder / "out.npz", allow_pickle=False) as file:
        return file["y"]


# every number below is exact in fp32: the products and sums need few bits
@pytest.mark.parametrize(
    "old, new, expected",
    [
        ("scale=2.0", "scale=2", 2 * X[:, :8] + BIAS),
        ("scale=2.0", "scale=-0.75", -0.75 * X[:, :8] + BIAS),
        ("scale=2.0", "func=relu scale=2", np.maximum(2 * X[:, :8] + BIAS, 0)),
        ("scale=2.0", "func=square scale=2", (2 * X[:, :8] + BIAS) ** 2),
        ("bias=sbuf[0]@0x200:fp32", "bias=1.5", 2 * X[:, :8] + np.float32(1.5)),
        ("src=x@0x0:fp32", "src=x@0x20:fp32", 2 * X[:, 8:] + BIAS),
        ("src=x@0x0:fp32(64,4)", "src=x@0x1c:fp32(64,-4)", 2 * X[:, 7::-1] + BIAS),
        ("src=x@0x0:fp32(64,4)", "src=x@0xc0:fp32(-64,4)", 2 * X[::-1, :8] + BIAS),
    ],
)
def test_one_edited_operand_changes_the_outputs_as_worked_out(
    program: Path, old: str, new: str, expected: np.ndarray
) -> None:
    assert np.array_equal(edited(program, old, new), expected)


def test_an_edited_size_changes_time_and_leaves_the_rest_alone(program: Path) -> None:
    """Four columns instead of eight: the store still takes eight, of which four were never computed."""
    folder = program.parent
    main(["disasm", str(program), "-o", str(folder / "a.s")])
    text = (folder / "a.s").read_text()
    dst, src = re.findall(r"(?:dst|src0)=sbuf\[0:4\]@\S+\[8\]", text)
    shorter = text.replace(dst, dst.replace("[8]", "[4]")).replace(src, src.replace("[8]", "[4]"))
    (folder / "b.s").write_text(shorter)
    assert main(["asm", str(folder / "b.s"), "-o", str(folder / "b.neff"), "--weights", str(program)]) == 0
    outputs = neuronsim.load(folder / "b.neff").run({"x": X}).outputs
    assert np.array_equal(outputs["y"][:, :4], 2 * X[:, :4] + BIAS)
    assert not outputs["y"][:, 4:].any()
    assert main(["run", str(folder / "b.neff"), "--check"]) == 3


@pytest.mark.parametrize("edit", ["none", "relu", "scale"])
def test_a_compiled_model_edited_in_its_listing(edit: str, tmp_path: Path) -> None:
    """The last word of the scalar engine makes the scores of their products and the bias of the model's last layer."""
    call = calls("onnx/resnet_cls")[0]
    m = tmp_path / "m.neff"
    neuronsim.compile(model_path("onnx/resnet_cls"), m, target="trn1.2xlarge", input_shapes=call.shapes)
    before = neuronsim.load(m).run(call.inputs).outputs["logits"]
    assert main(["disasm", str(m), "-o", str(tmp_path / "m.s")]) == 0
    lines = (tmp_path / "m.s").read_text().splitlines(keepends=True)
    last = max(k for k, line in enumerate(lines) if line.lstrip().startswith("activation "))
    assert "scale=1.0" in lines[last]
    new = {"none": "scale=1.0", "relu": "func=relu scale=1", "scale": "scale=0"}[edit]
    lines[last] = lines[last].replace("scale=1.0", new)
    (tmp_path / "e.s").write_text("".join(lines))
    assert main(["asm", str(tmp_path / "e.s"), "-o", str(tmp_path / "e.neff"), "--weights", str(m)]) == 0
    assert ((tmp_path / "e.neff").read_bytes() == m.read_bytes()) == (edit == "none")
    after = neuronsim.load(tmp_path / "e.neff").run(call.inputs).outputs["logits"]
    weights = {t.name: numpy_helper.to_array(t) for t in onnx.load(model_path("onnx/resnet_cls")).graph.initializer}
    (bias,) = (w for name, w in weights.items() if name.endswith("bias") and w.shape == (10,))
    expected = {"none": before, "relu": np.maximum(before, 0), "scale": bias[None]}[edit]
    assert (before < 0).any()
    assert np.array_equal(after, expected)
