"""Between onnx's types and the graph's values: which are static tensors, and what keeps the others on the host."""
from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache

import onnx
from onnx import helper

from compiler.ir import Graph, Value, numpy_dtype
from compiler.precision import STORAGE

#: Type of a value about which nothing is known.
UNKNOWN = onnx.TypeProto(tensor_type=onnx.TypeProto.Tensor())
_KINDS = {"sequence_type": "a sequence", "optional_type": "an optional value", "map_type": "a map",
          "sparse_tensor_type": "a sparse tensor", "opaque_type": "an opaque value"}


@cache
def tensor_type(dtype: str) -> int:
    """ONNX's number of an element type spelled as in `Value.dtype`."""
    if dtype == "object":
        return int(onnx.TensorProto.STRING)
    number: int = helper.np_dtype_to_tensor_dtype(numpy_dtype(dtype))
    return number


def type_of(value: Value) -> onnx.TypeProto:
    """The ONNX type of a value of the graph."""
    if value.host:
        return onnx.TypeProto.FromString(value.host)
    return helper.make_tensor_type_proto(tensor_type(value.dtype), value.shape)


def is_unknown(found: onnx.TypeProto) -> bool:
    """Whether nothing is known of the type: no kind, or a tensor of no stated element type."""
    return found.WhichOneof("value") is None or (found.HasField("tensor_type") and not dtype_of(found))


def dtype_of(found: onnx.TypeProto) -> str:
    """`Value.dtype` of a tensor's type, "" for anything else or an unknown element type."""
    return _dtype(found.tensor_type.elem_type) if found.HasField("tensor_type") else ""


@cache
def _dtype(number: int) -> str:
    try:
        return helper.tensor_dtype_to_np_dtype(number).name
    except KeyError:  # UNDEFINED, or a number that a newer onnx may know
        return ""


def dims_of(found: onnx.TypeProto) -> list[int | None] | None:
    """Sizes of a tensor, None where unknown; None in all when it is no tensor or its rank is unknown."""
    if not found.HasField("tensor_type") or not found.tensor_type.HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None
            for d in found.tensor_type.shape.dim]


def static_shape(found: onnx.TypeProto) -> list[int] | None:
    """The sizes of a tensor of numbers or booleans when all are known; else None."""
    dims = dims_of(found)
    if dims is None or dtype_of(found) in ("", "object"):
        return None
    sizes = [d for d in dims if d is not None]
    return sizes if len(sizes) == len(dims) else None


def nbytes(found: onnx.TypeProto) -> int:
    """Bytes of a static tensor; 0 for anything else."""
    shape = static_shape(found)
    return 0 if shape is None else math.prod(shape) * numpy_dtype(dtype_of(found)).itemsize


def completed(found: onnx.TypeProto, hint: onnx.TypeProto | None, sizes: bool) -> onnx.TypeProto:
    """What inference found, or the model's own claim where inference says nothing.

    Args:
        found: the inferred type.
        hint: what the model claims, None for nothing.
        sizes: whether the claim also counts where only sizes are missing.
    """
    if hint is None or is_unknown(hint):
        return found
    if is_unknown(found):
        return hint
    before, claimed = dims_of(found), dims_of(hint)
    if claimed is None or dtype_of(hint) != dtype_of(found):
        return found
    if before is None:
        return hint
    fits = len(before) == len(claimed) and all(a in (None, b) for a, b in zip(before, claimed, strict=True))
    return hint if sizes and fits else found


def add_value(graph: Graph, name: str, found: onnx.TypeProto) -> str:
    """Define a value of that type, held by the host unless static, and return its name."""
    dtype, shape = dtype_of(found), static_shape(found)
    if shape is not None:
        return graph.add_value(name, shape, dtype)
    return graph.add_host_value(name, (UNKNOWN if is_unknown(found) else found).SerializeToString(), dtype)


def host_reason(graph: Graph, inputs: Iterable[str], outputs: Iterable[str]) -> str:
    """Why only the host can run a node that reads and computes these values; "" when they do not force it."""
    reads = [graph.value(n) for n in inputs if n]
    writes = [graph.value(n) for n in outputs if n]
    for value in (*writes, *reads):
        reason = _value_reason(value)
        if reason:
            return reason
    if any(v.host for v in reads):
        return "input sizes depend on data" if all(v.dtype for v in reads) else "nothing is known of its inputs"
    if any(v.host for v in writes):
        return "output sizes depend on data" if all(v.dtype for v in writes) else "nothing is known of its outputs"
    return ""


def _value_reason(value: Value) -> str:
    if not value.host and value.dtype in STORAGE and value.dtype != "float64":
        return ""
    if value.dtype == "object":
        return "strings"
    if value.host:
        return _KINDS.get(onnx.TypeProto.FromString(value.host).WhichOneof("value") or "", "")
    if value.dtype == "float64":  # as a constant it is converted before it is used
        return "" if value.const is not None else "float64"
    return "" if not value.dtype or value.dtype in STORAGE else f"{value.dtype} has no equivalent on the device"
