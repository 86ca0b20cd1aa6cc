"""Bring a model to operators that mean what they mean at `compiler.ir.OPSET`.

A node whose definition has not changed but for its element types needs nothing. One that has is converted alone, as a
model of one node, by onnx's version converter: whatever surrounds it may be of any kind.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper, version_converter

from compiler.errors import ModelError
from compiler.frontends.onnx import fixups as onnx_fixups
from compiler.ir import OPSET

_DEFAULT_DOMAINS = ("", "ai.onnx")
#: Constants of more elements do not decide how a node is converted.
_SMALL = 16
#: First opset whose operators broadcast as numpy does.
_FREE_BROADCAST = 7
#: Operators whose signature only grew while their meaning changed: version of the change. GroupNormalization scales
#: channels instead of groups; PRelu's slopes went with channels before they broadcast; RoiAlign shifts by half a pixel
#: unless told otherwise; Split into equal parts has to say how many.
REDEFINED = {"GroupNormalization": 21, "PRelu": 7, "RoiAlign": 16, "Split": 18}


def default_version(model: onnx.ModelProto) -> int:
    """Version of ONNX's own operators that the model uses; 1 when it imports none.

    Raises: ModelError MODEL_OPSET when it is newer than the installed onnx package knows.
    """
    versions = [o.version for o in model.opset_import if o.domain in _DEFAULT_DOMAINS]
    version = max(versions, default=1)
    newest = defs.onnx_opset_version()
    if version > newest:
        raise ModelError("the model uses a newer operator set than the installed onnx package knows",
                         code="MODEL_OPSET", limit=newest, actual=version,
                         help="update the onnx package, or export the model at an older opset")
    return version


def other_versions(model: onnx.ModelProto) -> dict[str, int]:
    """Versions of the other operator domains the model imports."""
    return {o.domain: o.version for o in model.opset_import if o.domain not in _DEFAULT_DOMAINS}


def converted(node: onnx.NodeProto, version: int, types: Sequence[onnx.TypeProto],
              constants: Sequence[np.ndarray | None]) -> onnx.GraphProto | None:
    """One node of opset `version` as a graph that means the same at `OPSET`; None when it cannot be brought over.

    Args:
        node: a node of ONNX's own domain without subgraphs.
        version: the opset it is written for.
        types: type of each of its inputs; ignored where the input is absent.
        constants: array of each input, where known.
    Returns: nodes and initialisers that compute the node's outputs from its inputs; other names are `<output>.<name>`.
    """
    inputs, outputs = list(dict.fromkeys(filter(None, node.input))), [o for o in node.output if o]
    names = {n: f"i{k}" for k, n in enumerate(inputs)} | {n: f"o{k}" for k, n in enumerate(outputs)}
    alone = onnx.NodeProto()
    alone.CopyFrom(node)
    alone.ClearField("name")
    alone.ClearField("doc_string")
    alone.input[:] = [names.get(i, "") for i in node.input]
    alone.output[:] = [names.get(o, "") for o in node.output]
    graph = onnx.GraphProto(name="node", node=[alone], output=[onnx.ValueInfoProto(name=names[o]) for o in outputs])
    facts = {n: (t, c) for n, t, c in zip(node.input, types, constants, strict=True) if n}
    for name in inputs:
        kind, array = facts[name]
        if array is not None and array.size <= _SMALL and array.dtype != object:
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), names[name]))
        else:
            graph.input.append(onnx.ValueInfoProto(name=names[name], type=_of_rank(kind, version)))
    found = _convert(graph.SerializeToString(deterministic=True), version)
    return None if found is None else _with_names(found, {v: k for k, v in names.items()}, node)


def _of_rank(kind: onnx.TypeProto, version: int) -> onnx.TypeProto:
    """The type without its sizes, which decide nothing but how nodes before opset 7 broadcast."""
    result = onnx.TypeProto.FromString(kind.SerializeToString())
    if version >= _FREE_BROADCAST:
        for dim in result.tensor_type.shape.dim if result.HasField("tensor_type") else ():
            dim.Clear()
    return result


@lru_cache(maxsize=4096)
def _convert(graph: bytes, version: int) -> bytes | None:
    """A serialised one-node graph brought to `OPSET` by onnx, which takes milliseconds however small it is."""
    model = onnx.ModelProto(ir_version=8, graph=onnx.GraphProto.FromString(graph),
                            opset_import=[helper.make_opsetid("", version)])
    remembered = onnx_fixups.before(model, version)
    try:
        result = version_converter.convert_version(model, OPSET)
    except Exception:  # the converter raises RuntimeError, ConvertError and bare assertions
        return None
    onnx_fixups.after(result, remembered)
    kept = all(defs.has(n.op_type, OPSET, "") and not defs.get_schema(n.op_type, OPSET, "").deprecated
               for n in result.graph.node)
    return bytes(result.graph.SerializeToString()) if kept else None


def _with_names(graph: bytes, names: dict[str, str], node: onnx.NodeProto) -> onnx.GraphProto:
    result = onnx.GraphProto.FromString(graph)
    stem = next(filter(None, node.output))

    def name(old: str) -> str:
        return names.get(old) or (f"{stem}.{old}" if old else "")

    for tensor in result.initializer:
        tensor.name = name(tensor.name)
    for made in result.node:
        made.name = node.name
        made.input[:] = [name(i) for i in made.input]
        made.output[:] = [name(o) for o in made.output]
    return result


@lru_cache(maxsize=4096)
def same_meaning(op: str, version: int) -> bool:
    """Whether an operator's signature is the same at `version` and `OPSET`, but for optional parts the newer one adds.

    A node that uses such an added part means what the newer definition says. An operator that is newer than `OPSET` has
    no other meaning than its own.
    """
    if not defs.has(op, version, ""):
        return False
    mine = defs.get_schema(op, version, "")
    if not defs.has(op, OPSET, ""):
        return bool(mine.since_version > OPSET)
    stated = defs.get_schema(op, OPSET, "")
    if stated.deprecated:
        return False
    if mine.since_version == stated.since_version:
        return True
    if (version < REDEFINED.get(op, 0)) != (OPSET < REDEFINED.get(op, 0)):
        return False
    older, newer = sorted((mine, stated), key=lambda s: int(s.since_version))
    return extends(newer, older)


def extends(newer: defs.OpSchema, older: defs.OpSchema) -> bool:
    """Whether a newer definition only adds element types, optional attributes, optional inputs or outputs."""
    ours, theirs = _attributes(newer), _attributes(older)
    if any(ours.get(name) != facts for name, facts in theirs.items()):
        return False
    if any(newer.attributes[name].required for name in ours.keys() - theirs.keys()):
        return False
    ins, outs = len(older.inputs), len(older.outputs)
    return bool(
        newer.min_input == older.min_input and newer.min_output == older.min_output
        and [i.name for i in newer.inputs][:ins] == [i.name for i in older.inputs]
        and [o.name for o in newer.outputs][:outs] == [o.name for o in older.outputs])


def _attributes(schema: defs.OpSchema) -> dict[str, tuple[object, ...]]:
    return {n: (a.type.value, a.required, a.default_value.SerializeToString()) for n, a in schema.attributes.items()}
