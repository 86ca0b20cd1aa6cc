"""Gives the weightless networks of the onnx package ("light" models) seeded weights that keep signals in range.

The onnx package ships nine classic image networks with every weight a constant 0.02, which makes all channels equal and
hides errors. Here convolutions and matrix products get He-normal weights (He et al. 2015, arXiv:1502.01852), norms and
biases small random ones, and the last norm of a residual branch half the scale, so that sums of branches do not grow.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import resources
from math import prod, sqrt

import numpy as np
import onnx
from onnx import numpy_helper

LIGHT = (
    "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet", "vgg19",
    "zfnet512",
)  # fmt: skip
_VIEWS = ("Identity", "Reshape", "Unsqueeze")
_SUMS = ("Sum", "Add")


def light_model(name: str, seed: int = 0) -> onnx.ModelProto:
    """One of the `LIGHT` networks with weights. Deterministic in `seed`. Raises: KeyError for another name."""
    if name not in LIGHT:
        raise KeyError(f"{name}: not one of {', '.join(LIGHT)}")
    file = resources.files("onnx").joinpath("backend", "test", "data", "light", f"light_{name}.onnx")
    return with_he_weights(onnx.load_from_string(file.read_bytes()), seed)


def with_he_weights(model: onnx.ModelProto, seed: int = 0) -> onnx.ModelProto:
    """Replace every constant weight of a model, in its order, by a seeded one of the same shape.

    Weights are float32 initializers and outputs of ConstantOfShape; both become initializers. The model is changed in
    place and returned. Weights in no role that `_value` knows stay as they are.
    """
    graph = model.graph
    shapes = {t.name: tuple(t.dims) for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    stored = {t.name: t for t in graph.initializer}
    made = {}
    for node in graph.node:
        if node.op_type == "ConstantOfShape" and node.input[0] in stored:
            shapes[node.output[0]] = tuple(int(d) for d in numpy_helper.to_array(stored[node.input[0]]))
            made[node.output[0]] = node
    rng = np.random.default_rng(seed)
    uses = _uses(graph)
    weights = {}
    for name, shape in shapes.items():
        value = _value(name, shape, uses, rng)
        if value is not None:
            weights[name] = numpy_helper.from_array(value.astype(np.float32), name)
    _store(graph, weights, [made[name] for name in weights if name in made])
    return model


def _store(graph: onnx.GraphProto, weights: dict[str, onnx.TensorProto], replaced: list[onnx.NodeProto]) -> None:
    """Put the weights in as initializers, drop the nodes that made them and the shapes only those read."""
    for node in replaced:
        graph.node.remove(node)
    read = {i for n in graph.node for i in n.input}
    kept = [t for t in graph.initializer if t.name not in weights and t.name in read]
    constants = {t.name for t in graph.initializer}
    inputs = [i for i in graph.input if i.name not in constants]
    del graph.initializer[:], graph.input[:]
    graph.initializer.extend([*kept, *weights.values()])
    graph.input.extend(inputs)
    model_inputs = {t.name: t for t in (*kept, *weights.values())}  # IR version 3: initializers are inputs too
    graph.input.extend(onnx.helper.make_tensor_value_info(n, t.data_type, t.dims) for n, t in model_inputs.items())


def _uses(graph: onnx.GraphProto) -> dict[str, list[tuple[onnx.NodeProto, int, bool]]]:
    """Readers of each tensor: node, input position, and whether the node's result goes into a sum."""
    summed = {i for n in graph.node if n.op_type in _SUMS for i in n.input}
    uses: dict[str, list[tuple[onnx.NodeProto, int, bool]]] = {}
    for node in graph.node:
        for position, name in enumerate(node.input):
            uses.setdefault(name, []).append((node, position, node.output[0] in summed))
    return uses


def _readers(
    name: str, uses: dict[str, list[tuple[onnx.NodeProto, int, bool]]]
) -> Iterator[tuple[onnx.NodeProto, int, bool]]:
    """Readers of a tensor, seen through reshapes."""
    for node, position, summed in uses.get(name, []):
        if node.op_type in _VIEWS:
            yield from _readers(node.output[0], uses)
        else:
            yield node, position, summed


def _value(
    name: str, shape: tuple[int, ...], uses: dict[str, list[tuple[onnx.NodeProto, int, bool]]], rng: np.random.Generator
) -> np.ndarray | None:
    """The seeded value of a weight by the place it is read at, None for places not listed."""
    for node, position, summed in _readers(name, uses):
        role = (node.op_type, position)
        if role in (("Conv", 1), ("Gemm", 1), ("MatMul", 1)):
            return rng.standard_normal(shape, dtype=np.float32) * np.float32(sqrt(2.0 / _fan_in(node, shape)))
        if role in (("BatchNormalization", 1), ("BatchNormalization", 4), ("Mul", 1)):
            half = 0.5 if summed and position == 1 and node.op_type == "BatchNormalization" else 1.0
            return half * rng.uniform(0.8, 1.2, shape)
        if role in (("Conv", 2), ("Gemm", 2), ("BatchNormalization", 2), ("BatchNormalization", 3), ("Add", 1)):
            return 0.1 * rng.standard_normal(shape)
    return None


def _fan_in(node: onnx.NodeProto, shape: tuple[int, ...]) -> int:
    """How many products one result of the node sums."""
    if node.op_type == "Conv":
        return prod(shape[1:])
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return shape[-1] if transposed else shape[-2]


def main(arguments: list[str]) -> int:
    """`python -m neuronsim.demo.he_weights NAME OUT.onnx [SEED]`: write one network."""
    if len(arguments) not in (2, 3) or arguments[0] not in LIGHT:
        sys.stderr.write(f"usage: python -m neuronsim.demo.he_weights NAME OUT.onnx [SEED]\nNAME: {' '.join(LIGHT)}\n")
        return 2
    model = light_model(arguments[0], int(arguments[2]) if len(arguments) == 3 else 0)
    onnx.save(model, arguments[1])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
