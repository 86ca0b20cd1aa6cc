"""Frozen graphs: one GraphDef, binary or text, whose variables have become constants.

No signature says what goes in and out: inputs are the placeholders, results the nodes that nobody reads.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compiler.errors import ModelError, ShapeError
from compiler.frontends.tensorflow.protos import damaged, parse, parse_text
from compiler.frontends.tensorflow.source import Face, Source
from compiler.frontends.tensorflow.tensors import dims_of
from compiler.frontends.tensorflow.variables import Variables

#: Operators that are no result of a model even where nobody reads them.
_SILENT = frozenset({
    "Assert", "NoOp", "Const", "Placeholder", "PlaceholderWithDefault", "PlaceholderV2", "Print", "PrintV2", "SaveV2",
    "SaveSlices", "MergeV2Checkpoints", "Assign", "AssignVariableOp", "VarHandleOp", "VariableV2", "Variable",
    "IsVariableInitialized", "VarIsInitializedOp", "RestoreV2", "ShardedFilename", "WriteFile", "TensorArrayCloseV3",
    "Switch", "ControlTrigger", "LookupTableImportV2", "InitializeTableV2",
    "InitializeTableFromTextFileV2",
})


def read(path: Path, text: bool, outputs: Sequence[str] = ()) -> Source:
    """A frozen graph.

    Args:
        text: whether it is in protobuf's text form.
        outputs: nodes wanted, with or without ":0"; () for those nobody reads.
    Raises: ModelError MODEL_MISSING, MODEL_INVALID, MODEL_OUTPUTS; ShapeError OUTPUT_NAME.
    """
    where = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"the file cannot be read: {error.strerror}", code="MODEL_MISSING", where=where) from None
    graph = parse_text("GraphDef", data.decode("utf-8", "replace"), where) if text else parse("GraphDef", data, where)
    nodes = {n.name: n for n in graph.node}
    if not nodes:
        raise damaged("the graph has no node", where)
    for name in outputs:
        if name.partition(":")[0] not in nodes:
            raise ShapeError(f"the model has no node {name!r}", code="OUTPUT_NAME", actual=name, where=where,
                             limit=", ".join(_unread(nodes)[:20]), help="give names of nodes, such as those in `limit`")
    wanted = list(outputs) or _unread(nodes)
    if not wanted:
        raise ModelError("every node of the graph is read by another one, so none is its result", code="MODEL_OUTPUTS",
                         where=where, help="name the results: --io-config '{\"outputs\": [\"NODE\"]}'")
    return Source(path.stem, where, nodes, {f.signature.name: f for f in graph.library.function},
                  tuple(_input(n) for n in graph.node if n.op in ("Placeholder", "PlaceholderV2")),
                  tuple(Face(name, name) for name in wanted), Variables(where=where), True)


def _unread(nodes: dict[str, Any]) -> list[str]:
    read = {i.lstrip("^").partition(":")[0] for n in nodes.values() for i in n.input}
    return [n.name for n in nodes.values()
            if n.name not in read and n.op not in _SILENT and not n.op.endswith("Summary")
            and not n.op.endswith("SummaryV2")]


def _input(node: Any) -> Face:
    return Face(node.name, node.name, placeholder_dims(node), node.attr["dtype"].type if "dtype" in node.attr else 0)


def placeholder_dims(node: Any) -> tuple[int | None, ...] | None:
    """What a placeholder states of its shape. The first version of the operator spelled an unknown one as a scalar."""
    dims = dims_of(node.attr["shape"].shape) if "shape" in node.attr else None
    return dims
