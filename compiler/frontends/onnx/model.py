"""The ONNX frontend: a model file, or a model in memory, to a static `compiler.ir.Graph`.

Order: parse, check operators, fix input shapes, take large tensors out, onnx's checker, inline functions, then one walk
over the nodes that brings each to the graph's opset, folds what is constant and infers the rest with everything known.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import defs, helper, inliner

from compiler.errors import ModelError
from compiler.frontends.files import ModelFiles
from compiler.frontends.inputs import Given, check_types
from compiler.frontends.onnx import check as onnx_check
from compiler.frontends.onnx import opset as onnx_opset
from compiler.frontends.onnx.claims import Claims
from compiler.frontends.onnx.file import read_model, to_array
from compiler.frontends.onnx.importer import Importer
from compiler.frontends.onnx.inputs import resolve_shapes
from compiler.frontends.onnx.subgraph import all_nodes
from compiler.frontends.onnx.types import dtype_of
from compiler.ir import OPSET, Graph

#: Tensors of more bytes are kept out of the model while onnx's own tools copy it around.
_LARGE = 2048


def load(files: ModelFiles, given: Given) -> Graph:
    """The frontend's face (see `compiler.frontends.load`). Raises: as `from_file`; ShapeError INPUT_DTYPE."""
    model = read_model(files.main)
    _check_types(model, given)
    return from_model(model, files.main.parent, given.shapes or None, given.batch, where=str(files.main))


def from_file(
    path: str | Path, input_shapes: Mapping[str, Sequence[int]] | None = None, batch: int | None = None
) -> Graph:
    """Read an ONNX file into a graph with static shapes.

    Args:
        path: the .onnx file; external data is looked for beside it.
        input_shapes: shape by input name; binds the model's symbols.
        batch: first dimension of the inputs (see `onnx_inputs.resolve_shapes`).
    Raises:
        ModelError: the file or the model is not valid (one code for each reason).
        UnsupportedOp: operators nobody knows, all of them listed.
        ShapeError: an input without a static shape, or shapes that contradict each other.
        ErrorList: several of these.
    """
    path = Path(path)
    return from_model(read_model(path), path.parent, input_shapes, batch, where=str(path))


def from_model(
    model: onnx.ModelProto,
    base: Path | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    batch: int | None = None,
    *,
    where: str = "",
) -> Graph:
    """`load` for a model in memory, which is changed on the way: pass a copy to keep it."""
    onnx_check.check_text(model, where)
    if not model.opset_import:
        model.opset_import.append(helper.make_opsetid("", 1))
    versions = {"": onnx_opset.default_version(model), **onnx_opset.other_versions(model)}
    _name_nodes(model.graph)
    onnx_check.check_operators(model, versions)
    true_inputs = _true_inputs(model)
    constants = _take_constants(model, base, where)
    claims = Claims(model.graph)
    _relax(model)
    onnx_check.check_model(model, where)
    shapes, notes = resolve_shapes(true_inputs, input_shapes, batch)
    claims.bind(true_inputs, shapes)
    _set_input_shapes(model, shapes)
    if model.functions:
        model = _inlined(model)
        _name_nodes(model.graph)
        onnx_check.check_operators(model, versions)
    graph = Importer(versions, base, where, claims).run(model, constants, shapes)
    graph.notes = notes
    return graph


def _check_types(model: onnx.ModelProto, given: Given) -> None:
    """Compare the element types that the user gives with the model's own."""
    if given.dtypes:
        check_types({i.name: dtype_of(i.type) for i in _true_inputs(model)}, given.dtypes)


