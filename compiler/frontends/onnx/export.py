"""A graph back to an ONNX model: for operators that run on the host, and for tests that compare with a runtime.

Fused forms are written as the operators they stand for.
"""
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from compiler.errors import CompileError
from compiler.frontends.onnx.infer import to_attribute
from compiler.frontends.onnx.opset import same_meaning
from compiler.frontends.onnx.subgraph import captures, renamed
from compiler.frontends.onnx.types import is_unknown, type_of
from compiler.frontends.onnx.versions import Interval, common, drop_defaults, intervals
from compiler.ir import OPSET, Graph, Node, Value, numpy_dtype

#: Scalar-engine function -> ONNX operator and its attributes; the rest needs more than one operator.
_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}), "sigmoid": ("Sigmoid", {}), "tanh": ("Tanh", {}), "softplus": ("Softplus", {}),
    "mish": ("Mish", {}), "exp": ("Exp", {}), "sqrt": ("Sqrt", {}), "erf": ("Erf", {}), "abs": ("Abs", {}),
    "gelu": ("Gelu", {"approximate": "none"}), "gelu_tanh": ("Gelu", {"approximate": "tanh"}),
}
#: A fused comparison, as the engines call it -> the operator.
_COMPARISONS = {"is_gt": "Greater", "is_ge": "GreaterOrEqual", "is_lt": "Less", "is_le": "LessOrEqual"}

#: A serialised message has to stay below 2 GB; some of it is not constants.
_MOST_BYTES = (1 << 31) - (1 << 24)
#: First version of the format in which constants need not be inputs.
_OLDEST_IR = 4


def to_model(graph: Graph) -> onnx.ModelProto:
    """Return a model that computes what the graph computes, at the lowest opsets at which it means the same.

    Raises:
        CompileError: OPSET_CONFLICT when two nodes have no version in common (see `version_intervals`);
            MODEL_TOO_LARGE for 2 GB of constants and more.
    """
    writer = _Writer(graph)
    found = [(node.name, _intervals(graph, node, writer.node(node))) for node in graph.nodes]
    versions = {domain: low for domain, (low, _) in sorted(common(found).items())} or {"": OPSET}
    for proto in writer.nodes:
        drop_defaults(proto, versions)
    used = {i for p in writer.nodes for i in (*p.input, *captures(p))} | set(graph.outputs)
    constants = [v for v in graph.constants() if v.name in used]
    _check_size(graph, constants)
    model = helper.make_model(
        helper.make_graph(writer.nodes, graph.name, [_info(graph.value(i)) for i in graph.inputs],
                          [_info(graph.value(o)) for o in graph.outputs], [*map(_tensor, constants), *writer.extra]),
        opset_imports=[helper.make_opsetid(d, v) for d, v in versions.items()])
    model.ir_version = max(helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True), _OLDEST_IR)
    return model


def version_intervals(graph: Graph, node: Node) -> dict[str, Interval]:
    """For every operator domain the node uses, the first and the last version at which it means the same.

    Nodes whose intervals for one domain do not meet cannot be written into one model.
    Raises: CompileError OPSET_CONFLICT when there is no version for the node alone.
    """
    return _intervals(graph, node, _Writer(graph).node(node))


def _intervals(graph: Graph, node: Node, protos: list[onnx.NodeProto]) -> dict[str, Interval]:
    """What the node's protos have in common."""
    types = {n: type_of(graph.value(n)) for n in (*node.inputs, *node.outputs) if n}
    return common([(node.name, intervals(p, _meant_at(graph, node, p.op_type), types)) for p in protos])


def _meant_at(graph: Graph, node: Node, op: str) -> dict[str, int]:
    """The version of every domain that says what an operator written for a node means."""
    version = graph.opsets.get("", OPSET)
    if not node.domain and node.version:
        version = node.version
    elif not node.domain and not same_meaning(op, version):
        version = OPSET  # made by a pass, in a graph with nodes of a newer opset
    found = {**graph.opsets, "": version}
    found.setdefault(node.domain, node.version or 1)
    return found


def _check_size(graph: Graph, constants: list[Value]) -> None:
    size = sum(v.nbytes for v in constants)
    if size >= _MOST_BYTES:
        raise CompileError("the constants of a part for the CPU do not fit one ONNX model", code="MODEL_TOO_LARGE",
                           where=f"graph {graph.name!r}", limit=f"{_MOST_BYTES} bytes", actual=f"{size} bytes",
                           help="let fewer operators run on the CPU (--cpu-ops, --device-ops), or cut the model")


def _tensor(value: Value) -> onnx.TensorProto:
    assert value.const is not None
    return numpy_helper.from_array(np.ascontiguousarray(value.const).reshape(value.shape), value.name)


