"""Measurements shared by `bench.py` and `results.py`: neuronsim and ONNX Runtime on the same model, medians."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime

import neuronsim
from neuronsim.cli.compare import LayerError, error_of
from neuronsim.demo.he_weights import light_model

# how the two targets of the tables are compiled: v1 multiplies bf16 only, v2 can do full fp32
CASTS = {"inf1.xlarge": "matmult", "trn1.2xlarge": "none"}


@dataclass(frozen=True)
class Measured:
    """One model on one target, and ONNX Runtime beside it; times in seconds, host times with one thread each."""

    name: str
    target: str
    compile_seconds: float
    host_seconds: float
    onnxruntime_seconds: float
    stats: dict[str, Any]
    report: dict[str, Any]
    errors: list[LayerError]
    same_class: bool  # the largest element of every output is at the same place

    @property
    def ratio(self) -> float:
        """Host time of values and time over that of ONNX Runtime."""
        return self.host_seconds / self.onnxruntime_seconds

    @property
    def headline(self) -> LayerError:
        """Error of the last output: the tensor before a final softmax, which saturates and would hide errors."""
        return self.errors[-1]


def write_light(name: str, folder: Path) -> Path:
    """A light network with seeded weights as a file, written once."""
    path = folder / f"{name}.onnx"
    if not path.exists():
        onnx.save(light_model(name), path)
    return path


def median_seconds(function: Callable[[], object], repeats: int) -> float:
    """Median wall time of `repeats` calls after one that does not count."""
    function()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return median(times)


def session(model: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """ONNX Runtime with that many threads, its default graph optimisations on."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def side_by_side(name: str, model: Path, target: str, repeats: int = 3, **options: Any) -> Measured:
    """Compile and run a model with one host thread, run ONNX Runtime with one thread on the same inputs."""
    started = time.perf_counter()
    neff = neuronsim.compile(model, model.with_suffix(f".{target}.neff"), target, **options)
    compile_seconds = time.perf_counter() - started
    runs = [neff.run(threads=1) for _ in range(repeats)]
    result = runs[-1]
    reference = session(model)
    names = [o.name for o in reference.get_outputs()]
    expected = dict(zip(names, reference.run(names, result.inputs), strict=True))
    errors = [error_of(n, "", result.outputs[n], np.asarray(expected[n])) for n in names]
    same = all(int(result.outputs[n].argmax()) == int(np.asarray(expected[n]).argmax()) for n in names)
    host = median(r.last.wall_seconds for r in runs)
    theirs = median_seconds(lambda: reference.run(names, result.inputs), max(repeats, 5))
    return Measured(name, target, compile_seconds, host, theirs, result.stats, neff.report, errors, same)


def peak_memory_bytes() -> int:
    """Largest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
