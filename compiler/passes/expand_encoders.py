"""Encoders of whole numbers (ai.onnx.ml) as comparisons with all their keys at once."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.expansion import Expansion
from isa.target import Target

#: most comparisons of one encoder
MOST_COMPARISONS = 1 << 20
#: float32 holds whole numbers exactly up to here
EXACT = 1 << 24


def encoder_reason(graph: Graph, node: Node, target: Target | None = None) -> str:
    """Why a OneHotEncoder or LabelEncoder does not run on the device, "" when it does."""
    keys = _keys(node)
    if graph.dtype(node.inputs[0]) not in ("int32", "int64") or not keys:
        return "its keys are no whole numbers"
    if graph.value(node.inputs[0]).size * len(keys) > MOST_COMPARISONS:
        return f"it would take more than {MOST_COMPARISONS} comparisons"
    if node.op == "OneHotEncoder":
        return "" if node.attrs.get("zeros", 1) else "an unknown category has to fail"
    values, default = _values(node)
    if values is None or len(values) != len(keys):
        return "its values are no list of float32 or whole numbers"
    if len(set(keys)) < len(keys):
        return "a key has several values"
    if values.dtype == np.int64 and max(np.abs([*values, default])) > EXACT:
        return "a value is above 2^24, up to which the engines are exact"
    return "" if np.isfinite([*values, default]).all() else "a value is not finite"


def one_hot_encoder(graph: Graph, node: Node) -> bool:
    """1 where the category is that of the column."""
    if encoder_reason(graph, node):
        return False
    f = Expansion(graph, node)
    return f.finish([f.cast(_hits(f), "float32")])


def label_encoder(graph: Graph, node: Node) -> bool:
    """The value of the key that is found, or the default."""
    if encoder_reason(graph, node):
        return False
    f = Expansion(graph, node)
    values, default = _values(node)
    assert values is not None
    hits, shape = _hits(f), f.shape(node.inputs[0])
    axis = [f.rank(hits) - 1]
    chosen = f.reduce("ReduceSum", f.where(hits, f.const(values.astype(np.float32)), f.const(0.0)), axis)
    found = f.reduce("ReduceMax", f.cast(hits, "float32"), axis)
    result = f.where(f.binary("Greater", found, 0.5), chosen, f.const(float(default)))
    return f.finish([f.reshape(f.cast(result, f.dtype(node.output)), shape)])


def _hits(f: Expansion) -> str:
    """bool [.., keys]: which key every element is."""
    x = f.node.inputs[0]
    keys = np.array(_keys(f.node), np.int64).astype(f.dtype(x))
    return f.binary("Equal", f.reshape(x, [*f.shape(x), 1]), f.const(keys))


def _keys(node: Node) -> list[int]:
    return list(node.attrs.get("cats_int64s" if node.op == "OneHotEncoder" else "keys_int64s") or ())


def _values(node: Node) -> tuple[np.ndarray | None, Any]:
    """Values of the keys as float32 or int64, and the one for all others."""
    attrs = node.attrs
    if attrs.get("values_floats"):
        return np.array(attrs["values_floats"], np.float32), attrs.get("default_float", -0.0)
    if attrs.get("values_int64s"):
        return np.array(attrs["values_int64s"], np.int64), attrs.get("default_int64", -1)
    return None, 0


RULES: dict[str, Callable[[Graph, Node], bool]] = {
    "ai.onnx.ml::LabelEncoder": label_encoder,
    "ai.onnx.ml::OneHotEncoder": one_hot_encoder,
}
