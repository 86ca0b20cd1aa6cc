"""One walk over an ONNX model's nodes: fold what is constant, infer the rest, build the graph.

Nothing valid is refused: what has no static form (control flow, sequences, strings, sizes that depend on data,
operators that only a runtime knows) becomes a node or value of the host.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from compiler.errors import CompileError, ModelError
from compiler.frontends.onnx import infer as onnx_infer
from compiler.frontends.onnx import opset as onnx_opset
from compiler.frontends.onnx import types as onnx_types
from compiler.frontends.onnx.attributes import attributes, constant_value, dense_array, is_opaque
from compiler.frontends.onnx.check import domain_of, has_schema, raise_all
from compiler.frontends.onnx.claims import Claims
from compiler.frontends.onnx.file import MOST_BYTES, embed_tensors, to_array
from compiler.frontends.onnx.labels import numbered
from compiler.frontends.onnx.normalise import normalise
from compiler.frontends.onnx.runtime import runtime_types
from compiler.frontends.onnx.scan import as_nodes
from compiler.frontends.onnx.subgraph import captures, renamed, subgraphs
from compiler.ir import OPSET, Graph, Node
from compiler.passes.folding import fold

#: More bytes are not worth folding into the program: the node stays.
_FOLD_LIMIT = 1 << 30
#: Results of operands up to this size are small, but for these operators, which make much of little.
_SMALL = 4096
#: Operators that count what they find in data: a size the model claims is that of one example.
_COUNTING = frozenset({"Compress", "If", "ImageDecoder", "Loop", "NonMaxSuppression", "NonZero", "Scan", "SequenceMap",
                       "StringSplit", "Unique"})
_GROWING = frozenset({"ConstantOfShape", "Expand", "EyeLike", "OneHot", "Pad", "Range", "Resize", "Tile", "Upsample"})


class Importer:
    """Builds one graph from one model.

    Args:
        versions: version of every operator domain the model imports.
        base: folder for external data of tensors inside nodes.
        where: the model, for messages.
        claims: what the model says of its values, for the shapes its inputs have.
    """

    def __init__(self, versions: Mapping[str, int], base: Path | None, where: str, claims: Claims) -> None:
        self.versions = dict(versions)
        self.base = base
        self.where = where
        self.claims = claims
        self.graph = Graph()
        self.errors: list[CompileError] = []
        self.reserved: frozenset[str] = frozenset()  # names of the model's outputs
        self.depth = 0  # of the branches being taken

    def run(self, model: onnx.ModelProto, constants: Mapping[str, np.ndarray],
            shapes: Mapping[str, tuple[int, ...] | None]) -> Graph:
        """Import a whole model, whose inputs have the types to compile for. Raises: CompileError, ErrorList."""
        source, graph = model.graph, self.graph
        graph.name = source.name or "graph"
        self.reserved = frozenset(o.name for o in source.output)
        graph.opsets = {**self.versions, "": max(self.versions[""], OPSET)}
        scope: dict[str, str] = {}
        for info in source.input:
            if info.name in shapes and info.name not in constants:
                if info.type.HasField("tensor_type") and onnx_types.is_unknown(info.type):
                    raise ModelError(f"element type number {info.type.tensor_type.elem_type} is unknown",
                                     code="TENSOR_DTYPE", where=f"{self.where}: input {info.name!r}")
                scope[info.name] = onnx_types.add_value(graph, info.name, info.type)
                graph.inputs.append(info.name)
        used = {i for n in source.node for i in (*n.input, *captures(n))} | {o.name for o in source.output}
        for name, array in constants.items():
            if name in used:
                scope[name] = self._constant(name, array)
        self._initialisers(source, scope)
        self._nodes(source, scope)
        raise_all(self.errors)
        for info in source.output:
            if info.name not in scope:
                raise ModelError(f"nothing computes the output {info.name!r}", code="MODEL_INVALID", where=self.where)
            graph.outputs.append(self._output(info.name, scope[info.name]))
        graph.remove_dead()
        return graph

    def _output(self, name: str, value: str) -> str:
        """The value under the model's name for it: a result of an `If` that was resolved has another one."""
        if value == name or name in self.graph.values:
            return value
        found = onnx_types.type_of(self.graph.value(value))
        onnx_types.add_value(self.graph, name, found)
        host = onnx_types.host_reason(self.graph, [value], [name])
        producer = self.graph.producer(value)
        self.graph.add_node("Identity", [value], [name], host=host, sources=producer.sources if producer else ())
        return name

    def _initialisers(self, source: onnx.GraphProto, scope: dict[str, str]) -> None:
        for tensor in source.initializer:
            if tensor.name not in scope:
                array = to_array(tensor, self.base, self.where)
                scope[tensor.name] = self._constant(tensor.name, array)
        for sparse in source.sparse_initializer:
            scope[sparse.values.name] = self._constant(sparse.values.name, dense_array(sparse, self.base, self.where))

    def _nodes(self, source: onnx.GraphProto, scope: dict[str, str]) -> None:
        for proto in source.node:
            missing = next((i for i in (*proto.input, *captures(proto)) if i and i not in scope), "")
            if missing and not self.errors:
                raise ModelError(f"node {proto.name!r} reads {missing!r}, which nothing before it computes",
                                 code="MODEL_INVALID", where=self.where)
            if missing:
                continue  # follows from an error already noted
            try:
                self._node(proto, scope)
            except CompileError as error:
                error.where = error.where or f"node {proto.name!r}"
                self.errors.append(error)
                if len(self.errors) >= 20:
                    raise_all(self.errors)

    # ---- one node ------------------------------------------------------------------------------------------------

    def add(self, proto: onnx.NodeProto, scope: dict[str, str]) -> None:
        """Import one node; `scope` has the graph's value for every name it reads and gains those it computes."""
        self._node(proto, scope)

    def _node(self, proto: onnx.NodeProto, scope: dict[str, str]) -> None:
        domain = domain_of(proto)
        version = self.versions[domain]
        if proto.op_type == "Constant" and not domain:
            scope[proto.output[0]] = self._constant(proto.output[0], constant_value(proto, self.base, self.where))
        elif not has_schema(proto.op_type, domain, version):
            self._keep(proto, scope, "only ONNX Runtime knows the operator")
        elif any(True for _ in subgraphs(proto)):
            if not self._branch(proto, scope) and not self._mapped(proto, version, scope):
                self._keep(proto, scope, "control flow")
        elif not domain and not onnx_opset.same_meaning(proto.op_type, version):
            self._convert(proto, version, scope)
        elif (split := numbered(proto)) is not None:
            self._labelled(proto, *split, scope)
        else:
            self._plain(proto, version if domain else max(version, OPSET), scope)

    def _plain(self, proto: onnx.NodeProto, version: int, scope: dict[str, str], host: str = "",
               stated: int = 0) -> None:
        """A node whose schema at `version` says what it means; `stated` is what `Node.version` will be."""
        graph, domain = self.graph, domain_of(proto)
        inputs = [scope[i] if i else "" for i in proto.input]
        if any(is_opaque(a) for a in proto.attribute):
            self._keep(proto, scope, host)
            return
        attrs = attributes(proto, version, domain, self.base, self.where)
        folded = None if host else self._fold(
            Node(proto.op_type, proto.name, inputs, list(proto.output), attrs, domain=domain), version)
        if folded is not None:
            for name, array in zip(proto.output, folded, strict=False):
                if name:
                    scope[name] = self._constant(name, array)
            return
        local = onnx.NodeProto()
        local.CopyFrom(proto)
        local.input[:] = inputs
        outputs = self._outputs(local, version, attrs, (), scope)
        host = host or onnx_types.host_reason(graph, inputs, outputs)
        made = graph.add_node(proto.op_type, inputs, outputs, attrs, name=proto.name, domain=domain, host=host,
                              sources=[proto.name] if proto.name else [], version=stated)
        if not host:
            normalise(graph, made)

    def _labelled(self, proto: onnx.NodeProto, twin: onnx.NodeProto, texts: np.ndarray, scope: dict[str, str]) -> None:
        """A classifier as its twin with numbers for labels, which may run anywhere, and the host's look-up of texts."""
        label, name = proto.output[0], f"{proto.name}.labels"
        table, number = f"{name}.texts", f"{name}.numbers"
        twin.output[0] = number
        self._plain(twin, self.versions[twin.domain], scope)
        scope[table] = self._constant(table, texts)
        self._plain(onnx.helper.make_node("Gather", [table, number], [label], name, axis=0), OPSET, scope)

    def _convert(self, proto: onnx.NodeProto, version: int, scope: dict[str, str]) -> None:
        """Import what a node of an older or newer opset means at `OPSET`, or keep it for the host as it is."""
        values = [self.graph.value(scope[i]) if i else None for i in proto.input]
        types = [onnx_types.UNKNOWN if v is None else onnx_types.type_of(v) for v in values]
        found = onnx_opset.converted(proto, version, types, [None if v is None else v.const for v in values])
        if found is None:
            self._plain(proto, version, scope, f"opset {version} defines it differently", version)
            return
        self._initialisers(found, scope)
        for node in found.node:
            if node.op_type == "Constant":
                self._node(node, scope)
            else:
                self._plain(node, OPSET, scope, stated=OPSET if version > OPSET else 0)

    def _keep(self, proto: onnx.NodeProto, scope: dict[str, str], host: str) -> None:
        """Keep a node as it was written, with its subgraphs; what these read becomes inputs of the node."""
        graph, domain = self.graph, domain_of(proto)
        read = captures(proto)
        local = renamed(proto, {n: scope[n] for n in (*proto.input, *read) if n})
        local.domain = domain
        embed_tensors(local, self.base, self.where)
        captured = captures(local)
        inputs, version = [*local.input, *captured], self.versions[domain]
        known = has_schema(proto.op_type, domain, version)
        outputs = self._outputs(local, version if known else 0, {}, captured, scope)
        local.output[:] = outputs
        host = host or onnx_types.host_reason(graph, inputs, outputs) or "an attribute that is no plain value"
        graph.add_node(proto.op_type, inputs, outputs, name=proto.name, domain=domain, host=host, version=version,
                       proto=local.SerializeToString(), sources=[proto.name] if proto.name else [])

    def _outputs(self, proto: onnx.NodeProto, version: int, attrs: dict[str, object], captured: Sequence[str],
                 scope: dict[str, str]) -> list[str]:
        """Define the outputs of a node, with its inputs already renamed; version 0 for an operator without a schema."""
        proto.domain = domain_of(proto)
        found = [onnx_types.UNKNOWN] * len(proto.output)
        if version:
            versions = self.versions if proto.domain else {**self.versions, "": version}
            found = onnx_infer.infer_outputs(proto, version, versions, self.graph.values, attrs, captured)
        elif not captured:
            found = runtime_types(proto, self.versions, self.graph.values)
        sized = not captured and proto.op_type not in _COUNTING and not any(
            self.graph.values[i].host for i in proto.input if i)
        outputs = []
        for name, kind in zip(proto.output, found, strict=True):
            if onnx_types.static_shape(kind) is None:
                kind = onnx_types.completed(kind, self.claims.get(name), sized)
            scope[name] = onnx_types.add_value(self.graph, self._name(name), kind) if name else ""
            outputs.append(scope[name])
        return outputs

    def _fold(self, node: Node, version: int) -> list[np.ndarray] | None:
        values = [self.graph.values[i] if i else None for i in node.inputs]
        if node.op in ("Shape", "Size") and not node.domain and values[0] is not None and not values[0].host:
            return fold(node, [np.broadcast_to(np.int8(0), values[0].shape)])
        if any(v is not None and v.const is None for v in values):
            return None
        given = sum(v.nbytes for v in values if v is not None)
        limit = MOST_BYTES if node.op == "ConstantOfShape" else _FOLD_LIMIT  # a fill is one element, repeated by a view
        may_grow = given > _SMALL or node.op in _GROWING
        if given > _FOLD_LIMIT or (may_grow and self._result_bytes(node, version) > limit):
            return None
        try:
            return fold(node, [None if v is None else v.const for v in values], version)
        except (ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError):
            return None  # inference then says what does not fit

    def _result_bytes(self, node: Node, version: int) -> int:
        """Bytes of a node's results, 0 where inference cannot tell (folding then says what is wrong)."""
        try:
            found = onnx_infer.infer_outputs(onnx_infer.to_proto(node), version, self.versions, self.graph.values,
                                             node.attrs)
        except CompileError:
            return 0
        return sum(onnx_types.nbytes(t) for t in found)

    def _branch(self, proto: onnx.NodeProto, scope: dict[str, str]) -> bool:
        """Take the known branch of an If in place of the node; False when there is no such thing."""
        is_if = proto.op_type == "If" and not domain_of(proto)
        condition = self.graph.const(scope[proto.input[0]]) if is_if else None
        if condition is None:
            return False
        wanted = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
        branch = next(a.g for a in proto.attribute if a.name == wanted)
        inner = dict(scope)
        for tensor in branch.initializer:
            inner.pop(tensor.name, None)
        self.depth += 1
        self._initialisers(branch, inner)
        self._nodes(branch, inner)
        self.depth -= 1
        for name, result in zip(proto.output, branch.output, strict=True):
            if name and result.name in inner:
                scope[name] = inner[result.name]
        return True

    def _mapped(self, proto: onnx.NodeProto, version: int, scope: dict[str, str]) -> bool:
        """Take the body of a Scan that carries nothing, for all entries at once; False when it is none."""
        def shape_of(name: str) -> tuple[int, ...] | None:
            value = self.graph.values[scope[name]]
            return None if value.host else value.shape

        nodes = [] if domain_of(proto) else as_nodes(proto, shape_of, version)
        for node in nodes:
            self._node(node, scope)
        return bool(nodes)

    def _name(self, name: str) -> str:
        return self.graph.fresh_name(f"{name}.inner" if self.depth and name in self.reserved else name)

    def _constant(self, name: str, array: np.ndarray) -> str:
        if array.dtype.kind in "SU":
            array = array.astype(object)  # the one spelling of strings
        return self.graph.add_value(self._name(name), array.shape, array.dtype.name, array)