def _info(value: Value) -> onnx.ValueInfoProto:
    found = type_of(value)
    return onnx.ValueInfoProto(name=value.name, type=None if is_unknown(found) else found)


class _Writer:
    """Collects ONNX nodes and the constants that expanding fused forms needs."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.extra: list[onnx.TensorProto] = []
        self.count = 0

    def node(self, node: Node) -> list[onnx.NodeProto]:
        """Write one node with its epilogue; returns what was written for it."""
        before = len(self.nodes)
        steps = list(node.attrs.get("epilogue", ()))
        inputs = node.inputs
        if "epilogue" in node.attrs:
            inputs = inputs[:3] if node.op == "Affine" else inputs[:2]
        if node.op in ("Conv", "ConvTranspose") and steps and steps[0][0] == "bias":
            inputs = [*inputs, node.inputs[steps.pop(0)[1]]]
        names = [self._fresh() for _ in steps] + [node.output]
        self._body(node, inputs, [names[0], *node.outputs[1:]])
        for step, source, target in zip(steps, names[:-1], names[1:], strict=True):
            self._step(node, step, source, target)
        return self.nodes[before:]

    def _body(self, node: Node, inputs: list[str], outputs: list[str]) -> None:
        if node.proto:
            self.nodes.append(self._kept(node))
        elif node.op == "Affine":
            rank = len(self.graph.shape(node.inputs[0]))
            scaled = self._fresh()
            scale, shift = (self._column(i, rank) for i in inputs[1:3])
            self._emit("Mul", [inputs[0], scale], [scaled])
            self._emit("Add", [scaled, shift], outputs)
        elif node.op == "Silu":
            gate = self._fresh()
            self._emit("Sigmoid", inputs, [gate])
            self._emit("Mul", [inputs[0], gate], outputs)
        else:
            attrs = {k: to_attribute(v) for k, v in node.attrs.items() if k != "epilogue" and v is not None}
            self._emit(node.op, inputs, outputs, attrs, node.domain, node.name)

    def _kept(self, node: Node) -> onnx.NodeProto:
        """The node as it was written, reading and writing the graph's names of today."""
        proto = onnx.NodeProto.FromString(node.proto)
        before = [*proto.input, *captures(proto)]
        result = renamed(proto, dict(zip(before, node.inputs, strict=True)), self.graph.values)
        result.input[:] = node.inputs[:len(proto.input)]
        result.output[:] = node.outputs
        result.name = node.name
        return result

    def _step(self, node: Node, step: tuple[Any, ...], source: str, target: str) -> None:
        kind, *arguments = step
        dtype = self.graph.dtype(node.output)
        if kind == "bias":
            name = node.inputs[arguments[0]]
            rank = len(self.graph.shape(node.output))
            self._emit("Add", [source, name if node.op == "MatMul" else self._column(name, rank)], [target])
        elif kind == "add":
            self._emit("Add", [source, node.inputs[arguments[0]]], [target])
        elif kind == "clip":
            self._emit("Clip", [source, *(self._number(a, dtype) for a in arguments)], [target])
        elif kind == "compare":
            rank = len(self.graph.shape(node.output))
            self._emit(_COMPARISONS[arguments[1]], [source, self._column(node.inputs[arguments[0]], rank)], [target])
        elif kind == "as":
            self._emit("Cast", [source], [target], {"to": helper.np_dtype_to_tensor_dtype(numpy_dtype(arguments[0]))})
        elif arguments[0] == "silu":
            gate = self._fresh()
            self._emit("Sigmoid", [source], [gate])
            self._emit("Mul", [source, gate], [target])
        elif arguments[0] == "prelu":
            self._emit("LeakyRelu", [source], [target], {"alpha": arguments[1]["alpha"]})
        else:
            op, attrs = _ACTIVATIONS[arguments[0]]
            self._emit(op, [source], [target], attrs)

    def _emit(self, op: str, inputs: list[str], outputs: list[str], attrs: dict[str, Any] | None = None,
              domain: str = "", name: str = "") -> None:
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        self.nodes.append(helper.make_node(op, inputs, outputs, name, domain=domain, **(attrs or {})))

    def _fresh(self) -> str:
        while True:
            self.count += 1
            name = f"_x{self.count}"
            if name not in self.graph.values:
                return name

    def _constant(self, array: np.ndarray) -> str:
        name = self._fresh()
        self.extra.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    def _number(self, value: float, dtype: str) -> str:
        return self._constant(np.array(value, numpy_dtype(dtype)))

    def _column(self, name: str, rank: int) -> str:
        array = self.graph.const(name)
        assert array is not None
        return self._constant(array.reshape(-1, *([1] * (rank - 2))))
