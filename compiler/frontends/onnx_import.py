"""One walk over an ONNX model's nodes: fold what is constant, infer the rest, build the graph."""
from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, defs, helper

from compiler.errors import CompileError, ModelError, UnsupportedOp
from compiler.frontends import onnx_infer
from compiler.frontends.onnx_check import CONTROL_FLOW, domain_of, raise_all
from compiler.frontends.onnx_file import MOST_BYTES, to_array
from compiler.frontends.onnx_normalise import normalise
from compiler.ir import Graph, Node, numpy_dtype
from compiler.passes.folding import fold

#: More bytes are not worth folding into the program: the node stays.
_FOLD_LIMIT = 1 << 30
#: Results of operands up to this size are small, but for these operators, which make much of little.
_SMALL = 4096
_GROWING = frozenset({"ConstantOfShape", "Expand", "EyeLike", "OneHot", "Pad", "Range", "Resize", "Tile", "Upsample"})


class Importer:
    """Builds one graph from one converted model.

    Args:
        versions: version of every operator domain.
        base: folder for external data of tensors inside nodes.
        where: the model, for messages.
    """

    def __init__(self, versions: Mapping[str, int], base: Path | None, where: str) -> None:
        self.versions = dict(versions)
        self.base = base
        self.where = where
        self.graph = Graph()
        self.errors: list[CompileError] = []

    def run(self, model: onnx.ModelProto, constants: Mapping[str, np.ndarray],
            shapes: Mapping[str, tuple[int, ...]]) -> Graph:
        """Import a whole model. Raises: CompileError, ErrorList."""
        source, graph = model.graph, self.graph
        graph.name = source.name or "graph"
        graph.opsets = dict(self.versions)
        scope: dict[str, str] = {}
        for info in source.input:
            if info.name in shapes and info.name not in constants:
                dtype = helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type).name
                scope[info.name] = graph.add_input(info.name, shapes[info.name], dtype)
        used = {i for n in _all_nodes(source) for i in n.input} | {o.name for o in source.output}
        for name, array in constants.items():
            if name in used:
                scope[name] = graph.add_value(name, array.shape, array.dtype.name, array)
        self._initialisers(source, scope)
        self._nodes(source, scope)
        raise_all(self.errors)
        for info in source.output:
            if info.name not in scope:
                raise ModelError(f"nothing computes the output {info.name!r}", code="MODEL_INVALID", where=self.where)
            graph.outputs.append(scope[info.name])
        graph.remove_dead()
        return graph

    def _initialisers(self, source: onnx.GraphProto, scope: dict[str, str]) -> None:
        for tensor in source.initializer:
            if tensor.name not in scope:
                array = to_array(tensor, self.base, self.where)
                scope[tensor.name] = self._constant(tensor.name, array)
        for sparse in source.sparse_initializer:
            scope[sparse.values.name] = self._constant(sparse.values.name, _dense(sparse, self.base, self.where))

    def _nodes(self, source: onnx.GraphProto, scope: dict[str, str]) -> None:
        for proto in source.node:
            if any(i and i not in scope for i in proto.input):
                if not self.errors:
                    missing = [i for i in proto.input if i and i not in scope]
                    raise ModelError(f"node {proto.name!r} reads {missing[0]!r}, which nothing before it computes",
                                     code="MODEL_INVALID", where=self.where)
                continue  # follows from an error already noted
            try:
                self._node(proto, scope)
            except CompileError as error:
                error.where = error.where or f"node {proto.name!r}"
                self.errors.append(error)
                if len(self.errors) >= 20:
                    raise_all(self.errors)

    def _node(self, proto: onnx.NodeProto, scope: dict[str, str]) -> None:
        graph, domain = self.graph, domain_of(proto)
        if proto.op_type == "Constant" and not domain:
            scope[proto.output[0]] = self._constant(proto.output[0], _constant_value(proto, self.base, self.where))
            return
        inputs = [scope[i] if i else "" for i in proto.input]
        if proto.op_type in CONTROL_FLOW and not domain:
            self._branch(proto, inputs, scope)
            return
        version = self.versions[domain]
        attrs = self._attributes(proto, version)
        node = Node(proto.op_type, proto.name, inputs, list(proto.output), attrs, domain=domain)
        folded = self._fold(node)
        if folded is not None:
            for name, array in zip(proto.output, folded, strict=False):
                if name:
                    scope[name] = self._constant(name, array)
            return
        local = onnx.NodeProto()
        local.CopyFrom(proto)
        del local.input[:]
        local.input.extend(inputs)
        local.domain = domain
        facts = onnx_infer.infer_outputs(local, version, self.versions, graph.values, attrs)
        outputs = []
        for name, (shape, dtype) in zip(proto.output, facts, strict=True):
            scope[name] = graph.add_value(graph.fresh_name(name), shape, dtype) if name else ""
            outputs.append(scope[name])
        made = graph.add_node(node.op, inputs, outputs, node.attrs, name=proto.name,
                              sources=[proto.name] if proto.name else [], domain=domain)
        normalise(graph, made)

    def _attributes(self, proto: onnx.NodeProto, version: int) -> dict[str, Any]:
        attrs = dict(_defaults(proto.op_type, version, domain_of(proto)))
        for attribute in proto.attribute:
            attrs[attribute.name] = _attribute(attribute, self.base, self.where)
        return attrs

    def _fold(self, node: Node) -> list[np.ndarray] | None:
        values = [self.graph.values[i] if i else None for i in node.inputs]
        if node.op in ("Shape", "Size") and not node.domain:
            assert values[0] is not None
            shape = np.broadcast_to(np.int8(0), values[0].shape)
            return fold(node, [shape])
        if any(v is not None and v.const is None for v in values):
            return None
        given = sum(v.nbytes for v in values if v is not None)
        limit = MOST_BYTES if node.op == "ConstantOfShape" else _FOLD_LIMIT  # a fill is one element, repeated by a view
        if given > _FOLD_LIMIT or ((given > _SMALL or node.op in _GROWING) and self._result_bytes(node) > limit):
            return None
        try:
            return fold(node, [None if v is None else v.const for v in values], self.versions[""])
        except (ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError):
            return None  # inference then says what does not fit

    def _result_bytes(self, node: Node) -> int:
        """Bytes of a node's results, 0 where inference cannot tell (folding then says what is wrong)."""
        proto = onnx_infer.to_proto(node)
        try:
            facts = onnx_infer.infer_outputs(proto, self.versions[node.domain], self.versions, self.graph.values,
                                             node.attrs)
        except CompileError:
            return 0
        return sum(math.prod(shape) * max(numpy_dtype(dtype).itemsize, 1) for shape, dtype in facts if dtype)

    def _branch(self, proto: onnx.NodeProto, inputs: list[str], scope: dict[str, str]) -> None:
        """Take the known branch of an If in place of the node. Raises: UnsupportedOp CONTROL_FLOW otherwise."""
        condition = self.graph.const(inputs[0]) if proto.op_type == "If" else None
        if condition is None:
            error = UnsupportedOp(
                f"{proto.op_type} depends on run-time data", code="CONTROL_FLOW", where=f"node {proto.name!r}",
                help="export the model with the branch or loop resolved (for torch: torch.export, or tracing)")
            error.op, error.nodes = proto.op_type, (proto.name,)
            raise error
        wanted = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
        branch = next(a.g for a in proto.attribute if a.name == wanted)
        inner = dict(scope)
        for tensor in branch.initializer:
            inner.pop(tensor.name, None)
        self._initialisers(branch, inner)
        self._nodes(branch, inner)
        for name, result in zip(proto.output, branch.output, strict=True):
            if name and result.name in inner:
                scope[name] = inner[result.name]

    def _constant(self, name: str, array: np.ndarray) -> str:
        return self.graph.add_value(self.graph.fresh_name(name), array.shape, array.dtype.name, array)


