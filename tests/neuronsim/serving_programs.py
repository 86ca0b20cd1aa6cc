"""Compiled networks whose weights matter: layers of products, placed on the cores of an instance."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

import neuronsim
from isa import target as targets
from isa.program import Program
from isa.target import Target
from neuronsim.serving import ModelPlan
from neuronsim.serving.planning import plan


@cache
def program(layers: int, width: int, batch: int, target: str = "inf1.xlarge", pipeline: int | None = None) -> Program:
    """relu(x w0), relu(. w1) ...: [batch, width], `layers` weights of [width, width]."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "products.onnx"
        file.write_bytes(_products(layers, width, batch).SerializeToString())
        return neuronsim.compile(file, target=target, neuroncore_pipeline_cores=pipeline).program


def placed(compiled: Program, *copies: tuple[int, ...], target: Target | str = "inf1.xlarge") -> ModelPlan:
    return plan(compiled, targets.load(target), copies)


def _products(layers: int, width: int, batch: int) -> ModelProto:
    rng = np.random.default_rng(layers)
    nodes, weights, name = [], [], "x"
    for k in range(layers):
        weights.append(numpy_helper.from_array(
            (rng.standard_normal((width, width)) / width**0.5).astype(np.float32), f"w{k}"))
        nodes.append(helper.make_node("MatMul", [name, f"w{k}"], [f"m{k}"]))
        nodes.append(helper.make_node("Relu", [f"m{k}"], [f"r{k}"]))
        name = f"r{k}"
    face = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, width]) for n in ("x", name)]
    graph = helper.make_graph(nodes, "products", face[:1], face[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
