"""Checks of an ONNX model before import: operators, attributes, then onnx's own checker."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import checker, defs

from compiler.errors import CompileError, ModelError, UnsupportedOp
from compiler.frontends.onnx.runtime import runtime_has
from compiler.frontends.onnx.subgraph import all_graphs, all_nodes
from isa.errors import ErrorList


def domain_of(node: onnx.NodeProto) -> str:
    """The node's domain with ONNX's own as ""."""
    return "" if node.domain == "ai.onnx" else node.domain


def has_schema(op: str, domain: str, version: int) -> bool:
    """Whether onnx knows the operator at that version of its domain."""
    return bool(version and defs.has(op, version, domain))


def check_text(model: onnx.ModelProto, where: str) -> None:
    """Refuse names that are no text (protobuf hands those out as bytes). Raises: ModelError MODEL_INVALID."""
    names = [o.domain for o in model.opset_import]
    for graph in all_graphs(model.graph):
        names += [v.name for v in (*graph.input, *graph.output, *graph.initializer)]
        for node in graph.node:
            names += [node.op_type, node.domain, node.name, *node.input, *node.output]
            names += [a.name for a in node.attribute]
    for name in names:
        if not isinstance(name, str):
            raise ModelError("a name in the model is not UTF-8 text", code="MODEL_INVALID", where=where,
                             actual=repr(name)[:80], help="the file is damaged: copy or export it again")


def check_operators(model: onnx.ModelProto, versions: Mapping[str, int]) -> None:
    """Refuse operators and attributes that no schema knows, all of them at once.

    Raises: ErrorList (or the one error) of UnsupportedOp UNSUPPORTED_OP and ModelError UNKNOWN_ATTRIBUTE.
    """
    functions = {(f.domain, f.name) for f in model.functions}
    unknown: dict[str, list[str]] = {}
    errors: list[CompileError] = []
    for node in all_nodes(model.graph):
        domain = domain_of(node)
        version = versions.get(domain, 0)
        if (node.domain, node.op_type) in functions:
            continue
        if has_schema(node.op_type, domain, version):
            attributes = defs.get_schema(node.op_type, version, domain).attributes
            errors += [_attribute(node, a.name, list(attributes)) for a in node.attribute if a.name not in attributes]
        elif not (version and runtime_has(node.op_type, domain)):
            unknown.setdefault(f"{domain}::{node.op_type}" if domain else node.op_type, []).append(node.name)
    raise_all([_operator(op, names, versions) for op, names in sorted(unknown.items())] + errors)


def check_model(model: onnx.ModelProto, where: str) -> None:
    """Run onnx's checker. Raises: ModelError MODEL_INVALID."""
    try:
        checker.check_model(model)
    except Exception as error:  # ValidationError, and DecodeError or ValueError for odd models
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ModelError(f"the model is not valid ONNX: {lines[0] if lines else type(error).__name__}",
                         code="MODEL_INVALID", where=where, help="; ".join(lines[1:3])) from None


def raise_all(errors: Sequence[CompileError]) -> None:
    """Raise one error as itself, several together, none not at all."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ErrorList(errors)


def _operator(op: str, nodes: list[str], versions: Mapping[str, int]) -> UnsupportedOp:
    shown = ", ".join(nodes[:8]) + (f" and {len(nodes) - 8} more" if len(nodes) > 8 else "")
    domain = op.split("::")[0] if "::" in op else ""
    known = f"opset {versions[domain]}" if domain in versions else "this model's imports"
    error = UnsupportedOp(f"operator {op} is unknown in {known} ({len(nodes)} nodes) and has no CPU kernel either",
                          where=f"nodes {shown}",
                          help="export the model with standard ONNX operators, or include the function's body")
    error.op, error.nodes = op, tuple(nodes)
    return error


def _attribute(node: onnx.NodeProto, name: str, known: list[str]) -> ModelError:
    return ModelError(f"operator {node.op_type} has no attribute {name!r}", code="UNKNOWN_ATTRIBUTE",
                      where=f"node {node.name!r}", limit=", ".join(known) or "no attributes", actual=name)