def _all_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Nodes of the graph and of every subgraph, which may read outer values."""
    found: list[onnx.NodeProto] = []
    for node in graph.node:
        found.append(node)
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs):
                found += _all_nodes(inner)
                found.append(onnx.NodeProto(input=[o.name for o in inner.output]))
    return found


@lru_cache(maxsize=2048)
def _defaults(op: str, version: int, domain: str) -> tuple[tuple[str, Any], ...]:
    schema = defs.get_schema(op, version, domain)
    return tuple((name, _attribute(a.default_value, None, "")) for name, a in schema.attributes.items()
                 if a.default_value.type != AttributeProto.UNDEFINED)


def _attribute(attribute: AttributeProto, base: Path | None, where: str) -> Any:
    kind = attribute.type
    if kind == AttributeProto.STRING:
        return attribute.s.decode("utf-8", "replace")
    if kind == AttributeProto.STRINGS:
        return [s.decode("utf-8", "replace") for s in attribute.strings]
    if kind == AttributeProto.TENSOR:
        return to_array(attribute.t, base, where)
    if kind in (AttributeProto.GRAPH, AttributeProto.GRAPHS, AttributeProto.SPARSE_TENSOR):
        raise UnsupportedOp(f"attribute {attribute.name!r} holds a graph or sparse tensor",
                            code="UNSUPPORTED_ATTRIBUTE")
    value = helper.get_attribute_value(attribute)
    return list(value) if kind in (AttributeProto.INTS, AttributeProto.FLOATS, AttributeProto.TENSORS) else value


def _constant_value(proto: onnx.NodeProto, base: Path | None, where: str) -> np.ndarray:
    attribute = proto.attribute[0]
    if attribute.name == "value":
        return to_array(attribute.t, base, where)
    if attribute.name == "sparse_value":
        return _dense(attribute.sparse_tensor, base, where)
    kinds: dict[str, Any] = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32,
                             "value_floats": np.float32, "value_string": object, "value_strings": object}
    return np.array(_attribute(attribute, base, where), kinds[attribute.name])


def _dense(sparse: onnx.SparseTensorProto, base: Path | None, where: str) -> np.ndarray:
    values, indices = to_array(sparse.values, base, where), to_array(sparse.indices, base, where)
    if any(d < 0 for d in sparse.dims) or math.prod(sparse.dims) * values.dtype.itemsize > _FOLD_LIMIT:
        raise ModelError("a sparse tensor is too large to be made dense", code="TENSOR_DATA", where=where,
                         limit=f"{_FOLD_LIMIT} bytes", actual=list(sparse.dims))
    dense = np.zeros(tuple(sparse.dims), values.dtype)
    try:
        if indices.ndim == 1:
            dense.reshape(-1)[indices] = values
        else:
            dense[tuple(indices.T)] = values
    except IndexError:
        raise ModelError("a sparse tensor has an index outside its shape", code="TENSOR_DATA", where=where) from None
    return dense


