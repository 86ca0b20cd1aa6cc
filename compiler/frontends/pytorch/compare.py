"""Whether torch's tracing ONNX exporter wrote what the module computes.

The exporter is silently wrong for some modules (writes through views, sizes that became constants): torch is here
anyway, so that both are run on the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from compiler.errors import ModelError

#: Of the largest expected magnitude. A wrong export is off by far more, and float32 sums in another order by far less.
_TOLERANCE = 1e-2
#: Elements that may be further off, for choices between almost equal numbers.
_SHARE = 0.01


def check(torch: Any, module: Any, tensors: Sequence[Any], model: onnx.ModelProto, where: str) -> str:
    """Compare a model with the module it was written from, on the example inputs and on noise of both signs.

    Returns: a sentence for the report where they could not be compared, else "".
    Raises: ModelError EXPORT_WRONG.
    """
    ran = 0
    for inputs in (tensors, _noise(torch, tensors, 1.0), _noise(torch, tensors, -1.0)):
        try:
            wanted = module(*[t.clone() for t in inputs])
            found = _run(model, [t.numpy() for t in inputs])
        except Exception:  # the numbers need not make sense to the model; runtimes raise what they please
            continue
        ran += 1
        wanted = list(wanted) if isinstance(wanted, tuple | list) else [wanted]
        for place, (one, other) in enumerate(zip(found, wanted)):
            if why := _differs(np.asarray(one), other.detach().numpy()):
                raise ModelError("torch's ONNX exporter writes the model wrong", code="EXPORT_WRONG", where=where,
                                 actual=f"result {place}: {why}",
                                 help="save the model with torch.export.save and compile the .pt2 file")
    return "" if ran else "the model went through torch's ONNX exporter, whose result could not be compared with torch"


def _noise(torch: Any, tensors: Sequence[Any], sign: float) -> list[Any]:
    rng = np.random.default_rng(1)
    return [torch.from_numpy(sign * rng.random(tuple(t.shape), np.float32)).to(t.dtype) if t.is_floating_point()
            else torch.from_numpy(rng.integers(0, 2, tuple(t.shape))).to(t.dtype) for t in tensors]


def _run(model: onnx.ModelProto, arrays: Sequence[np.ndarray]) -> Sequence[Any]:
    feeds = dict(zip([i.name for i in model.graph.input], arrays))
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        return ReferenceEvaluator(model).run(None, feeds)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def _differs(found: np.ndarray, want: np.ndarray) -> str:
    if found.shape != want.shape:
        return f"shape {found.shape}, where torch has {want.shape}"
    if not want.size:
        return ""
    one, other = found.astype(np.float64), want.astype(np.float64)
    finite = np.abs(other[np.isfinite(other)])
    near = np.isclose(one, other, 0.0, _TOLERANCE * float(finite.max(initial=0.0)), equal_nan=True)
    return "" if (~near).mean() <= _SHARE else f"{(~near).mean():.0%} of the elements differ"
