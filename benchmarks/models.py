"""Models of the quality tables beyond the light networks: other batches, a BERT-base-shaped encoder, a product."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import onnx
from onnx import TensorProto, helper, numpy_helper

from neuronsim.demo.he_weights import light_model

ROOT = Path(__file__).resolve().parent.parent


def rebatched(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """The model for another batch: leading dimensions of inputs and outputs, and of Reshape targets that say 1."""
    graph = model.graph
    targets = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    constants = {t.name for t in graph.initializer}
    for tensor in graph.initializer:
        if tensor.name in targets:
            shape = numpy_helper.to_array(tensor).copy()
            shape[0] = batch if shape[0] == 1 else shape[0]
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
    for value in [*graph.input, *graph.output]:
        dims = value.type.tensor_type.shape.dim
        if value.name not in constants and len(dims):
            dims[0].dim_value = batch
    del graph.value_info[:]
    return model


def resnet50(folder: Path, batch: int) -> Path:
    """ResNet-50 with seeded weights at a batch."""
    path = folder / f"resnet50-b{batch}.onnx"
    onnx.save(rebatched(light_model("resnet50"), batch), path)
    return path


def bert(folder: Path, batch: int) -> Path:
    """The 12-layer encoder of `examples/make_bert.py` at sequence 128."""
    path = folder / f"bert-b{batch}.onnx"
    onnx.save(_make_bert().Encoder(batch=batch).model(), path)
    return path


def matmul(folder: Path, size: int, dtype: int = TensorProto.BFLOAT16) -> Path:
    """c = a x b, square, row-major, both operands inputs."""
    path = folder / f"matmul-{size}.onnx"
    faces = [helper.make_tensor_value_info(n, dtype, [size, size]) for n in "abc"]
    graph = helper.make_graph([helper.make_node("MatMul", ["a", "b"], ["c"], "matmul")], "matmul", faces[:2], faces[2:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def _make_bert() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_bert", ROOT / "examples" / "make_bert.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_bert"] = module
    spec.loader.exec_module(module)
    return module
