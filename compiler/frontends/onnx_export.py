"""A graph back to an ONNX model: for operators that run on the host, and for tests that compare with a runtime.

Fused forms are written as the operators they stand for.
"""
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from compiler.frontends.onnx_infer import to_attribute
from compiler.frontends.onnx_subgraph import captures, renamed
from compiler.frontends.onnx_types import is_unknown, type_of
from compiler.ir import OPSET, Graph, Node, Value, numpy_dtype

#: Scalar-engine function -> ONNX operator and its attributes; the rest needs more than one operator.
_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}), "sigmoid": ("Sigmoid", {}), "tanh": ("Tanh", {}), "softplus": ("Softplus", {}),
    "mish": ("Mish", {}), "exp": ("Exp", {}), "sqrt": ("Sqrt", {}), "erf": ("Erf", {}), "abs": ("Abs", {}),
    "gelu": ("Gelu", {"approximate": "none"}), "gelu_tanh": ("Gelu", {"approximate": "tanh"}),
}


def to_model(graph: Graph) -> onnx.ModelProto:
    """Return a model that computes what the graph computes; weights are embedded (below 2 GB in all)."""
    writer = _Writer(graph)
    for node in graph.nodes:
        writer.node(node)
    used = {i for p in writer.nodes for i in (*p.input, *captures(p))} | set(graph.outputs)
    initialisers = [_tensor(v) for v in graph.constants() if v.name in used] + writer.extra
    model = helper.make_model(
        helper.make_graph(writer.nodes, graph.name, [_info(graph.value(i)) for i in graph.inputs],
                          [_info(graph.value(o)) for o in graph.outputs], initialisers),
        opset_imports=[helper.make_opsetid(d, v) for d, v in {**graph.opsets, "": graph.opsets.get("", OPSET)}.items()])
    model.ir_version = min(model.ir_version, 10)
    return model


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

    def node(self, node: Node) -> None:
        """Write one node with its epilogue."""
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
