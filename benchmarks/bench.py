"""Speed of the simulator on this machine, beside ONNX Runtime and beside its own bare kernel: `make bench`.

Both sides of a line run in turn, round after round, and the ratio is the median of the rounds' ratios: on a shared
machine a neighbour slows both. One host thread on each side unless the line says otherwise. Times are wall times.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import measure
import models
import serving

import neuronsim
from isa.spec import SPEC
from neuronsim._core.values import bare_tile_flops, cpu_level
from profiler.table import Table, show

MATMUL = 4096
MATMUL_ROUNDS = 3  # a second or two each
TIMING_ROUNDS = 30  # milliseconds each
BARE_K, BARE_REPEATS = 128, 20000  # partitions of a full tile; about 0.02 s
NOP = SPEC.by_name["nop"].opcode
MEMORY_CODE = """
import sys, neuronsim
neuronsim.load(sys.argv[1]).run(threads=1)
status = open("/proc/self/status").read()  # VmHWM: of this process alone; ru_maxrss is inherited from the parent
print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
"""
Line = tuple[str, str, str, str, str]  # what, neuronsim, beside it, ratio, wanted
COLUMNS = ["what", ">neuronsim", ">beside", ">ratio", ">wanted"]


def paired(ours: Callable[[], float], theirs: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """Medians of both and of ours / theirs over rounds of one call each, after a round that does not count."""
    ours(), theirs()
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    return median(a for a, _ in pairs), median(b for _, b in pairs), median(a / b for a, b in pairs)


def timed(function: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


class Bench:
    """The lines of the table; programs are compiled once into `folder`."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self._folder = folder
        self._rounds = rounds
        self._programs: dict[str, neuronsim.Neff] = {}

    def resnet(self) -> list[Line]:
        """Values and time against ONNX Runtime's fp32 inference on the same inputs."""
        lines = []
        for target, cast in measure.CASTS.items():
            neff = self._resnet(target)
            inputs = neff.run(threads=1).inputs
            reference = measure.session(self._resnet_model())
            names = [o.name for o in reference.get_outputs()]
            host, theirs, ratio = paired(
                lambda neff=neff, inputs=inputs: _wall(neff, inputs),
                lambda reference=reference, names=names, inputs=inputs: timed(lambda: reference.run(names, inputs)),
                max(self._rounds, 7),
            )
            what = f"ResNet-50 b1 {target} {'fp32' if cast == 'none' else 'bf16'}, values and time; ONNX Runtime fp32"
            lines.append((what, f"{host * 1e3:.0f} ms", f"{theirs * 1e3:.0f} ms", f"{ratio:.2f}", "<= 3"))
        return lines

    def matmul(self) -> list[Line]:
        """Multiply-add rate of a square bf16 product, of which every byte moves, against tiles that stay in cache."""
        neff = self._matmul()
        inputs = neff.run(threads=1).inputs
        flops = 2.0 * MATMUL**3
        ours, bare, ratio = paired(lambda: flops / _wall(neff, inputs), _bare_rate, MATMUL_ROUNDS)
        what = f"matmul {MATMUL} bf16 trn1, values and time; bare {cpu_level()} tile kernel"
        rates = f"{ours / 1e9:.0f} GFLOP/s", f"{bare / 1e9:.0f} GFLOP/s"
        return [(what, *rates, f"{ratio:.2f}", ">= 0.6")]

    def time_only(self) -> list[Line]:
        """Engine instructions, nops not counted, per second of `mode="timing"`."""
        lines = []
        for what, neff in (("ResNet-50 b1 trn1", self._resnet("trn1.2xlarge")), ("matmul 4096 trn1", self._matmul())):
            seconds = median(neff.run(mode="timing").last.wall_seconds for _ in range(TIMING_ROUNDS))
            count = sum(int((s["opcode"] != NOP).sum()) for g in neff.program.stages for s in g.streams.values())
            lines += [
                (f"{what}, time only: {count} instructions", f"{seconds * 1e3:.2f} ms", "", "", "< 20 ms"),
                (f"{what}, time only: instructions per second", f"{count / seconds / 1e6:.1f} M", "", "", ">= 5 M"),
            ]
        return lines

    def compile(self) -> list[Line]:
        """Wall time of the command, interpreter and imports included."""
        bert = models.bert(self._folder, 1)
        return [
            ("compile ResNet-50 b1 trn1", f"{self._command(self._resnet_model()):.1f} s", "", "", "< 5 s"),
            ("compile BERT-base encoder b1 trn1", f"{self._command(bert):.1f} s", "", "", "< 10 s"),
            (
                "compile ResNet-50 b8 trn1",
                f"{self._command(models.resnet50(self._folder, 8)):.1f} s",
                "",
                "",
                "",
            ),
        ]

    def threads(self) -> list[Line]:
        """Two host threads against one; needs two idle cores."""
        neff = self._resnet("trn1.2xlarge")
        inputs = neff.run(threads=1).inputs
        other = neuronsim.load(neff.path) if neff.path else neff  # its own plan: neither side pays for making it anew
        one, two, ratio = paired(
            lambda: _wall(neff, inputs), lambda: _wall(other, inputs, threads=2), max(self._rounds, 7)
        )
        what = "ResNet-50 b1 trn1 fp32, one thread; two threads"
        return [(what, f"{one * 1e3:.0f} ms", f"{two * 1e3:.0f} ms", f"{ratio:.2f}", ">= 1.6")]

    def memory(self) -> list[Line]:
        """Peak resident memory of processes that load and run once."""
        lines = []
        for what, neff in (("ResNet-50 b1 trn1", self._resnet("trn1.2xlarge")), ("matmul 4096 trn1", self._matmul())):
            command = [sys.executable, "-c", MEMORY_CODE, str(neff.path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            lines.append((f"{what}, peak memory of load and run", f"{int(done.stdout) / 1e6:.0f} MB", "", "", ""))
        return lines

    def requests(self) -> list[Line]:
        """Serving a million requests, time only, by each method."""
        return [
            (f"a million requests: {what} ({method})", f"{seconds:.2f} s", "", "", "< 5 s")
            for what, method, seconds in serving.million(self._folder)
        ]

    def _command(self, model: Path) -> float:
        command = [sys.executable, "-m", "neuronsim", "compile", str(model), "-o", str(self._folder / "command.neff")]
        command += ["--target", "trn1.2xlarge", "--auto-cast", "none"]
        return median(timed(lambda: subprocess.run(command, capture_output=True, check=True)) for _ in range(3))

    def _resnet_model(self) -> Path:
        return measure.write_light("resnet50", self._folder)

    def _resnet(self, target: str) -> neuronsim.Neff:
        return self._program(self._resnet_model(), target, auto_cast=measure.CASTS[target])

    def _matmul(self) -> neuronsim.Neff:
        return self._program(models.matmul(self._folder, MATMUL), "trn1.2xlarge")

    def _program(self, model: Path, target: str, **options: str) -> neuronsim.Neff:
        path = model.with_suffix(f".{target}.neff")
        if str(path) not in self._programs:
            self._programs[str(path)] = neuronsim.compile(model, path, target, **options)
        return self._programs[str(path)]


def _wall(neff: neuronsim.Neff, inputs: dict[str, np.ndarray], threads: int = 1) -> float:
    """`host_wall_seconds` of one run."""
    return neff.run(inputs, threads=threads).last.wall_seconds


def _bare_rate() -> float:
    """Flops per second of the tile kernel on operands that stay in the first-level cache."""
    started = time.perf_counter()
    flops, _sum = bare_tile_flops(BARE_K, BARE_REPEATS)
    return float(flops) / (time.perf_counter() - started)


SECTIONS = ("resnet", "matmul", "time_only", "compile", "threads", "memory", "requests")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=SECTIONS, help="one section; repeatable")
    parser.add_argument("--rounds", type=int, default=9, help="of the paired lines; default 9")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    table = Table("Speed on this host, medians", COLUMNS)
    with tempfile.TemporaryDirectory(prefix="neuronsim-bench-") as folder:
        bench = Bench(Path(folder), args.rounds)
        for name in args.only or SECTIONS:
            table.rows += getattr(bench, name)()
    if args.json:
        names = [c.lstrip(">") for c in COLUMNS]
        print(json.dumps([dict(zip(names, row, strict=True)) for row in table.rows], indent=1))
    else:
        show([table], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