def operators() -> dict[str, str]:
    """See `compiler.frontends.operators`: all of ONNX's; what the device cannot run is the host's."""
    return dict.fromkeys(known_operators(), "")


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without functions of its own; bodies written for another opset are converted. Raises: ModelError."""
    versions = {o.domain: o.version for o in model.opset_import}
    for function in model.functions:
        for imported in function.opset_import:
            if imported.domain in versions and _means_the_same(function, imported, versions[imported.domain]):
                imported.version = versions[imported.domain]
    result = inliner.inline_local_functions(model)
    if result.functions:
        try:
            result = inliner.inline_local_functions(model, True)
        except Exception as error:  # onnx's converter asserts where it cannot
            raise ModelError("functions of another opset than the model's cannot be converted", code="MODEL_INVALID",
                             where=", ".join(f.name for f in result.functions), actual=_first_line(error),
                             help="export the model and its functions at one opset") from None
    del result.functions[:]
    return result


def _means_the_same(function: onnx.FunctionProto, imported: onnx.OperatorSetIdProto, version: int) -> bool:
    """Whether a function's operators of a domain are defined alike at the version it imports and at another."""
    domain, versions = imported.domain, (imported.version, version)
    names = {n.op_type for n in all_nodes(onnx.GraphProto(node=function.node)) if n.domain == domain}
    known = all(defs.has(n, v, domain) for n in names for v in versions)
    return known and all(len({defs.get_schema(n, v, domain).since_version for v in versions}) == 1 for n in names)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Give every node a unique name, so that messages and debug information can point at it."""
    nodes = list(all_nodes(graph))
    taken = {n.name for n in nodes}
    seen: set[str] = set()
    for index, node in enumerate(nodes):
        if not node.name or node.name in seen:
            stem = node.name or f"{node.op_type}_{index}"
            name, k = stem, 0
            while name in taken:
                k += 1
                name = f"{stem}_{k}"
            node.name = name
            taken.add(name)
        seen.add(node.name)


def _true_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Copies of the inputs that are no initialisers (IR 3 lists those too)."""
    fixed = {t.name for t in model.graph.initializer} | {t.values.name for t in model.graph.sparse_initializer}
    return [onnx.ValueInfoProto.FromString(i.SerializeToString()) for i in model.graph.input if i.name not in fixed]


def _take_constants(model: onnx.ModelProto, base: Path | None, where: str) -> dict[str, np.ndarray]:
    """Return every initialiser as an array, and turn the large ones into declared inputs of the model."""
    graph = model.graph
    constants: dict[str, np.ndarray] = {}
    small: list[onnx.TensorProto] = []
    declared = {i.name for i in graph.input}
    hoisted = _large_constant_nodes(graph)
    for tensor in [*graph.initializer, *hoisted]:
        array = constants[tensor.name] = to_array(tensor, base, where)
        if array.nbytes <= _LARGE and tensor.data_location != onnx.TensorProto.EXTERNAL:
            small.append(tensor)
        elif tensor.name not in declared:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, array.shape))
    kept = [onnx.TensorProto.FromString(t.SerializeToString()) for t in small]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return constants


def _large_constant_nodes(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """Take Constant nodes with large tensors out of the graph and return the tensors, named as the outputs."""
    hoisted: list[onnx.TensorProto] = []
    for node in list(graph.node):
        if node.op_type != "Constant" or len(node.attribute) != 1 or node.attribute[0].name != "value":
            continue
        if node.attribute[0].t.ByteSize() > _LARGE:
            tensor = onnx.TensorProto()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            hoisted.append(tensor)
            graph.node.remove(node)
    return hoisted


def _relax(model: onnx.ModelProto) -> None:
    """Accept what runtimes accept: outputs without a shape, IR 3 initialisers that are not listed as inputs."""
    model.ir_version = max(model.ir_version, 4)
    del model.graph.value_info[:]
    for info in model.graph.output:
        if info.type.HasField("tensor_type") and not info.type.tensor_type.HasField("shape"):
            info.type.tensor_type.shape.SetInParent()


def _set_input_shapes(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...] | None]) -> None:
    """Write static shapes into the inputs and drop what the model claims about its outputs."""
    for info in model.graph.input:
        shape = shapes.get(info.name)
        if shape is not None:
            info.CopyFrom(helper.make_tensor_value_info(info.name, info.type.tensor_type.elem_type, shape))
    for info in model.graph.output:
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.ClearField("shape")


@cache
def known_operators() -> tuple[str, ...]:
    """Names of the operators of ONNX's own domain at `OPSET`, sorted."""
    names = {s.name for s in defs.get_all_schemas() if s.domain == "" and defs.has(s.name, OPSET, "")}
    return tuple(sorted(names))
