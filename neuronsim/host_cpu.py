"""Runs the CPU segments of a NEFF on the host: ONNX Runtime where it is installed, else onnx's reference evaluator.

The time charged is a model, not a measurement, so that the same NEFF always has the same latency: every operator costs
a dispatch, and the segment's inputs, outputs and constants are read or written once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from isa.errors import NeuronError

# Both inferred: no public figure for the host side of a graph walker. A framework's dispatch of one small operator is a
# few microseconds; one host core streams about 10 GB/s.
DISPATCH_SECONDS = 5e-6
BYTES_PER_SECOND = 10e9


class CpuSegmentError(NeuronError):
    """A CPU segment that the host cannot run."""

    code = "CPU_SEGMENT"


class CpuSegment:
    """One CPU node of a NEFF: a whole ONNX model.

    Args:
        name: for messages.
        model: serialised ONNX ModelProto.
    """

    def __init__(self, name: str, model: bytes) -> None:
        self.name = name
        self._bytes = model

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs of the segment by name. Raises: CpuSegmentError with the evaluator's words."""
        try:
            values = self._evaluator.run(self._output_names, dict(inputs))
        except (RuntimeError, ValueError, TypeError) as error:
            raise CpuSegmentError(f"cannot run on the host: {error}", where=self.name) from error
        return dict(zip(self._output_names, (np.asarray(v) for v in values), strict=True))

    @cached_property
    def seconds(self) -> float:
        """Host time charged for one run."""
        graph = self._model.graph
        constants = sum(len(t.raw_data) or 4 * prod(t.dims) for t in graph.initializer)
        moved = constants + sum(_bytes_of(v) for v in (*graph.input, *graph.output))
        return len(graph.node) * DISPATCH_SECONDS + moved / BYTES_PER_SECOND

    @cached_property
    def _model(self) -> Any:
        import onnx

        return onnx.load_from_string(self._bytes)

    @cached_property
    def _output_names(self) -> list[str]:
        return [o.name for o in self._model.graph.output]

    @cached_property
    def _evaluator(self) -> Any:
        try:
            import onnxruntime
        except ImportError:
            from onnx.reference import ReferenceEvaluator

            return ReferenceEvaluator(self._model)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(self._bytes, options, providers=["CPUExecutionProvider"])


def _bytes_of(value: Any) -> int:
    """Bytes of a value with a static tensor shape (4 per element: the order of magnitude is what the model needs)."""
    dims = value.type.tensor_type.shape.dim
    return 4 * prod(d.dim_value or 1 for d in dims)
