"""Values of the graph as a user meets them at the model's inputs and outputs."""
from __future__ import annotations

import onnx
from onnx import helper

from compiler.ir import Value
from isa.program import STRING, TensorInfo


def tensor_info(value: Value) -> TensorInfo:
    """Name, shape and type of a value: sizes the host only knows at run time are -1, sequences as ONNX spells them."""
    if not value.host:
        return TensorInfo(value.name, value.shape, STRING if value.dtype == "object" else value.dtype)
    found = onnx.TypeProto.FromString(value.host)
    if found.WhichOneof("value") != "tensor_type":
        return TensorInfo(value.name, (), spelling(found))
    tensor = found.tensor_type
    dtype = STRING if value.dtype == "object" else value.dtype
    if not tensor.HasField("shape"):
        return TensorInfo(value.name, (), dtype, ranked=False)
    sizes = (d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else -1 for d in tensor.shape.dim)
    return TensorInfo(value.name, tuple(sizes), dtype)


def spelling(found: onnx.TypeProto) -> str:
    """A type as ONNX and ONNX Runtime write it, for instance "seq(tensor(float))"."""
    kind = found.WhichOneof("value")
    if kind == "sequence_type":
        return f"seq({spelling(found.sequence_type.elem_type)})"
    if kind == "optional_type":
        return f"optional({spelling(found.optional_type.elem_type)})"
    if kind == "map_type":
        return f"map({_element(found.map_type.key_type)},{spelling(found.map_type.value_type)})"
    number = getattr(found, kind).elem_type if kind else 0
    return f"{'sparse_tensor' if kind == 'sparse_tensor_type' else 'tensor'}({_element(number)})"


def _element(number: int) -> str:
    return str(helper.tensor_dtype_to_string(number)).removeprefix("TensorProto.").lower()
