"""At which versions of its domain a node means what it means now: the widest range, for models that must be old.

A definition and the next one mean the same when the newer only adds element types and optional parts
(`onnx_opset.extends`). Downwards the node must also do without what was added: attributes other than the default,
inputs, outputs, element types, and forms that only the text of the definition added.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

import onnx
from onnx import defs, helper

from compiler.errors import CompileError
from compiler.frontends.onnx.check import domain_of
from compiler.frontends.onnx.faces import spelling
from compiler.frontends.onnx.opset import REDEFINED, extends
from compiler.frontends.onnx.subgraph import subgraphs
from compiler.frontends.onnx.types import is_unknown

#: First and last version, both included.
Interval = tuple[int, int]
Types = Mapping[str, onnx.TypeProto]

#: Nothing is written for an older opset: until 11 operators gained negative axes, negative indices and broadcasting
#: without a change of their signature.
_OLDEST = 11
#: Values of attributes that came later than the attribute: operator -> attribute -> value -> version.
_LATER_VALUES: dict[str, dict[str, dict[object, int]]] = {
    "ScatterElements": {"reduction": {b"max": 18, b"min": 18}},
    "ScatterND": {"reduction": {b"max": 18, b"min": 18}},
    "Pad": {"mode": {b"wrap": 19}},
    "Resize": {"coordinate_transformation_mode": {b"half_pixel_symmetric": 19}},
}
#: Versions whose text widened what the operator takes while its signature stayed: Attention masks may be shorter than
#: the keys, quantisation may have a scale for each channel, Mod takes floats however it rounds, Range states how half
#: precision accumulates.
_WIDENED = {"Attention": 24, "DequantizeLinear": 13, "QuantizeLinear": 13, "Mod": 28, "Range": 27}
#: Attributes without a stated default: what leaving them out means.
_IMPLIED = {"dilations": 1, "strides": 1, "pads": 0, "output_padding": 0}


def intervals(node: onnx.NodeProto, versions: Mapping[str, int], types: Types) -> dict[str, Interval]:
    """For every domain that a node and its subgraphs use, the versions at which all of that means the same.

    Args:
        node: the node.
        versions: the version of each domain at which it is meant.
        types: types of the outer values it reads and computes; missing ones count as unknown.
    Raises: CompileError OPSET_CONFLICT when parts of it have no version in common.
    """
    found = [(node.name, {domain_of(node): _interval(node, versions[domain_of(node)], types)})]
    found += [(inner.name, intervals(inner, versions, {})) for graph in subgraphs(node) for inner in graph.node]
    return common(found)


def common(found: Iterable[tuple[str, Mapping[str, Interval]]]) -> dict[str, Interval]:
    """The versions that all the named nodes share. Raises: CompileError OPSET_CONFLICT listing those that do not."""
    found = list(found)
    result: dict[str, Interval] = {}
    for _, each in found:
        for domain, (low, high) in each.items():
            lowest, highest = result.get(domain, (low, high))
            result[domain] = (max(low, lowest), min(high, highest))
    for domain, (low, high) in sorted(result.items()):
        if low > high:
            sides = sorted((each[domain], name) for name, each in found if domain in each)
            named = ", ".join(f"{name!r}: {a} to {b}" for (a, b), name in sides if a == low or b == high)
            raise CompileError(f"operators need different versions of the domain {domain or 'ai.onnx'!r}",
                               code="OPSET_CONFLICT", where=named, limit=f"at most {high}", actual=f"at least {low}",
                               help="keep these nodes in different CPU segments")
    return result


def drop_defaults(node: onnx.NodeProto, versions: Mapping[str, int]) -> None:
    """Take out, in place, attributes that say what leaving them out says at `versions`.

    Those that the schema there lacks are among them, as `intervals` has made sure; runtimes may not know the newest.
    """
    domain = domain_of(node)
    if defs.has(node.op_type, versions[domain], domain):
        known = defs.get_schema(node.op_type, versions[domain], domain).attributes
        kept = [a for a in node.attribute if a.name in known and not _is_default(a, known[a.name])]
        if len(kept) < len(node.attribute):
            del node.attribute[:]
            node.attribute.extend(kept)
    for graph in subgraphs(node):
        for inner in graph.node:
            drop_defaults(inner, versions)


def _interval(node: onnx.NodeProto, version: int, types: Types) -> Interval:
    domain = domain_of(node)
    history = _history(domain, node.op_type)
    now = max((k for k, s in enumerate(history) if s.since_version <= version), default=-1)
    if now < 0:
        return version, version  # nobody but a runtime knows its other versions
    low, last = now, now
    while last + 1 < len(history) and _same(history[last], history[last + 1]):
        last += 1
    high = history[last + 1].since_version - 1 if last + 1 < len(history) else max(version, _newest(domain))
    oldest = _OLDEST if not domain else 1
    while low and history[low].since_version > oldest and _steps_down(node, history[low - 1], history[low], types):
        low -= 1
    return min(version, max(history[low].since_version, oldest)), high


@cache
def _history(domain: str, op: str) -> list[defs.OpSchema]:
    return _histories().get((domain, op), [])


@cache
def _histories() -> dict[tuple[str, str], list[defs.OpSchema]]:
    found: dict[tuple[str, str], list[defs.OpSchema]] = {}
    for schema in sorted(defs.get_all_schemas_with_history(), key=lambda s: int(s.since_version)):
        found.setdefault((schema.domain, schema.name), []).append(schema)
    return found


@cache
def _newest(domain: str) -> int:
    if not domain:
        return defs.onnx_opset_version()
    return max((s[-1].since_version for (d, _), s in _histories().items() if d == domain), default=1)


def _same(older: defs.OpSchema, newer: defs.OpSchema) -> bool:
    redefined = not newer.domain and REDEFINED.get(newer.name) == newer.since_version
    return not newer.deprecated and not redefined and extends(newer, older)


def _steps_down(node: onnx.NodeProto, older: defs.OpSchema, newer: defs.OpSchema, types: Types) -> bool:
    """Whether the node means under the older definition what it means under the newer."""
    widened = not newer.domain and _WIDENED.get(newer.name) == newer.since_version
    return (not widened and _same(older, newer)
            and all(_attribute_fits(a, older, newer) for a in node.attribute)
            and _fits(node.input, older.inputs, newer.inputs, int(older.max_input), types)
            and _fits(node.output, older.outputs, newer.outputs, int(older.max_output), types))


def _attribute_fits(attribute: onnx.AttributeProto, older: defs.OpSchema, newer: defs.OpSchema) -> bool:
    name, value = attribute.name, helper.get_attribute_value(attribute)
    if name not in newer.attributes:
        return True  # found to be a default on the way down
    if name not in older.attributes:
        return _is_default(attribute, newer.attributes[name]) or (
            name in _IMPLIED and all(v == _IMPLIED[name] for v in value))
    later = _LATER_VALUES.get(newer.name, {}).get(name, {}) if not newer.domain else {}
    return not isinstance(value, bytes) or later.get(value, 0) < newer.since_version


def _is_default(attribute: onnx.AttributeProto, stated: defs.OpSchema.Attribute) -> bool:
    default = stated.default_value
    return default.type == attribute.type and bool(
        helper.get_attribute_value(default) == helper.get_attribute_value(attribute))


def _fits(names: Iterable[str], older: list[defs.OpSchema.FormalParameter],
          newer: list[defs.OpSchema.FormalParameter], most: int, types: Types) -> bool:
    """Whether all values in use exist in the older definition, and their types were allowed then."""
    for position, name in enumerate(names):
        if not name:
            continue
        if position >= most or not older:
            return False
        before, after = (p[min(position, len(p) - 1)].types for p in (older, newer))
        kind = types.get(name)
        if kind is None or is_unknown(kind):
            if not set(after) <= set(before):
                return False
        elif spelling(kind) not in before:
            return False
    return True
