"""Walks over the nodes of a symbol: which ones inference needs, and one converter for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from compiler.errors import CompileError, ModelError
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.mxnet.call import LABEL, REGISTRY, Call
from compiler.frontends.mxnet.symbol import Entry, Symbol, SymbolNode

#: What sizes that no converter expects can raise: a wrong rank, a list of another length, a zero, a huge number.
#: Others (a missing key, a wrong type) are defects of the converter whatever the file says, and are shown as such.
_UNEXPECTED = (IndexError, ValueError, OverflowError, ZeroDivisionError)


def live_nodes(symbol: Symbol) -> frozenset[int]:
    """Positions of the nodes that the results need; labels are read in training only."""
    found: set[int] = set()
    todo = [h.node for h in symbol.heads]
    while todo:
        k = todo.pop()
        if k not in found:
            found.add(k)
            todo += [e.node for e, role in operands(symbol.nodes[k]) if role != LABEL]
    return frozenset(found)


def operands(node: SymbolNode) -> list[tuple[Entry, str]]:
    """What a node reads, each with its role."""
    known = REGISTRY[node.op].roles if node.op in REGISTRY else ()
    return [(e, known[k] if k < len(known) else "") for k, e in enumerate(node.inputs)]


def convert(b: GraphBuilder, symbol: Symbol, live: Collection[int], variables: Mapping[str, str]) -> dict[Entry, str]:
    """Build the nodes; gives the value of every result. `variables`: value by name."""
    results: dict[Entry, str] = {}
    for k in sorted(live):
        node = symbol.nodes[k]
        if node.is_variable:
            results[Entry(k, 0)] = variables[node.name]
            continue
        read = [e for e, role in operands(node) if role != LABEL]
        if b.failed and any(e not in results for e in read):
            continue  # follows from an error already noted
        try:
            found = _convert(b, symbol, node, read, results)
        except CompileError as error:
            error.where = error.where or f"{b.where}: layer {node.name!r} ({node.op})"
            b.fail(error)
            continue
        results.update({Entry(k, i): value for i, value in enumerate(found)})
    return results


def _convert(b: GraphBuilder, symbol: Symbol, node: SymbolNode, read: list[Entry],
             results: Mapping[Entry, str]) -> list[str]:
    lost = [e for e in read if e not in results]
    if lost:
        raise ModelError(f"it reads result {lost[0].index} of {symbol.nodes[lost[0].node].name!r}, which inference "
                         "does not compute", code="MODEL_INVALID")
    call = Call(b, node.op, node.name, [results[e] for e in read], node.attrs, node.subgraphs, symbol.version,
                [symbol.nodes[e.node].name if symbol.nodes[e.node].is_variable else "" for e in read])
    with b.layer(node.name):
        try:
            found = REGISTRY[node.op].convert(call)
        except _UNEXPECTED as error:
            shapes = ", ".join("x".join(map(str, call.shape(v))) or "scalar" for v in call.inputs)
            raise ModelError(f"the ranks of its inputs, or its attributes, are not those {node.op} is known to have",
                             code="OPERATOR_OPERANDS", actual=f"{error} (inputs {shapes})"[:200],
                             help="if MXNet runs the network, please report it: the importer is at fault") from error
    return [found] if isinstance(found, str) else found


def output_name(node: SymbolNode, index: int, count: int) -> str:
    """What `Symbol.list_outputs` calls a result of a node that has `count`."""
    if node.is_variable:
        return node.name
    names = REGISTRY[node.op].outputs
    if index < len(names):
        return f"{node.name}_{names[index]}"
    return f"{node.name}_output" if count == 1 else f"{node.name}_output{index}"
