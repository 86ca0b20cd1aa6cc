"""The promise in seconds: a kernel and a model compiled, run with values and time, checked, profiled, compared."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import neuronsim
from compiler.backend import build
from isa import neff
from isa import trace as traces
from isa.lang import TileProgram
from isa.program import Node, Program, TensorInfo
from neuronsim.cli import main

K, M, N = 64, 32, 48
RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((K, M), dtype=np.float32).astype(ml_dtypes.bfloat16)
MOVING = RNG.standard_normal((K, N), dtype=np.float32).astype(ml_dtypes.bfloat16)


def kernel(target: str) -> Program:
    """y = relu(w.T @ x): load, load_stationary, matmul, activation, store."""
    p = TileProgram(target)
    x, w, y = p.input("x", (K, N), "bf16"), p.constant("w", WEIGHT), p.output("y", (M, N), "fp32")
    with p.layer("fc", "MatMul+Relu", "fc,relu", macs=K * M * N):
        stationary, moving, result = p.sbuf((K, M), "bf16"), p.sbuf((K, N), "bf16"), p.sbuf((M, N), "fp32")
        accumulator = p.psum((M, N), "fp32")
        p.dma(stationary, w)
        p.dma(moving, x)
        p.load_stationary(stationary)
        p.matmul(accumulator, moving)
        p.activation(result, accumulator, "relu")
        p.dma(y, result)
    node = Node("stage0", "neuron_core", ("x",), ("y",), 0)
    infos = [TensorInfo("x", (K, N), "bfloat16")], [TensorInfo("y", (M, N), "float32")]
    return Program("tiny", target, p.target.generation, *infos, [node], [build(p)])


@pytest.fixture(params=["inf1.xlarge", "trn1.2xlarge", "trn2.48xlarge"])
def tiny(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.neff"
    neff.write(kernel(request.param), path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Conv + Relu, global average pool, Gemm: [1, 3, 8, 8] -> [1, 5]."""
    rng = np.random.default_rng(1)
    weights = {
        "w": rng.standard_normal((8, 3, 3, 3)) * 0.3, "b": rng.standard_normal(8) * 0.1,
        "fw": rng.standard_normal((5, 8)) * 0.5, "fb": rng.standard_normal(5) * 0.1,
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["g"], "pool"),
        helper.make_node("Flatten", ["g"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "fw", "fb"], ["scores"], "fc", transB=1),
    ]
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )  # fmt: skip
    path = tmp_path / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_kernel_has_values_and_time(tiny: Path) -> None:
    result = neuronsim.load(tiny).run({"x": MOVING})
    expected = np.maximum(WEIGHT.astype(np.float64).T @ MOVING.astype(np.float64), 0)
    np.testing.assert_allclose(result.outputs["y"], expected, rtol=1e-5, atol=1e-5)
    assert result.stats["model_flops"] == result.stats["hardware_flops"] == 2 * K * M * N
    assert 1e-6 < result.stats["total_time"] < 1e-4
    assert result.stats["latency_ms"]["p50"] > result.stats["total_time"] * 1e3
    assert 0 < result.stats["inferred_share"] <= 1


def test_runs_are_deterministic_and_modes_agree(tiny: Path) -> None:
    first, second = (neuronsim.load(tiny).run({"x": MOVING}, threads=n) for n in (1, 2))
    assert first.outputs["y"].tobytes() == second.outputs["y"].tobytes()
    timing = neuronsim.load(tiny).run(mode="timing")
    values = neuronsim.load(tiny).run({"x": MOVING}, mode="values")
    assert timing.outputs == {}
    assert timing.stats["total_time"] == first.stats["total_time"] == second.stats["total_time"]
    assert values.outputs["y"].tobytes() == first.outputs["y"].tobytes()


def test_kernel_has_no_findings_and_removing_a_wait_has(tiny: Path) -> None:
    program = neff.read(tiny)
    assert neuronsim.load(tiny).run({"x": MOVING}, check=True).findings == []
    broken = program.stages[0].streams["scalar"].copy()
    assert broken["wait_sem"].any()
    broken["wait_sem"] = broken["wait_val"] = 0
    program.stages[0].streams["scalar"] = broken
    assert neuronsim.api.Neff(program).run({"x": MOVING}, check=True, mode="timing").findings


