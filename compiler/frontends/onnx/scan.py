"""A Scan that carries nothing from step to step does the same to every entry: its body once, for all entries together.

So do exporters of scikit-learn write the distances of every row to every stored one. Values that differ from entry to
entry get an axis for the entries in front, and before that one of size 1: the first of several axes is the batch to
lowerings, of which each is computed by itself.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Shape = tuple[int, ...]

#: Elements of the largest value that is made for all entries together.
_MOST_ELEMENTS = 1 << 24
_ELEMENTWISE = frozenset({"Abs", "Add", "Cast", "Div", "Exp", "Identity", "Log", "Max", "Min", "Mul", "Neg", "Pow",
                          "Relu", "Sqrt", "Sub"})
_REDUCTIONS = frozenset({"ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum",
                         "ReduceSumSquare"})
#: Version from which Squeeze and Unsqueeze have their axes as an input.
_AXES_INPUT = 13
#: Axes in front of values that differ from entry to entry.
_FRONT = 2


class _Refused(Exception):
    """The body does something else than the operators above."""


def as_nodes(scan: onnx.NodeProto, shape_of: Callable[[str], Shape | None], version: int) -> list[onnx.NodeProto]:
    """Nodes that compute a Scan's outputs without it, each with its name; none where that is not possible.

    Args:
        scan: the node.
        shape_of: shape of a value outside the body, None when it is not static.
        version: of ONNX's operators, for the Scan and its body.
    """
    attrs = {a.name: helper.get_attribute_value(a) for a in scan.attribute}
    if scan.op_type != "Scan" or version < 9 or any(any(v) for k, v in attrs.items() if k.startswith("scan_")):
        return []  # other axes than the first, or backwards; before 9 there was a batch
    try:
        return _Body(scan, attrs["body"], int(attrs["num_scan_inputs"]), shape_of, version).nodes
    except _Refused:
        return []


class _Body:
    """The body for all entries; `nodes` is the result. Raises: _Refused."""

    def __init__(self, scan: onnx.NodeProto, body: onnx.GraphProto, scanned: int,
                 shape_of: Callable[[str], Shape | None], version: int) -> None:
        self.scan, self.version, self.shape_of = scan, version, shape_of
        self.nodes: list[onnx.NodeProto] = []
        self.outer: dict[str, str] = {}  # name in the body -> name outside
        self.shapes: dict[str, Shape] = {}  # by name in the body, without the axis of entries
        self.each: set[str] = set()  # names in the body of what differs from entry to entry
        self.constants: dict[str, np.ndarray] = {}
        states = len(scan.input) - scanned
        self.entries = self._outside(scan.input[states])[:1]
        for k, (info, name) in enumerate(zip(body.input, scan.input, strict=True)):
            shape = self._outside(name)
            if k >= states:
                self.each.add(info.name)
                shape, name = shape[1:], self._moved("Unsqueeze", name, [0], f"{scan.name}.{info.name}")
            self.outer[info.name], self.shapes[info.name] = name, shape
        for tensor in body.initializer:
            self._constant(tensor.name, numpy_helper.to_array(tensor))
        for node in body.node:
            self._node(node)
        for k, (result, output) in enumerate(zip(body.output, scan.output, strict=True)):
            carried = k < states
            if result.name not in self.outer:
                raise _Refused
            if carried == (result.name in self.each) or (carried and self.outer[result.name] != scan.input[k]):
                raise _Refused
            if output and carried:
                self._emit("Identity", [self.outer[result.name]], output)
            elif output:
                self._moved("Squeeze", self.outer[result.name], [0], output)

    def _outside(self, name: str) -> Shape:
        shape = self.shape_of(name) if name else None
        if shape is None:
            raise _Refused
        return shape

    def _node(self, node: onnx.NodeProto) -> None:
        if node.domain not in ("", "ai.onnx") or len(node.output) != 1:
            raise _Refused
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
            self._constant(node.output[0], numpy_helper.to_array(node.attribute[0].t))
            return
        for name in node.input:
            if name not in self.shapes:  # of the graph around
                self.outer[name], self.shapes[name] = name, self._outside(name)
        if node.op_type == "Identity":
            self._alias(node.input[0], node.output[0])
        elif node.op_type in _ELEMENTWISE:
            self._elementwise(node)
        elif node.op_type in _REDUCTIONS:
            self._reduction(node)
        else:
            raise _Refused

    def _alias(self, source: str, name: str) -> None:
        self.outer[name], self.shapes[name] = self.outer[source], self.shapes[source]
        if source in self.each:
            self.each.add(name)

    def _elementwise(self, node: onnx.NodeProto) -> None:
        shape = np.broadcast_shapes(*(self.shapes[i] for i in node.input))
        inputs = [self._raised(i, len(shape)) for i in node.input]
        self._result(node, inputs, shape, _attributes(node))

    def _raised(self, name: str, rank: int) -> str:
        """The value outside, its entries' axis in front of as many others as those it meets have."""
        missing = rank - len(self.shapes[name])
        if name not in self.each or not missing:
            return self.outer[name]
        axes = list(range(_FRONT, _FRONT + missing))
        return self._moved("Unsqueeze", self.outer[name], axes, f"{self.outer[name]}.{self.scan.name}.{rank}")

    def _reduction(self, node: onnx.NodeProto) -> None:
        attrs, source = _attributes(node), node.input[0]
        shape = self.shapes[source]
        given = attrs.pop("axes", []) if len(node.input) < 2 else self.constants.get(node.input[1], np.array([]))
        axes = sorted(int(a) % len(shape) for a in given)
        if not axes:
            raise _Refused
        kept = attrs.get("keepdims", 1)
        reduced = tuple(1 if a in axes else n for a, n in enumerate(shape) if kept or a not in axes)
        moved = [a + _FRONT * (source in self.each) for a in axes]
        inputs = [self.outer[source]]
        if len(node.input) > 1:
            inputs.append(self._axes(moved))
        else:
            attrs["axes"] = moved
        self._result(node, inputs, reduced, attrs)

    # ---- what is made --------------------------------------------------------------------------------------------

    def _result(self, node: onnx.NodeProto, inputs: list[str], shape: Shape, attrs: Mapping[str, Any]) -> None:
        name = node.output[0]
        self.shapes[name] = shape
        if any(i in self.each for i in node.input):
            self.each.add(name)
            shape = (1, *self.entries, *shape)
        if math.prod(shape) > _MOST_ELEMENTS:
            raise _Refused
        self.outer[name] = self._emit(node.op_type, inputs, f"{self.scan.name}.{name}", **attrs)

    def _constant(self, name: str, array: np.ndarray) -> None:
        self.constants[name], self.shapes[name] = array, array.shape
        self.outer[name] = self._emit("Constant", [], f"{self.scan.name}.{name}", value=numpy_helper.from_array(array))

    def _moved(self, op: str, name: str, axes: list[int], result: str) -> str:
        """A value without axes of size 1, or with more."""
        if self.version >= _AXES_INPUT:
            return self._emit(op, [name, self._axes(axes)], result)
        return self._emit(op, [name], result, axes=axes)

    def _axes(self, axes: list[int]) -> str:
        name = f"{self.scan.name}.axes.{len(self.nodes)}"
        return self._emit("Constant", [], name, value=numpy_helper.from_array(np.array(axes, np.int64)))

    def _emit(self, op: str, inputs: list[str], output: str, **attrs: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], self.scan.name, **attrs))
        return output


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
