"""Operators that only ONNX Runtime knows: which there are, and what types its own inference gives their results."""
from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper

from compiler.frontends.onnx.types import UNKNOWN, is_unknown, type_of
from compiler.ir import Value

#: Larger constants never decide a shape.
_DATA_LIMIT = 4096
_TENSOR = re.compile(r"tensor\((\w+)\)")


def runtime_has(op: str, domain: str) -> bool:
    """Whether an installed ONNX Runtime has this operator of its own; never for ONNX's domains."""
    return domain not in _onnx_domains() and (domain, op) in _operators()


def runtime_types(proto: onnx.NodeProto, versions: Mapping[str, int], values: Mapping[str, Value]
                  ) -> list[onnx.TypeProto]:
    """The type of every output of a node, as ONNX Runtime infers it; `UNKNOWN` where it has nothing to say.

    Args:
        proto: the node, without subgraphs.
        versions: versions of all domains of its model.
        values: the values its inputs name.
    """
    nothing = [UNKNOWN] * len(proto.output)
    inputs = {name: values[name] for name in proto.input if name}
    if any(is_unknown(type_of(v)) for v in inputs.values()):
        return nothing
    known = {n for n, v in inputs.items() if v.const is not None and v.size <= _DATA_LIMIT}
    graph = helper.make_graph(
        [proto], "node",
        [helper.make_value_info(n, type_of(v)) for n, v in inputs.items() if n not in known],
        [onnx.ValueInfoProto(name=o) for o in proto.output if o],
        [numpy_helper.from_array(np.asarray(v.const), n) for n, v in inputs.items() if n in known])
    imports = [helper.make_opsetid(d, n) for d, n in versions.items()]
    model = helper.make_model(graph, opset_imports=imports, ir_version=min(onnx.IR_VERSION, 10))
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:  # its own kinds, one per status code; whether the node can run is seen when it is to
        return nothing
    found = {face.name: _type(face) for face in session.get_outputs()}
    return [found.get(o, UNKNOWN) for o in proto.output]


def _type(face: Any) -> onnx.TypeProto:
    """The type of a session's output. A rank of 0 is how an unknown one is spelled too, and taken for that."""
    match = _TENSOR.fullmatch(face.type)
    if match is None:
        return UNKNOWN
    sizes = [d if isinstance(d, int) else None for d in face.shape]
    return helper.make_tensor_type_proto(onnx.TensorProto.DataType.Value(match[1].upper()), sizes or None)


@cache
def _onnx_domains() -> frozenset[str]:
    return frozenset(s.domain for s in defs.get_all_schemas())


@cache
def _operators() -> frozenset[tuple[str, str]]:
    try:
        from onnxruntime.capi import onnxruntime_pybind11_state as runtime
    except ImportError:
        return frozenset()
    return frozenset((s.domain, s.name) for s in runtime.get_all_operator_schema())
