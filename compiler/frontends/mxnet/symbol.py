"""Reads MXNet's symbol files: JSON of a graph of operators, as `Symbol.save` and `HybridBlock.export` write it.

Layout after `nnvm::pass::SaveJSON` (MXNet 1.0 - 1.9) and the older spellings that `src/nnvm/legacy_json_util.cc`
upgrades: parameters of a node are under "attrs", before that under "attr", and before that under "param" beside the
user's own "attr".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compiler.errors import ModelError

#: Symbol files of the largest published networks have some megabytes.
MOST_BYTES = 64 << 20
#: Bodies of control flow inside bodies of control flow.
MOST_NESTED = 8


@dataclass(frozen=True)
class Entry:
    """One result of one node: position of the node in `Symbol.nodes`, number of its result."""

    node: int
    index: int


@dataclass(frozen=True)
class SymbolNode:
    """A node: a variable (`op` "null") or an operator.

    Attributes:
        op: the operator as registered in MXNet.
        name: unique in practice, though files do not promise it.
        attrs: everything MXNet knows of the node, as text; names with two underscores are the user's.
        inputs: results it reads, all of nodes before it.
        subgraphs: bodies of control flow operators.
    """

    op: str
    name: str
    attrs: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[Entry, ...] = ()
    subgraphs: tuple[Symbol, ...] = ()

    @property
    def is_variable(self) -> bool:
        """Whether it stands for an argument or an auxiliary state."""
        return self.op == "null"


@dataclass(frozen=True)
class Symbol:
    """A symbol file: nodes in topological order and the results that the network has.

    `version`: of MXNet that wrote it, 10901 for 1.9.1; 0 where the file does not say (before 0.9).
    """

    nodes: tuple[SymbolNode, ...]
    heads: tuple[Entry, ...]
    version: int = 0


def read_symbol(path: Path) -> Symbol:
    """Read a symbol file. Raises: ModelError MODEL_MISSING, MODEL_SIZE, MODEL_INVALID."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ModelError("the symbol file is too large to be one", code="MODEL_SIZE", where=str(path),
                             limit=f"{MOST_BYTES} bytes", actual=f"{size} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"the symbol file cannot be read: {error.strerror}", code="MODEL_MISSING",
                         where=str(path)) from None
    return parse_symbol(data, str(path))


def parse_symbol(data: bytes | str, where: str = "symbol") -> Symbol:
    """`read_symbol` for the text itself. Raises: ModelError MODEL_INVALID."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else f"no JSON: {error}"
        raise _invalid(f"the symbol file is {what}"[:200], where) from None
    return _symbol(found, where, 0)


def _invalid(what: str, where: str, actual: object = None) -> ModelError:
    return ModelError(what, code="MODEL_INVALID", where=where, actual=None if actual is None else repr(actual)[:80],
                      help="save the symbol again, by Symbol.save or HybridBlock.export")


def _symbol(found: Any, where: str, depth: int) -> Symbol:
    if not isinstance(found, dict) or not isinstance(found.get("nodes"), list):
        raise _invalid("a symbol has to be an object with a list of nodes", where)
    if depth > MOST_NESTED:
        raise _invalid("bodies of control flow are nested too deeply", where, depth)
    nodes = [_node(node, k, where, depth) for k, node in enumerate(found["nodes"])]
    heads = found.get("heads", found.get("head"))
    if not isinstance(heads, list) or not heads:
        raise _invalid("the symbol has no results (`heads`)", where)
    entries = tuple(_entry(h, len(nodes), f"{where}: heads") for h in heads)
    return Symbol(tuple(nodes), entries, _version(found))


def _node(found: Any, position: int, where: str, depth: int) -> SymbolNode:
    place = f"{where}: node {position}"
    if not isinstance(found, dict) or not isinstance(found.get("op"), str) or not isinstance(found.get("name"), str):
        raise _invalid("a node has to be an object with an operator and a name", place)
    place = f"{where}: node {found['name']!r}"
    inputs = found.get("inputs", [])
    subgraphs = found.get("subgraphs", [])
    if not isinstance(inputs, list) or not isinstance(subgraphs, list):
        raise _invalid("`inputs` and `subgraphs` of a node have to be lists", place)
    return SymbolNode(
        found["op"], found["name"], _attrs(found, place), tuple(_entry(i, position, place) for i in inputs),
        tuple(_symbol(s, place, depth + 1) for s in subgraphs),
    )


def _attrs(node: Mapping[str, Any], where: str) -> dict[str, str]:
    merged: dict[str, str] = {}
    for key in ("attr", "attrs", "param"):  # the oldest files have the user's under "attr", the operator's in "param"
        found = node.get(key) or {}
        if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
            raise _invalid(f"`{key}` of a node has to hold texts by name", where, found)
        merged.update(found)
    return merged


def _entry(found: Any, known: int, where: str) -> Entry:
    """[node, result, version]; `known`: nodes that may be referred to."""
    numbers = isinstance(found, list) and len(found) in (2, 3) and all(type(f) is int for f in found)
    if not numbers or not (0 <= found[0] < known and 0 <= found[1] < 1 << 16):
        raise _invalid("an input has to be the position of an earlier node and the number of its result", where, found)
    return Entry(found[0], found[1])


def _version(found: Mapping[str, Any]) -> int:
    attrs = found.get("attrs")
    stated = attrs.get("mxnet_version") if isinstance(attrs, dict) else None
    number = stated[1] if isinstance(stated, list) and len(stated) == 2 else 0
    return number if type(number) is int else 0
