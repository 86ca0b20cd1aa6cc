"""Shapes and element types of one node's outputs, from onnx's own schemas and what is known of its inputs."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper, shape_inference

from compiler.errors import ShapeError
from compiler.frontends.onnx_shapes import documented
from compiler.ir import Node, Value, numpy_dtype

#: Larger constants never decide a shape; handing them over would only cost time.
_DATA_LIMIT = 4096


def infer_outputs(proto: onnx.NodeProto, version: int, versions: Mapping[str, int],
                  values: Mapping[str, Value], attrs: dict[str, Any]) -> list[tuple[tuple[int, ...], str]]:
    """Return (shape, dtype) of every output of a node, "" outputs included as ((), "").

    Args:
        proto: the node.
        version: version of its domain to look its schema up at.
        versions: versions of all domains.
        values: the values its inputs name.
        attrs: its attributes with defaults, as in `compiler.ir.Node`.
    Raises:
        ShapeError: SHAPE_MISMATCH when the operator refuses its inputs, SHAPE_DYNAMIC when the shape depends on data.
    """
    where = f"node {proto.name!r} ({proto.op_type})"
    schema = defs.get_schema(proto.op_type, version, proto.domain)
    known = [values[i] for i in proto.input if i]
    try:
        found = shape_inference.infer_node_outputs(
            schema, proto, {v.name: _type(v) for v in known},
            {v.name: _data(v) for v in known if v.const is not None and v.size <= _DATA_LIMIT and v.dtype != "object"},
            opset_imports=[helper.make_opsetid(d, n) for d, n in versions.items()],
        )
    except Exception as error:  # onnx raises InferenceError, ValueError and RuntimeError
        shapes = ", ".join(f"{v.name}: {v.dtype}{list(v.shape)}" for v in known)
        raise ShapeError(f"{proto.op_type} does not fit its inputs: {_reason(error)}", code="SHAPE_MISMATCH",
                         where=where, actual=shapes, help="check --batch and --input-shape") from None
    try:
        facts = [_static(found.get(o), o, where) if o else ((), "") for o in proto.output]
        if proto.op_type == "Reshape" and not proto.domain:
            _same_elements(known[0].shape, facts[0][0], where)
        return facts
    except ShapeError as error:
        stated = documented(proto.op_type, proto.domain, known, attrs) if error.code == "SHAPE_DYNAMIC" else None
        if stated is None:
            raise
        return stated[:len(proto.output)]


def _same_elements(before: tuple[int, ...], after: tuple[int, ...], where: str) -> None:
    """onnx infers a Reshape to a constant shape without counting. Raises: ShapeError SHAPE_MISMATCH."""
    if math.prod(before) != math.prod(after):
        raise ShapeError(
            f"Reshape of {list(before)} cannot give {list(after)}", code="SHAPE_MISMATCH", where=where,
            limit=f"{math.prod(before)} elements", actual=f"{math.prod(after)} elements",
            help="check --batch and --input-shape; a target shape that fixes the batch has to be exported with 0 or -1 "
                 "in its place")


def to_proto(node: Node) -> onnx.NodeProto:
    """A graph's node as an ONNX node; attributes that are None are left out."""
    return helper.make_node(node.op, node.inputs, node.outputs, node.name, domain=node.domain,
                            **{k: to_attribute(v) for k, v in node.attrs.items() if v is not None})


def to_attribute(value: Any) -> Any:
    """A value `onnx.helper.make_attribute` takes."""
    return numpy_helper.from_array(np.asarray(value)) if isinstance(value, np.ndarray) else value


def _type(value: Value) -> onnx.TypeProto:
    return helper.make_tensor_type_proto(tensor_type(value.dtype), value.shape)


def tensor_type(dtype: str) -> int:
    """ONNX's number of an element type spelled as in `Value.dtype`."""
    if dtype == "object":
        return int(onnx.TensorProto.STRING)
    number: int = helper.np_dtype_to_tensor_dtype(numpy_dtype(dtype))
    return number


def _data(value: Value) -> onnx.TensorProto:
    assert value.const is not None
    return numpy_helper.from_array(np.ascontiguousarray(value.const).reshape(value.shape), value.name)


def _static(found: onnx.TypeProto | None, name: str, where: str) -> tuple[tuple[int, ...], str]:
    if found is None or not found.HasField("tensor_type"):
        raise ShapeError(f"output {name!r} is not a tensor, or nothing is known about it", code="SHAPE_DYNAMIC",
                         where=where, help="models are compiled for static tensors only")
    tensor = found.tensor_type
    dims: Sequence[Any] = tensor.shape.dim
    if not tensor.HasField("shape") or any(not d.HasField("dim_value") for d in dims):
        raise ShapeError(f"the shape of {name!r} depends on run-time data", code="SHAPE_DYNAMIC", where=where,
                         help="cut the model before this node: a compiled model needs static shapes")
    return tuple(d.dim_value for d in dims), helper.tensor_dtype_to_np_dtype(tensor.elem_type).name


def _reason(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
