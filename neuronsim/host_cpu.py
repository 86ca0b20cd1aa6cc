"""CPU segments of a NEFF on the host: loaded once, run as often as needed, charged by a stated model.

Which runtime computes a segment is in `neuronsim/host_choice.py`, what it costs in `neuronsim/host_time.py`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from isa.errors import ErrorList, NeuronError
from isa.target import Target
from neuronsim.host_choice import choose
from neuronsim.host_runtimes import NodeFailure, Runtime
from neuronsim.host_time import segment_seconds


class CpuSegmentError(NeuronError):
    """A CPU segment that the host cannot run; `where` names the segment and, where known, the node."""

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
        self._runtime: Runtime | None = None
        self._lock = threading.Lock()
        self._seconds: dict[tuple[float, ...], float] = {}

    def load(self) -> Runtime:
        """The runtime with the segment loaded, by the first caller. Raises: CpuSegmentError when none takes it."""
        with self._lock:
            if self._runtime is None:
                try:
                    self._runtime = choose(self._model, self._bytes)
                except NodeFailure as failure:
                    raise CpuSegmentError(failure.words, where=self._place(failure)) from failure
            return self._runtime

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs of the segment by name: arrays (strings as objects), lists for sequences, None for what is absent.

        Raises: CpuSegmentError with the runtime's words.
        """
        runtime = self.load()
        try:
            values = runtime.run({name: _fitted(inputs[name], *face) for name, face in self._faces.items()})
        except NodeFailure as failure:
            operator = f"{failure.op_type} " if failure.op_type else ""
            raise CpuSegmentError(
                f"{operator}cannot run on the host: {failure.words}", where=self._place(failure)
            ) from failure
        return dict(zip((o.name for o in self._model.graph.output), map(_settled, values), strict=True))

    def seconds(self, target: Target) -> float:
        """Host time charged for one run on a machine."""
        rates = (target.host_dispatch_ns, target.host_bytes_per_cpu_ns, target.host_flops_per_ns)
        if rates not in self._seconds:
            self._seconds[rates] = segment_seconds(self._model, target)
        return self._seconds[rates]

    @cached_property
    def _model(self) -> Any:
        import onnx

        return onnx.load_from_string(self._bytes)

    @cached_property
    def _faces(self) -> dict[str, tuple[np.dtype | None, tuple[int, ...] | None]]:
        """Element type and shape of every input, None where the segment does not state one."""
        initialised = {t.name for t in self._model.graph.initializer}
        return {i.name: _face(i) for i in self._model.graph.input if i.name not in initialised}

    def _place(self, failure: NodeFailure) -> str:
        return f"{self.name}, node {failure.node!r}" if failure.node else self.name


def load_all(segments: Iterable[CpuSegment]) -> None:
    """Give every segment its runtime. Raises: CpuSegmentError; ErrorList of all of them when there are several."""
    errors: list[NeuronError] = []
    for segment in segments:
        try:
            segment.load()
        except CpuSegmentError as error:
            errors.append(error)
    if errors:
        raise errors[0] if len(errors) == 1 else ErrorList(errors)


def _face(info: Any) -> tuple[np.dtype | None, tuple[int, ...] | None]:
    from onnx import helper

    tensor = info.type.tensor_type
    if not tensor.elem_type:
        return None, None
    dims = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
    known = tensor.HasField("shape") and min(dims, default=0) >= 0
    return np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)), tuple(dims) if known else None


def _fitted(value: Any, dtype: np.dtype | None, shape: tuple[int, ...] | None) -> Any:
    """What the device made, in the type and shape the segment states (a device keeps int64 as int32); else `value`."""
    if dtype is None or not isinstance(value, np.ndarray):
        return value
    array = value.astype(dtype, copy=False)
    return array.reshape(shape) if shape is not None and array.size == math.prod(shape) else array


def _settled(value: Any) -> Any:
    """A result in its one form: numpy scalars as arrays, strings as objects."""
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "UT":
        return value.astype(object)
    return [_settled(v) for v in value] if isinstance(value, list | tuple) else value
