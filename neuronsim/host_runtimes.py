"""The two runtimes of CPU segments, and how arrays reach them.

ONNX Runtime runs a segment on one thread, so that its sums have one order on every host. numpy arrays are handed over
as they lie in memory, in both directions; types that numpy lacks (bfloat16, fp8) travel as their bits. Which runtime
computes a segment is in `neuronsim/host_choice.py`.
"""

from __future__ import annotations

import ctypes
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np

Tensors = Mapping[str, Any]


class NodeFailure(Exception):
    """A node that its runtime could not compute: `node` is its name (or ""), `op_type` its operator."""

    def __init__(self, node: str, op_type: str, words: str) -> None:
        self.node, self.op_type, self.words = node, op_type, words
        super().__init__(words)


class Runtime(Protocol):
    """A loaded segment. `name` is for reports; `run` returns the outputs in order. Raises: NodeFailure."""

    name: str

    def run(self, inputs: Tensors) -> list[Any]: ...


@cache
def onnxruntime() -> Any:
    """The module, None where it is not installed."""
    # operator sets newer than the newest released one are refused otherwise, even where nothing in them has changed
    os.environ.setdefault("ALLOW_RELEASED_ONNX_OPSET_ONLY", "0")
    try:
        import onnxruntime as found
    except ImportError:
        return None
    found.set_default_logger_severity(4)  # refusals and failures arrive as exceptions
    return found


# ---- ONNX Runtime

_RUNNING = re.compile(r"running (\S+) node\. Name:'([^']*)'(?: Status Message: )?(.*)", re.DOTALL)


class OnnxRuntime:
    """A segment loaded into ONNX Runtime. Sessions may be run from several threads at once.

    Args:
        data: serialised ModelProto.
        faces: its inputs and outputs (ValueInfoProto).
    """

    name = "onnxruntime"

    def __init__(self, data: bytes, faces: Sequence[Any]) -> None:
        runtime = onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._ort_value = runtime.OrtValue
        self._session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self._plain = not any(_beyond_numpy(i) for i in faces)
        if not self._plain and any(not i.type.HasField("tensor_type") for i in faces):
            raise ValueError("types that numpy lacks beside sequences and optionals")

    def run(self, inputs: Tensors) -> list[Any]:
        """Outputs in order. Raises: NodeFailure naming the node."""
        try:
            if self._plain:
                return list(self._session.run(None, dict(inputs)))
            given = {name: self._wrapped(value) for name, value in inputs.items()}
            return [_unwrapped(v) for v in self._session.run_with_ort_values(None, given)]
        except Exception as error:  # its own kinds, one per status code
            found = _RUNNING.search(str(error))
            op, node, words = found.groups() if found else ("", "", str(error))
            raise NodeFailure(node, op, words.strip()) from error

    def _wrapped(self, array: np.ndarray) -> Any:
        if array.dtype.isbuiltin == 1:
            return self._ort_value.ortvalue_from_numpy(array)
        bits = np.ascontiguousarray(array).reshape(array.shape).view(f"u{array.dtype.itemsize}")
        return self._ort_value.ortvalue_from_numpy_with_onnx_type(bits, _element_type(array.dtype))


def _unwrapped(value: Any) -> np.ndarray:
    """The array of an OrtValue, in its memory: types that numpy lacks are read as `ml_dtypes`."""
    from onnx import helper

    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(value.element_type()))
    if dtype.isbuiltin == 1 or dtype.hasobject:
        return np.asarray(value.numpy())
    size = int(np.prod(value.shape())) * dtype.itemsize
    if not size:
        return np.zeros(value.shape(), dtype)
    memory = (ctypes.c_uint8 * size).from_address(value.data_ptr())
    memory.owner = value  # the array keeps the buffer, the buffer keeps the value
    return np.frombuffer(memory, np.uint8).view(dtype).reshape(value.shape())


# ---- the reference evaluator


class Evaluator:
    """A segment loaded into onnx's reference evaluator; one run at a time."""

    name = "reference"

    def __init__(self, model: Any) -> None:
        from onnx.reference import ReferenceEvaluator

        self._evaluator = ReferenceEvaluator(model)
        self._outputs = [o.name for o in model.graph.output]
        self._lock = threading.Lock()
        for node in self._evaluator.rt_nodes_:
            node.run = _naming(node.run, node.onnx_node)

    def run(self, inputs: Tensors) -> list[Any]:
        """Outputs in order. Raises: NodeFailure naming the node."""
        with self._lock, np.errstate(all="ignore"):  # infinities and NaN are values like others
            return list(self._evaluator.run(self._outputs, dict(inputs)))


def _naming(run: Callable[..., Any], node: Any) -> Callable[..., Any]:
    """`run`, failing with the node's name."""

    def named(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except Exception as error:  # numpy's and the evaluator's kinds
            raise NodeFailure(node.name, node.op_type, f"{type(error).__name__}: {error}") from error

    return named


# ---- element types


def element_types(info: Any) -> Iterator[int]:
    """Element types of a value, whatever it is."""
    kind = info.type
    while kind.WhichOneof("value") in ("sequence_type", "optional_type"):
        kind = getattr(kind, kind.WhichOneof("value")).elem_type
    if kind.HasField("map_type"):
        kind = kind.map_type.value_type
    if kind.HasField("tensor_type"):
        yield kind.tensor_type.elem_type


def _beyond_numpy(info: Any) -> bool:
    from onnx import TensorProto, helper

    numbers = [e for e in element_types(info) if e not in (TensorProto.UNDEFINED, TensorProto.STRING)]
    return any(helper.tensor_dtype_to_np_dtype(e).isbuiltin != 1 for e in numbers)


def is_packed(info: Any) -> bool:
    """Whether several elements of a value share a byte."""
    from onnx import TensorProto

    names = {TensorProto.DataType.Name(e) for e in element_types(info)}
    return any(n.endswith(("INT4", "INT2")) or n.startswith("FLOAT4") for n in names)


def _element_type(dtype: np.dtype) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(dtype))
