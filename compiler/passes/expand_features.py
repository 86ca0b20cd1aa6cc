"""Preparation of features (ai.onnx.ml) as elementwise operators and selections."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.expansion import Expansion
from isa.target import Target

#: the definition divides by no less than this
SMALLEST_NORM = 1e-30


def features_reason(graph: Graph, node: Node, target: Target | None = None) -> str:
    """Why an operator of this file does not run on the device, "" when it does."""
    if any(graph.dtype(i) != "float32" for i in node.inputs[:1]):
        return "its features are not float32"
    if node.op == "FeatureVectorizer" and any(graph.dtype(i) != "float32" for i in node.inputs):
        return "its inputs are of several element types"
    return ""


def normalizer(graph: Graph, node: Node) -> bool:
    """Rows over their largest magnitude, their sum of magnitudes, or their length."""
    f, x = Expansion(graph, node), node.inputs[0]
    if features_reason(graph, node):
        return False
    axis, norm = [f.rank(x) - 1], node.attrs.get("norm", "MAX")
    if norm == "L2":
        size = f.unary("Sqrt", f.reduce("ReduceSum", f.mul(x, x), axis))
    else:
        size = f.reduce("ReduceMax" if norm == "MAX" else "ReduceSum", f.unary("Abs", x) if norm == "L1" else x, axis)
    if norm == "L2":
        size = f.binary("Max", size, SMALLEST_NORM)
    else:  # a row of zeros stays as it is
        size = f.where(f.binary("Equal", size, 0.0), f.const(1.0), size)
    return f.finish([f.binary("Div", x, size)])


def scaler(graph: Graph, node: Node) -> bool:
    """(x - offset) * scale, for every feature or the same for all."""
    f = Expansion(graph, node)
    if features_reason(graph, node):
        return False
    x = node.inputs[0]
    for op, values in (("Sub", node.attrs.get("offset")), ("Mul", node.attrs.get("scale"))):
        if values:
            x = f.binary(op, x, f.const(np.array(values, np.float32)))
    return f.finish([x])


def imputer(graph: Graph, node: Node) -> bool:
    """Another number in the place of a stated one, or of NaN."""
    values = node.attrs.get("imputed_value_floats")
    if features_reason(graph, node) or not values:
        return False
    f, x = Expansion(graph, node), node.inputs[0]
    old = node.attrs.get("replaced_value_float", 0.0)
    found = f.unary("IsNaN", x) if np.isnan(old) else f.binary("Equal", x, float(old))
    return f.finish([f.where(found, f.const(np.array(values, np.float32)), x)])


def binarizer(graph: Graph, node: Node) -> bool:
    """1 above the threshold, else 0."""
    if features_reason(graph, node):
        return False
    f = Expansion(graph, node)
    above = f.binary("Greater", node.inputs[0], float(node.attrs.get("threshold", 0.0)))
    return f.finish([f.cast(above, f.dtype(node.inputs[0]))])


def array_feature_extractor(graph: Graph, node: Node) -> bool:
    """Chosen entries of the last axis; the indices may be computed."""
    f, (x, indices) = Expansion(graph, node), node.inputs
    picked = f.gather(x, f.reshape(indices, [graph.value(indices).size]), -1)
    return f.finish([f.reshape(picked, f.shape(node.output))])


def feature_vectorizer(graph: Graph, node: Node) -> bool:
    """Inputs side by side, each cut or filled up with zeros to its stated width."""
    shape = (graph.shape(node.inputs[0])[0], sum(node.attrs["inputdimensions"]))
    if features_reason(graph, node) or graph.shape(node.output) != shape:
        return False
    f = Expansion(graph, node)
    parts = []
    for x, width in zip(node.inputs, node.attrs["inputdimensions"], strict=False):
        rows = f.shape(x)[0]
        part = f.reshape(x, [rows, f.graph.value(x).size // rows])
        have = f.shape(part)[1]
        if have > width:
            part = f.slice(part, 1, 0, width)
        elif have < width:
            part = f.concat([part, f.const(np.zeros((rows, width - have), np.float32))], 1)
        parts.append(part)
    return f.finish([f.concat(parts, 1)])


RULES: dict[str, Callable[[Graph, Node], bool]] = {
    "ai.onnx.ml::ArrayFeatureExtractor": array_feature_extractor,
    "ai.onnx.ml::Binarizer": binarizer,
    "ai.onnx.ml::FeatureVectorizer": feature_vectorizer,
    "ai.onnx.ml::Imputer": imputer,
    "ai.onnx.ml::Normalizer": normalizer,
    "ai.onnx.ml::Scaler": scaler,
}
