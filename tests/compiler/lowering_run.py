"""Compiling a model for a target, running it with values, and comparing with onnxruntime: for the lowering tests."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from compiler import compile_graph
from compiler.options import from_keywords
from neuronsim.api import Neff, Result
from tests.compiler.evaluate import Feeds, imported, run_model

#: error allowed relative to the largest magnitude, by the type the PE multiplies
LIMITS = {"fp32": 1e-5, "bf16": 3e-2}
ABSOLUTE = 1e-6


def feeds_of(model: onnx.ModelProto, seed: int = 0) -> dict[str, np.ndarray]:
    """Seeded normal numbers (booleans, integers 0..3) for every input."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        shape = [d.dim_value for d in tensor.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        integers = rng.integers(0, 2 if dtype.kind == "b" else 4, shape)
        feeds[value.name] = (rng.standard_normal(shape) if dtype.kind == "f" else np.asarray(integers)).astype(dtype)
    return feeds


def small_target(folder: Path, kib: int, base: str = "trn1.2xlarge") -> str:
    """A target like `base` with `kib` KiB of SBUF per partition: small networks are cut into windows and spilled."""
    path = folder / f"small{kib}.yaml"
    path.write_text(f"extends: {base}\nname: small{kib}\nparameters:\n  sbuf.partition_bytes: {kib * 1024}\n")
    return str(path)


def run(
    model: onnx.ModelProto, feeds: Feeds, target: str = "trn1.2xlarge", keep_tensors: bool = False, **options: Any
) -> Result:
    """Compile wholly for the device, validate, check and run. fp32 products except on v1, which has none."""
    options.setdefault("fallback", False)
    if not target.startswith("inf1"):
        options.setdefault("auto_cast", "none")
    program = compile_graph(imported(model), from_keywords({"target": target, **options}), keep_tensors=keep_tensors)
    instance = target if target.endswith(".yaml") else None
    return Neff(program).run(feeds, instance=instance, check=True, threads=1)


def compare(
    model: onnx.ModelProto, target: str = "trn1.2xlarge", keep_tensors: bool = False, feeds: Feeds | None = None,
    limit: float | None = None, **options: Any,
) -> Result:
    """`run`, with every output equal to onnxruntime's and no finding of the checker."""
    feeds = feeds_of(model) if feeds is None else feeds
    want = run_model(model, feeds)
    result = run(model, feeds, target, keep_tensors, **options)
    assert not result.findings, result.findings[0]
    allowed = limit or LIMITS["bf16" if target.startswith("inf1") else "fp32"]
    for info, expected in zip(model.graph.output, want, strict=True):
        got = result.outputs[info.name]
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype), info.name
        _close(info.name, got, expected, allowed)
    return result


def _close(name: str, got: np.ndarray, want: np.ndarray, limit: float) -> None:
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, err_msg=name)
        return
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want), err_msg=name)
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite], err_msg=name)
    size = float(np.abs(want[finite]).max(initial=0.0))
    worst = float(np.abs(got[finite].astype(np.float64) - want[finite]).max(initial=0.0))
    assert worst <= limit * size + ABSOLUTE, f"{name}: error {worst:.3g} at magnitude {size:.3g}"
