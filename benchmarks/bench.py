"""Speed of the simulator on this machine, beside ONNX Runtime: `make bench`.

Every line is a median; host times of both sides use one thread unless it says otherwise.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).parent))
import measure

import neuronsim
from compiler.backend import build
from isa.lang import TileProgram
from isa.program import Node, Program, TensorInfo
from neuronsim.api import Neff
from profiler.table import Table, show

MATMUL = 4096
MEMORY_CODE = """
import sys, neuronsim
neuronsim.load(sys.argv[1]).run(threads=1)
status = open("/proc/self/status").read()  # VmHWM: of this process alone; ru_maxrss is inherited from the parent
print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
"""
Line = tuple[str, str, str, str]


def resnet(folder: Path, repeats: int, target: str, cast: str) -> list[Line]:
    model = measure.write_light("resnet50", folder)
    m = measure.side_by_side("resnet50", model, target, repeats, auto_cast=cast)
    what = f"ResNet-50 b1 {target} {'bf16' if cast == 'matmult' else 'fp32'}"
    return [
        (f"{what}: values and time", f"{m.host_seconds:.3f} s", f"{m.onnxruntime_seconds:.3f} s", f"{m.ratio:.2f}"),
        (f"{what}: compile", f"{m.compile_seconds:.2f} s", "", ""),
        (f"{what}: relative error", f"{m.headline.relative_error:.2g}", "", ""),
    ]


def matmul(folder: Path, repeats: int) -> list[Line]:
    """A square fp32 matmul beside ONNX Runtime, and beside the same number of PE matmuls on tiles that never move."""
    path = folder / "matmul.onnx"
    _write_matmul(path)
    m = measure.side_by_side("matmul", path, "trn1.2xlarge", repeats, auto_cast="none")
    bare = _bare_matmul_seconds(repeats) * (MATMUL // 128) ** 2 * (MATMUL // 512)
    ours = f"{m.host_seconds:.2f} s"
    what = f"matmul {MATMUL} fp32 trn1"
    return [
        (f"{what}: values and time", ours, f"{m.onnxruntime_seconds:.2f} s", f"{m.ratio:.2f}"),
        (f"{what}: against the bare PE kernel", ours, f"{bare:.2f} s", f"{m.host_seconds / bare:.2f}"),
    ]


def _write_matmul(path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((MATMUL, MATMUL), dtype=np.float32)
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [MATMUL, MATMUL]) for n in "xy")
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "matmul", [x], [y], [onnx.numpy_helper.from_array(weight, "w")])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)


def _bare_matmul_seconds(repeats: int) -> float:
    """Host seconds of one [128, 128] x [128, 512] fp32 matmul: the slope between two programs of such matmuls only."""
    low, high = 16, 272
    return (_matmuls_only(high, repeats) - _matmuls_only(low, repeats)) / (high - low)


def _matmuls_only(count: int, repeats: int) -> float:
    p = TileProgram("trn1.2xlarge")
    x, w, y = p.input("x", (128, 512), "fp32"), p.input("w", (128, 128), "fp32"), p.output("y", (128, 512), "fp32")
    moving, stationary, result = p.sbuf((128, 512), "fp32"), p.sbuf((128, 128), "fp32"), p.sbuf((128, 512), "fp32")
    accumulator = p.psum((128, 512))
    p.dma(moving, x)
    p.dma(stationary, w)
    p.load_stationary(stationary)
    for k in range(count):
        p.matmul(accumulator, moving, start=k == 0, stop=k == count - 1)
    p.tensor_copy(result, accumulator)
    p.dma(y, result)
    infos = [TensorInfo(v.tensor.name, v.shape, "float32") for v in (x, w, y)]
    node = Node("stage0", "neuron_core", ("x", "w"), ("y",), 0)
    neff = Neff(Program("bare", "trn1.2xlarge", "v2", infos[:2], infos[2:], [node], [build(p)]))
    return median(neff.run(threads=1).last.wall_seconds for _ in range(max(repeats, 3)))


def time_only(folder: Path, repeats: int) -> list[Line]:
    neff = _resnet_neff(folder)
    runs = [neff.run(mode="timing") for _ in range(repeats)]
    rates = [r.last.instructions / r.last.wall_seconds for r in runs]
    return [("ResNet-50 trn1: time only", f"{median(rates) / 1e6:.2f} M instr/s", "", "")]


def threads(folder: Path, repeats: int) -> list[Line]:
    neff = _resnet_neff(folder)
    one, two = (median(neff.run(threads=n).last.wall_seconds for _ in range(repeats)) for n in (1, 2))
    return [("ResNet-50 trn1: 2 threads against 1", f"{two:.3f} s", f"{one:.3f} s", f"{two / one:.2f}")]


def memory(folder: Path, repeats: int) -> list[Line]:
    _resnet_neff(folder)
    command = [sys.executable, "-c", MEMORY_CODE, str(folder / "bench.neff")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [("ResNet-50 trn1: peak memory of load and run", f"{int(done.stdout) / 1e6:.0f} MB", "", "")]


SECTIONS: dict[str, Callable[[Path, int], list[Line]]] = {
    "resnet-trn1": lambda folder, n: resnet(folder, n, "trn1.2xlarge", "none"),
    "resnet-inf1": lambda folder, n: resnet(folder, n, "inf1.xlarge", "matmult"),
    "matmul": matmul,
    "time-only": time_only,
    "threads": threads,
    "memory": memory,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=SECTIONS, help="one section; repeatable")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    table = Table("neuronsim beside ONNX Runtime", ["what", ">neuronsim", ">reference", ">ratio"])
    with tempfile.TemporaryDirectory(prefix="neuronsim-bench-") as folder:
        for name in args.only or SECTIONS:
            table.rows += SECTIONS[name](Path(folder), args.repeats)
    if args.json:
        print(
            json.dumps(
                [dict(zip(("what", "neuronsim", "reference", "ratio"), row, strict=True)) for row in table.rows],
                indent=1,
            )
        )
    else:
        show([table], sys.stdout)
    return 0


def _resnet_neff(folder: Path) -> neuronsim.Neff:
    path = folder / "bench.neff"
    if path.exists():
        return neuronsim.load(path)
    return neuronsim.compile(measure.write_light("resnet50", folder), path, "trn1.2xlarge", auto_cast="none")


if __name__ == "__main__":
    sys.exit(main())
