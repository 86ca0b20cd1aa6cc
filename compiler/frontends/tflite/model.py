"""TensorFlow Lite models: from a `.tflite` file to a graph, and which operators there are."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from compiler.errors import ModelError, UnsupportedOp
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.files import ModelFiles, require
from compiler.frontends.inputs import Declared, Given
from compiler.frontends.onnx.check import raise_all
from compiler.frontends.tflite import reader
from compiler.frontends.tflite.convert import BUILTIN, CUSTOM, Frame
from compiler.frontends.tflite.reader import Model, Signature, Tensor
from compiler.frontends.tflite.refused import reason
from compiler.frontends.tflite.tensors import PACKED
from compiler.ir import Graph

for _family in ("blocks", "control", "custom", "detection", "elementwise", "indexing", "moving", "products",
                "recurrent", "reductions", "resizing", "states", "transforms", "windows"):
    importlib.import_module(f"compiler.frontends.tflite.{_family}")

#: options that name a subgraph
_CALLS = ("then_subgraph_index", "else_subgraph_index", "cond_subgraph_index", "body_subgraph_index",
          "init_subgraph_index", "subgraph")


def load(files: ModelFiles, given: Given) -> Graph:
    """Read a model; the first subgraph, or what the first signature names, is what runs.

    Raises: ModelError (EXTRA_MISSING, MODEL_FORMAT, TFLITE_*, TENSOR_*), UnsupportedOp or ErrorList naming every
        operator that has no form here, ShapeError for inputs.
    """
    return convert(reader.read(files.main), str(files.main), files.main.stem, given)


def convert(model: Model, where: str, name: str, given: Given) -> Graph:
    """The graph of what a file says. Raises: as `load`."""
    signature = model.signatures[0] if model.signatures else Signature("", 0, {}, {})
    _refuse(model, signature.subgraph, where)
    b = GraphBuilder(name, where=where)
    frame = Frame(b, model, signature.subgraph, {})
    graph = frame.graph
    names = _names(signature.inputs, graph.inputs, graph.tensors)
    arguments = b.inputs([_declared(n, graph.tensors[t]) for n, t in zip(names, graph.inputs)], given)
    results = frame.run(arguments)
    if len(model.signatures) > 1:
        b.note(f"of {len(model.signatures)} signatures the first is compiled: {signature.key!r}")
    for result, value in zip(_names(signature.outputs, graph.outputs, graph.tensors), results, strict=True):
        if not isinstance(value, str):
            raise ModelError(f"the result {result!r} is no tensor", code="TFLITE_FACE", where=b.where)
        b.output(value, result)
    return b.finish()


def operators() -> dict[str, str]:
    """Every operator of the schema and the custom ones known here: "", or why a model may not use it."""
    builtin = reader.operator_numbers(require("tflite", "tflite", "to list TensorFlow Lite's operators")).values()
    found = {name: "" if name in BUILTIN else reason(name) for name in builtin if name != "CUSTOM"}
    return {**found, **{name: "" for name in CUSTOM}}


def _names(stated: dict[int, str], numbers: tuple[int, ...], tensors: list[Tensor]) -> list[str]:
    """What users call inputs or outputs: the signature's names, else the tensors' own; all different."""
    found: list[str] = []
    for k, number in enumerate(numbers):
        name = stated.get(number) or tensors[number].name or f"tensor_{number}"
        found.append(name if name not in found else f"{name}_{k}")
    return found


def _declared(name: str, tensor: Tensor) -> Declared:
    """An input as the file states it. Raises: ModelError TFLITE_FACE for what is no tensor of numbers or strings."""
    if tensor.dtype in ("resource", "variant", *PACKED):
        raise ModelError(f"the input {name!r} is a {tensor.dtype}", code="TFLITE_FACE", where=tensor.where,
                         help="convert the model with inputs of numbers")
    dims = tuple(None if d < 0 else d for d in tensor.signature)
    return Declared(name, dims, "object" if tensor.dtype == "string" else tensor.dtype)


def _refuse(model: Model, first: int, where: str) -> None:
    """Raise an error for every type of operator that has no converter, with the number of its uses."""
    uses: dict[str, int] = {}
    customs: set[str] = set()
    for number in _reached(model, first):
        for op in model.subgraphs[number].operators:
            if op.type not in (CUSTOM if op.custom else BUILTIN):
                uses[op.type] = uses.get(op.type, 0) + 1
                customs |= {op.type} if op.custom else set()
    errors = []
    for name, count in uses.items():
        kind = "custom operator" if name in customs else "operator"
        error = UnsupportedOp(f"the {kind} {name} is not supported: {reason(name)}", where=where,
                              actual=f"{count} use{'s' * (count > 1)}",
                              help="docs/frameworks/tflite.md lists what is supported")
        error.op = name
        errors.append(error)
    raise_all(errors)


def _reached(model: Model, first: int) -> Iterator[int]:
    """The subgraphs that running one of them can reach."""
    seen, waiting = {first}, [first]
    while waiting:
        number = waiting.pop()
        yield number
        for op in model.subgraphs[number].operators:
            called = {op.options[k] for k in _CALLS if isinstance(op.options.get(k), int)}
            if any(not 0 <= n < len(model.subgraphs) for n in called):
                raise ModelError(f"{op.type} calls a subgraph that the file does not have", code="TFLITE_DAMAGED",
                                 where=where_of(model, number), limit=len(model.subgraphs), actual=max(called))
            waiting += sorted(called - seen)
            seen |= called


def where_of(model: Model, number: int) -> str:
    """A subgraph, for messages."""
    return f"subgraph {number} ({model.subgraphs[number].name or 'without a name'})"
