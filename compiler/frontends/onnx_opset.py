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
#: Operators whose signature only grew while their meaning changed: version of the change. GroupNormalization scales
#: channels instead of groups; RoiAlign shifts by half a pixel unless told otherwise.
_REDEFINED = {"GroupNormalization": 21, "RoiAlign": 16}


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
    if (version < _REDEFINED.get(op, 0)) != (OPSET < _REDEFINED.get(op, 0)):
        return False
    older, newer = sorted((mine, stated), key=lambda s: int(s.since_version))
    return _extends(newer, older)


def _extends(newer: defs.OpSchema, older: defs.OpSchema) -> bool:
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
