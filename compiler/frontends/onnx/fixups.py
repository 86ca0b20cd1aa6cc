"""What onnx's version converter leaves different in meaning, put right after it ran.

Seen with onnx 1.23: Resize-10 and Upsample become Resize with that operator's newer defaults (half-pixel) although they
sample asymmetrically and round down; Hardmax before 13 loses its two-dimensional meaning; GridSample before 20 keeps
old names of modes; PRelu before 7, with a slope for each channel, is left as it is; BatchNormalization with the old
attribute `spatial` is refused.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper

_GRID_MODES = {b"bilinear": b"linear", b"bicubic": b"cubic"}


def before(model: onnx.ModelProto, version: int) -> dict[str, onnx.NodeProto]:
    """Rewrite what the converter refuses, and remember nodes to correct: first output -> the node as it was."""
    remembered: dict[str, onnx.NodeProto] = {}
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            continue
        if node.op_type == "BatchNormalization":
            _drop_spatial(node)
        last = _AFTER.get(node.op_type, (0, None))[0]
        if version <= last and node.output:
            remembered[node.output[0]] = onnx.NodeProto.FromString(node.SerializeToString())
    return remembered


def after(model: onnx.ModelProto, remembered: dict[str, onnx.NodeProto]) -> None:
    """Correct the converted nodes in place."""
    for index, node in reversed(list(enumerate(model.graph.node))):
        old = remembered.get(node.output[0]) if node.output else None
        if old is None:
            continue
        correct = _AFTER[old.op_type][1]
        correct(model.graph, index, node, old)


def _drop_spatial(node: onnx.NodeProto) -> None:
    """Remove the attribute where it says what is said today: one mean for each channel. The converter refuses it."""
    for attribute in [a for a in node.attribute if a.name == "spatial" and a.i]:
        node.attribute.remove(attribute)


def _set(node: onnx.NodeProto, name: str, value: object) -> None:
    for attribute in list(node.attribute):
        if attribute.name == name:
            node.attribute.remove(attribute)
    node.attribute.append(helper.make_attribute(name, value))


def _axis(node: onnx.NodeProto, default: int) -> int:
    return next((a.i for a in node.attribute if a.name == "axis"), default)


def _resize(graph: onnx.GraphProto, index: int, node: onnx.NodeProto, old: onnx.NodeProto) -> None:
    if node.op_type == "Resize":
        _set(node, "coordinate_transformation_mode", "asymmetric")
        _set(node, "nearest_mode", "floor")


def _grid_sample(graph: onnx.GraphProto, index: int, node: onnx.NodeProto, old: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.name == "mode":
            attribute.s = _GRID_MODES.get(attribute.s, attribute.s)


def _hardmax(graph: onnx.GraphProto, index: int, node: onnx.NodeProto, old: onnx.NodeProto) -> None:
    source, result = node.input[0], node.output[0]
    stem = f"{result}_hardmax"
    axis = _axis(old, 1)
    node.input[0], node.output[0] = f"{stem}_flat", f"{stem}_rows"
    _set(node, "axis", -1)
    graph.node.insert(index + 1, helper.make_node("Reshape", [f"{stem}_rows", f"{stem}_shape"], [result]))
    graph.node.insert(index, helper.make_node("Flatten", [source], [f"{stem}_flat"], axis=axis))
    graph.node.insert(index, helper.make_node("Shape", [source], [f"{stem}_shape"]))


def _prelu(graph: onnx.GraphProto, index: int, node: onnx.NodeProto, old: onnx.NodeProto) -> None:
    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in graph.input}
    rank = ranks.get(node.input[0], 0)
    if rank > 2:
        slope, shaped = node.input[1], f"{node.output[0]}_slope"
        node.input[1] = shaped
        graph.node.insert(index, helper.make_node("Unsqueeze", [slope, f"{shaped}_axes"], [shaped]))
        graph.initializer.append(numpy_helper.from_array(np.arange(1, rank - 1), f"{shaped}_axes"))


_Correct = Callable[[onnx.GraphProto, int, onnx.NodeProto, onnx.NodeProto], None]

#: operator -> (last opset with the old meaning, correction)
_AFTER: dict[str, tuple[int, _Correct]] = {
    "Upsample": (9, _resize),
    "Resize": (10, _resize),
    "GridSample": (19, _grid_sample),
    "Hardmax": (12, _hardmax),
    "PRelu": (6, _prelu),
}
