"""Small ONNX segments and programs around them, for tests of the host side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from compiler.backend import build
from isa.lang import TileProgram
from isa.program import Node, Program, Stage, TensorInfo

TARGET = "trn1.2xlarge"
ROWS, COLUMNS = 8, 16


def tensor(name: str, kind: int = TensorProto.FLOAT, shape: Sequence[int | str] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[onnx.NodeProto], inputs: Sequence[Any], outputs: Sequence[Any], version: int = 18, **more: Any
) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "segment", list(inputs), list(outputs), **more)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=9)


def cpu_program(segment: onnx.ModelProto, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]) -> Program:
    """A program that is one CPU segment."""
    node = Node("c0", "cpu", tuple(i.name for i in inputs), tuple(o.name for o in outputs), model="cpu/c0.onnx")
    return Program("host", TARGET, "v2", inputs, outputs, [node], [], {"cpu/c0.onnx": segment.SerializeToString()})


def relu_stage() -> Stage:
    """h -> g = relu(h), [ROWS, COLUMNS] fp32."""
    p = TileProgram(TARGET)
    h, g = p.input("h", (ROWS, COLUMNS), "fp32"), p.output("g", (ROWS, COLUMNS), "fp32")
    with p.layer("relu", "Relu", "relu"):
        loaded, made = p.sbuf((ROWS, COLUMNS), "fp32"), p.sbuf((ROWS, COLUMNS), "fp32")
        p.dma(loaded, h)
        p.activation(made, loaded, "relu")
        p.dma(g, made)
    return build(p)


def sandwich() -> Program:
    """x -> CPU: h = x - 1 -> device: g = relu(h) -> CPU: y = g * 2."""
    shape = [ROWS, COLUMNS]
    one, two = (helper.make_tensor(n, TensorProto.FLOAT, [], [v]) for n, v in (("one", 1.0), ("two", 2.0)))
    before = model([helper.make_node("Sub", ["x", "one"], ["h"], "minus")], [tensor("x", shape=shape)],
                   [tensor("h", shape=shape)], initializer=[one])  # fmt: skip
    after = model([helper.make_node("Mul", ["g", "two"], ["y"], "times")], [tensor("g", shape=shape)],
                  [tensor("y", shape=shape)], initializer=[two])  # fmt: skip
    nodes = [
        Node("before", "cpu", ("x",), ("h",), model="cpu/before.onnx"),
        Node("relu", "neuron_core", ("h",), ("g",), 0),
        Node("after", "cpu", ("g",), ("y",), model="cpu/after.onnx"),
    ]
    models = {"cpu/before.onnx": before.SerializeToString(), "cpu/after.onnx": after.SerializeToString()}
    infos = [TensorInfo("x", (ROWS, COLUMNS), "float32")], [TensorInfo("y", (ROWS, COLUMNS), "float32")]
    return Program("sandwich", TARGET, "v2", *infos, nodes, [relu_stage()], models)


def sandwich_answer(x: np.ndarray) -> np.ndarray:
    return np.maximum(x - 1, 0) * 2
