"""Types of one node's outputs, from onnx's own schemas and what is known of its inputs."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper, shape_inference

from compiler.errors import ShapeError
from compiler.frontends.onnx.shapes import documented
from compiler.frontends.onnx.types import UNKNOWN, dims_of, dtype_of, is_unknown, tensor_type, type_of
from compiler.ir import Node, Value

#: Larger constants never decide a shape; handing them over would only cost time.
_DATA_LIMIT = 4096


def infer_outputs(proto: onnx.NodeProto, version: int, versions: Mapping[str, int], values: Mapping[str, Value],
                  attrs: dict[str, Any], captured: Sequence[str] = ()) -> list[onnx.TypeProto]:
    """Return the type of every output of a node; `UNKNOWN` where nothing is known and for "" outputs.

    Args:
        proto: the node.
        version: version of its domain to look its schema up at.
        versions: versions of all domains.
        values: the values its inputs name.
        attrs: its attributes with defaults, as in `compiler.ir.Node`.
        captured: values that its subgraphs read.
    Raises:
        ShapeError: SHAPE_MISMATCH when the operator refuses inputs that are all known.
    """
    schema = defs.get_schema(proto.op_type, version, proto.domain)
    known = [values[i] for i in proto.input if i]
    types = {v.name: type_of(v) for v in (*known, *(values[c] for c in captured))}
    data = {v.name: _data(v) for v in known
            if v.const is not None and v.size <= _DATA_LIMIT and v.dtype != "object"}
    imports = [helper.make_opsetid(d, n) for d, n in versions.items()]
    try:
        found = shape_inference.infer_node_outputs(schema, proto, types, data, opset_imports=imports)
    except Exception as error:  # onnx raises InferenceError, ValueError and RuntimeError
        if captured or any(v.host for v in known):
            return [UNKNOWN] * len(proto.output)  # it asks for more than is known
        shapes = ", ".join(f"{v.name}: {v.dtype}{list(v.shape)}" for v in known)
        raise ShapeError(f"{proto.op_type} does not fit its inputs: {_reason(error)}", code="SHAPE_MISMATCH",
                         where=_where(proto), actual=shapes, help="check --batch and --input-shape") from None
    results = [found.get(o, UNKNOWN) if o else UNKNOWN for o in proto.output]
    if proto.op_type == "Reshape" and not proto.domain:
        _same_elements(types[proto.input[0]], results[0], _where(proto))
    return _completed(proto, results, known, attrs)


def _completed(proto: onnx.NodeProto, results: list[onnx.TypeProto], known: list[Value],
               attrs: dict[str, Any]) -> list[onnx.TypeProto]:
    """Results with the documented shapes where inference has nothing, or not all, to say."""
    vague = [bool(o) and _is_open(t) for o, t in zip(proto.output, results, strict=True)]
    if not any(vague) or any(v.host for v in known):
        return results
    stated = documented(proto.op_type, proto.domain, known, attrs)
    if stated is None:
        return results
    return [helper.make_tensor_type_proto(tensor_type(dtype), shape) if open_ else result
            for result, open_, (shape, dtype) in zip(results, vague, stated, strict=False)]


def _is_open(found: onnx.TypeProto) -> bool:
    """Whether nothing is known of a type, or not all sizes of a tensor."""
    dims = dims_of(found)
    return is_unknown(found) or (bool(dtype_of(found)) and (dims is None or None in dims))


def _same_elements(before: onnx.TypeProto, after: onnx.TypeProto, where: str) -> None:
    """onnx infers a Reshape to a constant shape without counting. Raises: ShapeError SHAPE_MISMATCH."""
    old, new = dims_of(before), dims_of(after)
    if old is None or new is None or None in old or None in new:
        return
    counts = [math.prod(d or 0 for d in dims) for dims in (old, new)]
    if counts[0] != counts[1]:
        raise ShapeError(
            f"Reshape of {old} cannot give {new}", code="SHAPE_MISMATCH", where=where,
            limit=f"{counts[0]} elements", actual=f"{counts[1]} elements",
            help="check --batch and --input-shape; a target shape that fixes the batch has to be exported with 0 or -1 "
                 "in its place")


def to_proto(node: Node) -> onnx.NodeProto:
    """A graph's node as an ONNX node; attributes that are None are left out."""
    return helper.make_node(node.op, node.inputs, node.outputs, node.name, domain=node.domain,
                            **{k: to_attribute(v) for k, v in node.attrs.items() if v is not None})


def to_attribute(value: Any) -> Any:
    """A value `onnx.helper.make_attribute` takes."""
    return numpy_helper.from_array(np.asarray(value)) if isinstance(value, np.ndarray) else value


def _data(value: Value) -> onnx.TensorProto:
    assert value.const is not None
    return numpy_helper.from_array(np.ascontiguousarray(value.const).reshape(value.shape), value.name)


def _where(proto: onnx.NodeProto) -> str:
    return f"node {proto.name!r} ({proto.op_type})"


def _reason(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