def test_the_same_program_gives_the_same_bytes(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.neff", "b.neff")]
    for path in files:
        neff.write(kernel("trn1.2xlarge"), path)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_trace_survives_its_file(tiny: Path, tmp_path: Path) -> None:
    trace = neuronsim.load(tiny).run(mode="timing").trace
    trace.save(tmp_path / "trace.npz")
    loaded = traces.load(tmp_path / "trace.npz")
    assert loaded.total_ticks == trace.total_ticks
    assert np.array_equal(loaded.instructions["start"], trace.instructions["start"])


def test_running_needs_neither_compiler_nor_profiler_nor_onnx(tiny: Path) -> None:
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('compiler', 'profiler', 'onnx', 'onnxruntime'):\n"
        "            raise ImportError('blocked ' + name)\n"
        "sys.meta_path.insert(0, Block())\n"
        f"import neuronsim; r = neuronsim.load({str(tiny)!r}).run()\n"
        "assert r.outputs['y'].shape == (32, 48) and r.trace.total_ticks > 0 and r.time_ns > 0"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target, tolerance", [("trn1.2xlarge", 1e-5), ("inf1.xlarge", 3e-2)])
def test_model_from_the_command_line(
    model: Path, target: str, tolerance: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """compile, inspect, run --compare, disasm, asm: one model through every command."""
    onnxruntime = pytest.importorskip("onnxruntime")
    out, image = tmp_path / "small.neff", RNG.standard_normal((1, 3, 8, 8), dtype=np.float32)
    np.savez(tmp_path / "in.npz", image=image)
    assert main(["compile", str(model), "-o", str(out), "--target", target, "--report", str(tmp_path / "r.json")]) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["operators"]["on_cpu"] == 0
    assert report["compile_seconds"] > 0
    files = [
        "--inputs",
        str(tmp_path / "in.npz"),
        "--outputs",
        str(tmp_path / "out.npz"),
        "--stats",
        str(tmp_path / "s.json"),
    ]
    assert main(["run", str(out), *files, "--check", "--compare", str(model)]) == 0, capsys.readouterr()
    text = capsys.readouterr().out
    assert "no findings" in text
    assert "no layer past" in text
    stats = json.loads((tmp_path / "s.json").read_text())
    assert stats["model_flops"] == 2 * (8 * 8 * 8 * 27 + 5 * 8)
    expected = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"]).run(None, {"image": image})[
        0
    ]
    with np.load(tmp_path / "out.npz", allow_pickle=False) as file:
        np.testing.assert_allclose(file["scores"], expected, rtol=tolerance, atol=tolerance)
    _round_trip_listing(out, tmp_path)


def _round_trip_listing(out: Path, folder: Path) -> None:
    assert main(["disasm", str(out), "-o", str(folder / "small.s")]) == 0
    again = folder / "again.neff"
    assert main(["asm", str(folder / "small.s"), "-o", str(again), "--weights", str(out)]) == 0
    assert again.read_bytes() == out.read_bytes()


def test_wrong_inputs_are_all_reported(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "in.npz", x=np.zeros((K, N + 1), np.float32), z=np.zeros(1, np.float32))
    assert main(["run", str(tiny), "--inputs", str(tmp_path / "in.npz")]) == 1
    err = capsys.readouterr().err
    for code in ("INPUT_SHAPE", "INPUT_DTYPE", "INPUT_NAME"):
        assert f"error[{code}]" in err


def test_nan_inputs_are_traced_to_their_layer(tiny: Path) -> None:
    poisoned = MOVING.copy()
    poisoned[0, 0] = np.nan
    with pytest.warns(RuntimeWarning, match="input 'x' holds NaN; first read by layer 'fc'"):
        result = neuronsim.load(tiny).run({"x": poisoned})
    assert np.isnan(result.outputs["y"][:, 0].astype(np.float32)).any()
    assert np.isfinite(result.outputs["y"][:, 1:]).all()


def test_infinite_inputs_are_named_when_they_lead_to_nan(tiny: Path) -> None:
    infinite = np.where(np.arange(K)[:, None] % 2 == 0, np.inf, -np.inf) * np.ones((K, N))
    with pytest.warns(RuntimeWarning, match="input 'x' holds infinities"):
        neuronsim.load(tiny).run({"x": infinite.astype(MOVING.dtype)})


def test_nan_made_by_the_model_is_traced_to_its_layer() -> None:
    p = TileProgram("trn1.2xlarge")
    x, y, tile, root = (
        p.input("x", (4, 8), "fp32"),
        p.output("y", (4, 8), "fp32"),
        p.sbuf((4, 8), "fp32"),
        p.sbuf((4, 8), "fp32"),
    )
    p.dma(tile, x)
    with p.layer("root", "Sqrt"):
        p.activation(root, tile, "sqrt")
    p.dma(y, root)
    infos = [TensorInfo("x", (4, 8), "float32")], [TensorInfo("y", (4, 8), "float32")]
    program = Program(
        "root", "trn1.2xlarge", "v2", *infos, [Node("stage0", "neuron_core", ("x",), ("y",), 0)], [build(p)]
    )
    with pytest.warns(RuntimeWarning, match=r"first NaN or infinity made in layer 'root' by scalar\[0\]"):
        outputs = neuronsim.Neff(program).run({"x": np.full((4, 8), -1, np.float32)}).outputs
    assert np.isnan(outputs["y"]).all()


def test_another_generation_is_refused(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = "inf1.xlarge" if neff.read(tiny).generation != "v1" else "trn1.2xlarge"
    assert main(["run", str(tiny), "--instance", other]) == 1
    assert "error[RUN_GENERATION]" in capsys.readouterr().err


def test_damaged_file_is_refused(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(tiny.read_bytes())
    data[2000] ^= 1
    tiny.write_bytes(data)
    assert main(["run", str(tiny)]) == 1
    assert capsys.readouterr().err.startswith("error[NEFF")
