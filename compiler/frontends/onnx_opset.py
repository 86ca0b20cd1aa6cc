"""Bring a model to operators that mean what they mean at `compiler.ir.OPSET`.

A node whose definition has not changed but for its element types needs nothing. Where some have, onnx's version
converter rewrites the model, on a copy without its large tensors.
"""
from __future__ import annotations

from functools import lru_cache

import onnx
from onnx import defs, version_converter

from compiler.errors import ModelError
from compiler.frontends import onnx_fixups
from compiler.ir import OPSET

_DEFAULT_DOMAINS = ("", "ai.onnx")


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


def convert(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with operators of the stated meaning; the model itself when nothing needs to change.

    The result may still carry another opset number than `OPSET`: then each of its nodes means the same at both.

    Raises: ModelError MODEL_OPSET naming the nodes that cannot be brought over.
    """
    version = default_version(model)
    if not changed_nodes(model, version):
        return model
    remembered = onnx_fixups.before(model, version)
    try:
        converted = version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter raises RuntimeError, ConvertError and bare assertions
        changed = changed_nodes(model, version)
        names = ", ".join(sorted({f"{n.op_type} ({n.name})" for n in changed}))
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise ModelError(f"opset {version} cannot be converted to {OPSET}: {reason}", code="MODEL_OPSET",
                         where=f"operators whose definition changed: {names}", limit=OPSET, actual=version,
                         help=f"export the model again with opset {OPSET}") from None
    onnx_fixups.after(converted, remembered)
    return converted


def changed_nodes(model: onnx.ModelProto, version: int) -> list[onnx.NodeProto]:
    """Top-level nodes whose definition at `version` and at `OPSET` differ in more than element types."""
    return [n for n in model.graph.node if n.domain in _DEFAULT_DOMAINS and not same_meaning(n.op_type, version)]


@lru_cache(maxsize=4096)
def same_meaning(op: str, version: int) -> bool:
    """Whether an operator's signature (inputs, outputs, attributes, defaults) is the same at `version` and `OPSET`.

    An operator that is newer than `OPSET` has no other meaning than its own.
    """
    if not defs.has(op, version, ""):
        return False
    mine = defs.get_schema(op, version, "")
    if not defs.has(op, OPSET, ""):
        return bool(mine.since_version > OPSET)
    stated = defs.get_schema(op, OPSET, "")
    if stated.deprecated:
        return False
    return bool(mine.since_version == stated.since_version) or _signature(mine) == _signature(stated)


def _signature(schema: defs.OpSchema) -> tuple[object, ...]:
    attributes = tuple(sorted(
        (name, a.type.value, a.required, a.default_value.SerializeToString()) for name, a in schema.attributes.items()))
    return (attributes, schema.min_input, schema.max_input, schema.min_output, schema.max_output,
            tuple(i.name for i in schema.inputs), tuple(o.name for o in schema.outputs))
