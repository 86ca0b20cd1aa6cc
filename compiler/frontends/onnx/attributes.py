"""Attributes of ONNX nodes as plain values, and the arrays that Constant nodes and sparse tensors stand for."""
from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, defs, helper

from compiler.errors import ModelError
from compiler.frontends.onnx.file import to_array

#: A sparse tensor of more bytes is not made dense.
_DENSE_LIMIT = 1 << 30
#: Attributes that are no plain value: the node is kept as it was written.
_OPAQUE = frozenset({
    AttributeProto.GRAPH, AttributeProto.GRAPHS, AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS,
    AttributeProto.TYPE_PROTO, AttributeProto.TYPE_PROTOS,
})


def is_opaque(attribute: AttributeProto) -> bool:
    """Whether the attribute holds a graph, a sparse tensor or a type."""
    return attribute.type in _OPAQUE


def attributes(proto: onnx.NodeProto, version: int, domain: str, base: Path | None, where: str) -> dict[str, Any]:
    """The attributes of a node with the defaults of its schema at `version`."""
    attrs = dict(defaults(proto.op_type, version, domain))
    for attribute in proto.attribute:
        attrs[attribute.name] = attribute_value(attribute, base, where)
    return attrs


@lru_cache(maxsize=2048)
def defaults(op: str, version: int, domain: str) -> tuple[tuple[str, Any], ...]:
    """(name, value) of every attribute that has a default."""
    schema = defs.get_schema(op, version, domain)
    return tuple((name, attribute_value(a.default_value, None, "")) for name, a in schema.attributes.items()
                 if a.default_value.type != AttributeProto.UNDEFINED)


def attribute_value(attribute: AttributeProto, base: Path | None, where: str) -> Any:
    """The value of an attribute: a number, text, an array, or a list of numbers or text."""
    kind = attribute.type
    if kind == AttributeProto.STRING:
        return attribute.s.decode("utf-8", "replace")
    if kind == AttributeProto.STRINGS:
        return [s.decode("utf-8", "replace") for s in attribute.strings]
    if kind == AttributeProto.TENSOR:
        return to_array(attribute.t, base, where)
    value = helper.get_attribute_value(attribute)
    return list(value) if kind in (AttributeProto.INTS, AttributeProto.FLOATS, AttributeProto.TENSORS) else value


def constant_value(proto: onnx.NodeProto, base: Path | None, where: str) -> np.ndarray:
    """The array a Constant node stands for. Raises: ModelError MODEL_INVALID, TENSOR_DATA."""
    if not proto.attribute:
        raise ModelError("a Constant has no value", code="MODEL_INVALID", where=f"{where}: node {proto.name!r}")
    attribute = proto.attribute[0]
    if attribute.name == "value":
        return to_array(attribute.t, base, where)
    if attribute.name == "sparse_value":
        return dense_array(attribute.sparse_tensor, base, where)
    kinds: dict[str, Any] = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32,
                             "value_floats": np.float32, "value_string": object, "value_strings": object}
    if attribute.name not in kinds:
        raise ModelError("a Constant has an unknown kind of value", code="MODEL_INVALID",
                         where=f"{where}: node {proto.name!r}", limit=", ".join(kinds), actual=attribute.name)
    return np.array(attribute_value(attribute, base, where), kinds[attribute.name])


def dense_array(sparse: onnx.SparseTensorProto, base: Path | None, where: str) -> np.ndarray:
    """A sparse tensor with its zeros. Raises: ModelError TENSOR_DATA."""
    values, indices = to_array(sparse.values, base, where), to_array(sparse.indices, base, where)
    if any(d < 0 for d in sparse.dims) or math.prod(sparse.dims) * values.dtype.itemsize > _DENSE_LIMIT:
        raise ModelError("a sparse tensor is too large to be made dense", code="TENSOR_DATA", where=where,
                         limit=f"{_DENSE_LIMIT} bytes", actual=list(sparse.dims))
    dense = np.zeros(tuple(sparse.dims), values.dtype)
    try:
        if indices.ndim == 1:
            dense.reshape(-1)[indices] = values
        else:
            dense[tuple(indices.T)] = values
    except IndexError:
        raise ModelError("a sparse tensor has an index outside its shape", code="TENSOR_DATA", where=where) from None
    return dense
