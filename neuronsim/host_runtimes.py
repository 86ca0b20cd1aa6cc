"""Which runtime computes a CPU segment, and how arrays reach it.

The rule, in order; it looks at the segment alone:

1. onnx's reference evaluator where ONNX Runtime is not installed;
2. the evaluator where the segment has an operator in a form listed in `DEVIATIONS`: there ONNX Runtime is known to
   compute something else than ONNX's text says, or to fail;
3. the evaluator where an input or output has an element type of which several share a byte (int4, float4): ONNX Runtime
   packs those in memory, numpy does not;
4. ONNX Runtime where it loads the segment;
5. the evaluator where it does not (an operator, version, type or attribute that it has no kernel for).

Random operators without a seed get one, so that a NEFF always gives the same first outputs. ONNX Runtime runs a segment
on one thread, so that its sums have one order on every host. numpy arrays are handed over
as they lie in memory, in both directions; types that numpy lacks (bfloat16, fp8) travel as their bits.
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

from neuronsim.host_time import subgraphs

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


# ---- where ONNX Runtime (1.31 and before) deviates from ONNX's text

Types = Mapping[str, int]  # value name -> element type, where the graph states it


def _attribute(node: Any, name: str) -> Any:
    return next((a for a in node.attribute if a.name == name), None)


def _given(names: Sequence[str], index: int) -> bool:
    return len(names) > index and bool(names[index])


def _attention(node: Any, types: Types) -> bool:
    from onnx import TensorProto

    half = types.get(node.input[0]) == TensorProto.FLOAT16
    return half or _given(node.output, 3) or _given(node.input, 6)


def _resize(node: Any, types: Types) -> bool:
    mode, corners = _attribute(node, "mode"), _attribute(node, "coordinate_transformation_mode")
    interpolates = mode is not None and mode.s in (b"linear", b"cubic")
    return interpolates and corners is not None and corners.s == b"align_corners" and _given(node.input, 2)


def _of_booleans(node: Any, types: Types) -> bool:
    from onnx import TensorProto

    return TensorProto.BOOL in (types.get(node.input[0]), types.get(node.output[0]))


#: Operator -> (form, reason).
DEVIATIONS: dict[str, tuple[Callable[[Any, Types], bool], str]] = {
    "Attention": (
        _attention,
        "float16 is off by a unit in the last place, the product shown as qk_matmul_output lacks the mask's "
        "infinities, padded keys beside a mask of four dimensions fail",
    ),
    "DFT": (
        lambda node, types: True,
        "lengths that are no power of two lose four digits against a transform in float64",
    ),
    "STFT": (lambda node, types: True, "as DFT"),
    "MaxUnpool": (
        lambda node, types: _given(node.input, 2),
        "indices are taken as positions in the output shape given, instead of in the shape without it",
    ),
    "Resize": (
        _resize,
        "with scales and aligned corners, positions follow the rounded output size instead of the scaled one",
    ),
    "Dropout": (
        lambda node, types: _given(node.input, 2),
        "in training, a seed gives another sequence of random numbers than ONNX's own implementation",
    ),
    "ReduceMax": (_of_booleans, "the largest of no booleans fails instead of being false"),
    "ReduceMin": (_of_booleans, "the smallest of no booleans fails instead of being true"),
}


def deviation(graph: Any, outer: Types | None = None) -> str:
    """Why ONNX Runtime is not asked for a graph: the first listed form found, subgraphs included; else ""."""
    types = dict(outer or {})
    types.update((i.name, e) for i in (*graph.input, *graph.value_info, *graph.output) for e in _element_types(i))
    types.update((t.name, t.data_type) for t in graph.initializer)
    for node in graph.node:
        form, reason = DEVIATIONS.get(node.op_type, (None, ""))
        if form is not None and node.domain in ("", "ai.onnx") and form(node, types):
            return f"{node.op_type}: {reason}"
        for found in filter(None, (deviation(inner, types) for inner in subgraphs(node))):
            return found
    return ""


# ---- choosing

RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")


def seed(graph: Any) -> bool:
    """Give every random node without a seed one by its position; whether there was any."""
    from onnx import helper

    changed = False
    for position, node in enumerate(graph.node):
        changed |= any([seed(inner) for inner in subgraphs(node)])
        draws = node.op_type in RANDOM or (node.op_type == "Dropout" and _given(node.input, 2))
        if draws and _attribute(node, "seed") is None:
            value = 1 + position  # to some generators 0 and 1 are the same
            node.attribute.append(helper.make_attribute("seed", value if node.op_type == "Dropout" else float(value)))
            changed = True
    return changed


def choose(model: Any, data: bytes) -> Runtime:
    """The runtime for a segment by the rule above.

    Args:
        model, data: the segment as an onnx ModelProto, which may be changed, and its bytes.
    Raises: NodeFailure when no runtime loads it.
    """
    if seed(model.graph):
        data = model.SerializeToString()
    faces = [*model.graph.input, *model.graph.output]
    refusal = "" if _onnxruntime() else "ONNX Runtime is not installed"
    refusal = refusal or deviation(model.graph)
    if not refusal and any(_packed(i) for i in faces):
        refusal = "elements that share a byte"
    if not refusal:
        try:
            return OnnxRuntime(data, faces)
        except Exception as error:  # its own kinds, one per status code
            refusal = _first_line(error)
    try:
        return Evaluator(model)
    except Exception as error:  # missing operators and malformed attributes raise many kinds
        missing = without_kernel(model)
        if not missing:
            raise NodeFailure("", "", f"{_first_line(error)} (ONNX Runtime: {refusal})") from error
        names = ", ".join(f"{op} ({name})" for name, op in missing)
        raise NodeFailure("", "", f"no CPU kernel for {names} (ONNX Runtime: {refusal})") from error


def without_kernel(model: Any) -> list[tuple[str, str]]:
    """Name and operator of every node that the evaluator has no kernel for."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    found = []
    for node in model.graph.node:
        graph = helper.make_graph([node], "node", [], [])
        alone = helper.make_model(graph, opset_imports=model.opset_import, functions=model.functions)
        try:
            ReferenceEvaluator(alone)
        except Exception:  # as above
            found.append((node.name, f"{node.domain}::{node.op_type}" if node.domain else node.op_type))
    return found


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@cache
def _onnxruntime() -> Any:
    # operator sets newer than the newest released one are refused otherwise, even where nothing in them has changed
    os.environ.setdefault("ALLOW_RELEASED_ONNX_OPSET_ONLY", "0")
    try:
        import onnxruntime
    except ImportError:
        return None
    onnxruntime.set_default_logger_severity(4)  # refusals and failures arrive as exceptions
    return onnxruntime


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
        runtime = _onnxruntime()
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


def _element_types(info: Any) -> Iterator[int]:
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

    numbers = [e for e in _element_types(info) if e not in (TensorProto.UNDEFINED, TensorProto.STRING)]
    return any(helper.tensor_dtype_to_np_dtype(e).isbuiltin != 1 for e in numbers)


def _packed(info: Any) -> bool:
    from onnx import TensorProto

    names = {TensorProto.DataType.Name(e) for e in _element_types(info)}
    return any(n.endswith(("INT4", "INT2")) or n.startswith("FLOAT4") for n in names)


def _element_type(dtype: np.dtype) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(dtype))
