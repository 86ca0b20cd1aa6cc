"""From MXNet's files to a graph: what are inputs and what parameters, then one converter for each node."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from compiler.errors import CompileError, ModelError, UnsupportedOp
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.files import ModelFiles
from compiler.frontends.inputs import Declared, Dim, Given
from compiler.frontends.mxnet import reasons
from compiler.frontends.mxnet.call import PARAMETERS, Call
from compiler.frontends.mxnet.families import REGISTRY
from compiler.frontends.mxnet.nodes import convert, live_nodes, operands, output_name
from compiler.frontends.mxnet.params import read_params
from compiler.frontends.mxnet.symbol import Symbol, read_symbol
from compiler.frontends.onnx.check import raise_all
from compiler.ir import Graph


def load(files: ModelFiles, given: Given) -> Graph:
    """The frontend's face (see `compiler.frontends.load`).

    Raises: ModelError MODEL_INVALID, MODEL_SIZE, PARAMS_INVALID, PARAMS_MISSING, ATTRIBUTE_VALUE; UnsupportedOp; as
        `compiler.frontends.inputs.resolve`; ErrorList of several.
    """
    symbol = read_symbol(files.main)
    params = read_params(files.others["params"]) if "params" in files.others else {}
    return from_symbol(symbol, params, given, str(files.main))


def from_symbol(symbol: Symbol, params: Mapping[str, np.ndarray], given: Given, where: str = "") -> Graph:
    """`load` for what the files hold. `params`: values of arguments and auxiliary states by name."""
    live = live_nodes(symbol)
    _check_operators(symbol, live)
    variables = _variables(symbol, live)
    _check_missing(variables, params, given, where)
    b = GraphBuilder(where.rsplit("/", 1)[-1].removesuffix("-symbol.json"), where)
    unused = sorted(set(params) - {v.name for v in variables})
    if unused:
        b.note(f"{len(unused)} arrays of the params file are not used: {', '.join(unused[:5])}"
               + (" ..." if len(unused) > 5 else ""))
    b.inputs([_declared(v, variables, params) for v in variables if v.name not in params], given)
    values = {v.name: b.add(params[v.name], v.name) if v.name in params else v.name for v in variables}
    results = convert(b, symbol, live, values)
    for head in symbol.heads if not b.failed else ():
        if head not in results:
            raise ModelError(f"inference does not compute result {head.index} of {symbol.nodes[head.node].name!r}",
                             code="MODEL_INVALID", where=where)
        count = sum(e.node == head.node for e in results)
        b.output(results[head], output_name(symbol.nodes[head.node], head.index, count))
    return b.finish()


def operators() -> dict[str, str]:
    """Every operator of MXNet's registry, see `compiler.frontends.operators`."""
    return {**dict.fromkeys(REGISTRY, ""), **reasons.named()}


# ---- what a symbol needs -----------------------------------------------------------------------------------------


@dataclass
class _Variable:
    """A variable that inference reads. `role`: what its first reader calls it, "" if that does not say."""

    name: str
    attrs: Mapping[str, str]
    role: str = ""


def _check_operators(symbol: Symbol, live: Collection[int]) -> None:
    """Refuse unknown operators, all of them at once. Raises: UnsupportedOp, ErrorList."""
    unknown: dict[str, list[str]] = {}
    for k in sorted(live):
        node = symbol.nodes[k]
        if not node.is_variable and node.op not in REGISTRY:
            unknown.setdefault(node.op, []).append(node.name)
    errors: list[CompileError] = []
    for op, names in sorted(unknown.items()):
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        error = UnsupportedOp(f"operator {op!r}: {reasons.reason(op)}", where=f"nodes {shown}",
                              help="compile the network up to such nodes, and run them outside")
        error.op, error.nodes = op, tuple(names)
        errors.append(error)
    raise_all(errors)


def _variables(symbol: Symbol, live: Collection[int]) -> list[_Variable]:
    found = {k: _Variable(symbol.nodes[k].name, symbol.nodes[k].attrs)
             for k in sorted(live) if symbol.nodes[k].is_variable}
    for k in sorted(live):
        for entry, role in operands(symbol.nodes[k]):
            if entry.node in found and not found[entry.node].role:
                found[entry.node].role = role
    return list({v.name: v for v in found.values()}.values())


def _check_missing(variables: list[_Variable], params: Mapping[str, np.ndarray], given: Given, where: str) -> None:
    missing = [v.name for v in variables
               if v.role in PARAMETERS and v.name not in params and v.name not in given.shapes]
    if missing:
        places = params and all("." in name for name in params)  # "features.0.weight": save_parameters calls them so
        raise ModelError(f"the params file has no values for {len(missing)} parameters of the network",
                         code="PARAMS_MISSING", where=where, actual=", ".join(missing[:20]),
                         help="the file is one of Block.save_parameters, which names places and not parameters: "
                              "HybridBlock.export writes both files" if places else
                              "give the params file that was saved with the symbol (names as `arg:fc_weight`), or "
                              "--input-shape for those that are inputs")


def _declared(variable: _Variable, variables: list[_Variable], params: Mapping[str, np.ndarray]) -> Declared:
    """An input with what its variable states (`mx.sym.var(shape=, dtype=)`); else of the type of the weights."""
    weights = {params[v.name].dtype.name for v in variables if v.role == "weight" and v.name in params}
    default = "float16" if weights == {"float16"} else "float32"
    call = Call(GraphBuilder(""), "null", variable.name, [], variable.attrs)
    stated = call.type("__dtype__", "") if not call.is_none("__dtype__") and variable.attrs["__dtype__"] != "-1" else ""
    dims: tuple[Dim, ...] | None = None
    if not call.is_none("__shape__"):
        dims = tuple(d if d > 0 else None for d in call.ints("__shape__"))
    return Declared(variable.name, dims or None, stated, default)
