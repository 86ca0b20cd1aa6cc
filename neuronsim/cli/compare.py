"""Compares every layer of a model with ONNX Runtime and names the first that diverges.

The model is compiled once more with its intermediate tensors kept as outputs, with the options the NEFF records; ONNX
Runtime gets the same tensors as extra outputs. A tensor that fusion removed, or that has another layout inside the
compiler, has no value to compare. Of CPU segments what crosses their boundary is compared; whole numbers that they make
(indices, counts, decisions) may jump for the least rounding before them, so they are listed and not judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isa.errors import NeuronError
from neuronsim import host
from neuronsim.api import Neff
from profiler.table import Table

if TYPE_CHECKING:
    from onnx import ModelProto

    from compiler.options import CompileOptions

# Relative error (root mean square, against the reference) from which a layer counts as divergent, by the type the
# matmul operands are rounded to: 25 unit roundoffs or more, room for growth over some hundred layers.
DIVERGENCE: dict[str, float] = {"fp32": 1e-4, "tf32": 0.02, "fp16": 0.02, "bf16": 0.1, "fp8_e4m3": 0.5}


class CompareError(NeuronError):
    """A comparison that cannot be made."""

    code = "COMPARE"


@dataclass(frozen=True)
class LayerError:
    """Error of one tensor: largest absolute error, and that over the largest magnitude of the reference."""

    tensor: str
    op_type: str
    max_abs_error: float
    relative_error: float


@dataclass(frozen=True)
class Comparison:
    """Errors in the model's order; `first_divergence` is the first tensor past `limit`, or ""."""

    layers: list[LayerError]
    outputs: list[LayerError]
    limit: float
    first_divergence: str

    def as_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return asdict(self)

    def table(self) -> Table:
        """One row per compared tensor, and the verdict."""
        table = Table("Compared with ONNX Runtime", ["tensor", "operator", ">max abs error", ">relative error"])
        for e in self.layers:
            table.rows.append([e.tensor, e.op_type, f"{e.max_abs_error:.3g}", f"{e.relative_error:.3g}"])
        verdict = (
            f"first layer past {self.limit:g}: {self.first_divergence}"
            if self.first_divergence
            else f"no layer past {self.limit:g}"
        )
        table.notes.append(verdict)
        return table


def compare(
    neff: Neff, model: str | Path, inputs: Mapping[str, np.ndarray] | None, seed: int, threads: int | None
) -> Comparison:
    """Compare `neff`'s model layer by layer. Raises: CompareError, CompileError, ErrorList of InputError."""
    from compiler import compile_model
    from compiler.options import from_keywords

    options = from_keywords(neff.program.options)
    arrays, _ = host.complete_inputs(neff.program.inputs, inputs, seed)
    debug = Neff(compile_model(model, options, keep_tensors=True))
    on_cpu = {name for node in debug.program.nodes if node.kind == "cpu" for name in node.outputs}
    ours = debug.run(arrays, mode="values", threads=threads).outputs
    numbers = [name for name, value in ours.items() if isinstance(value, np.ndarray) and value.dtype.kind not in "OUS"]
    reference = reference_tensors(as_onnx(model, options), arrays, numbers)
    decided = {name for name in on_cpu & set(numbers) if ours[name].dtype.kind in "iub"}
    layers = [error_of(name, op, ours[name], expected) for name, (op, expected) in reference.items()
              if name not in decided or ours[name].shape == expected.shape]  # fmt: skip
    limit = DIVERGENCE[matmul_dtype(neff)]
    first = next((e.tensor for e in layers if not e.relative_error <= limit and e.tensor not in decided), "")
    wanted = {o.name for o in neff.outputs}
    return Comparison(layers, [e for e in layers if e.tensor in wanted], limit, first)


def matmul_dtype(neff: Neff) -> str:
    """The least exact type the PE multiplies in this program."""
    from profiler.work import matmul_flops

    used = {name for stage in neff.program.stages for name in matmul_flops(stage)}
    return max((d for d in used if d in DIVERGENCE), key=lambda d: DIVERGENCE[d], default="fp32")


def error_of(name: str, op_type: str, ours: np.ndarray, expected: np.ndarray) -> LayerError:
    """Error of one tensor; NaN against NaN and equal infinities are no error. Raises: CompareError for other shapes."""
    if ours.shape != expected.shape:
        raise CompareError(
            "a tensor has another shape than in ONNX Runtime", where=name, limit=expected.shape, actual=ours.shape
        )
    a, b = ours.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    with np.errstate(invalid="ignore"):
        difference = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, a - b)
    largest = float(np.abs(difference).max(initial=0.0))
    size = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    relative = largest / size if size else (0.0 if largest == 0 else float("inf"))
    return LayerError(name, op_type, largest, relative)


def as_onnx(model: str | Path, options: CompileOptions) -> ModelProto:
    """The model for ONNX Runtime: an ONNX file as it is, any other as its frontend understands it."""
    import onnx

    from compiler import frontends, given
    from compiler.frontends.onnx.export import to_model
    from compiler.frontends.package import open_model

    with open_model(Path(model), options.framework) as files:
        if files.framework == "onnx":
            return onnx.load(files.main)
        return to_model(frontends.load_files(files, given(options)))


def reference_tensors(
    model: ModelProto | bytes, inputs: Mapping[str, np.ndarray], names: list[str]
) -> dict[str, tuple[str, np.ndarray]]:
    """Values of the named tensors by ONNX Runtime, in the model's order, each with the operator that makes it.

    Names that the model does not have are left out. Raises: CompareError without ONNX Runtime.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise CompareError("ONNX Runtime is not installed", help='pip install "neuronsim[cpu]"') from error
    import onnx

    proto = onnx.load_from_string(model) if isinstance(model, bytes) else model
    makers = {output: node.op_type for node in proto.graph.node for output in node.output if output}
    wanted = [name for name in makers if name in set(names)]
    present = {o.name for o in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in present)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # unfused: each requested tensor is then the operator's own result
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fed = {i.name: inputs[i.name] for i in session.get_inputs()}
    return {name: (makers[name], np.asarray(v)) for name, v in zip(wanted, session.run(wanted, fed), strict=True)}
