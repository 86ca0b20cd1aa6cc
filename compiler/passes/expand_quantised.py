"""Expansions of quantised operators: parameters that broadcast, exact integer products, dynamic quantisation.

`MatMulInteger` and `ConvInteger` become products of bfloat16 operands (exact to 256, zero points taken off) whose sums
stay below 2^24, hence are exact in fp32; longer sums are cut, and the parts added as integers (`integer_blocks`).
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.expansion import Expansion
from compiler.passes.integer_blocks import Operand, column, factor, operand, product
from compiler.passes.rewrite import before, change, reshape, to_reshape


def _spread_parameters(graph: Graph, node: Node) -> bool:
    """Parameters computed at run time get the rank of the operand; blocks become an axis of their own."""
    if node.attrs.get("block_size"):
        return _blocked(graph, node)
    rank = len(graph.shape(node.inputs[0]))
    axis = node.attrs.get("axis", 1)
    changed = False
    for k, name in enumerate(node.inputs[1:3], 1):
        if name and not graph.is_const(name) and 0 < len(graph.shape(name)) != rank:
            shape = [1] * rank
            shape[axis % rank if graph.value(name).size > 1 else 0] = graph.value(name).size
            graph.set_input(node, k, reshape(graph, node, name, shape))
            changed = True
    return changed


def _blocked(graph: Graph, node: Node) -> bool:
    """Blocks along an axis as [.., blocks, size, ..]."""
    x, block = node.inputs[0], node.attrs["block_size"]
    shape = list(graph.shape(x))
    axis = node.attrs.get("axis", 1) % len(shape)
    if shape[axis] % block:
        return _repeated(graph, node, axis)

    def cut(sizes: Sequence[int], inner: int) -> list[int]:
        return [*sizes[:axis], shape[axis] // block, inner, *sizes[axis + 1:]]

    parameters = [reshape(graph, node, n, cut(graph.shape(n), 1)) if n else "" for n in node.inputs[1:]]
    attrs = {k: v for k, v in node.attrs.items() if k not in ("block_size", "axis")}
    inputs = [reshape(graph, node, x, cut(shape, block)), *parameters]
    result = before(graph, node, node.op, inputs, cut(shape, block), graph.dtype(node.output), attrs)
    to_reshape(graph, node, result)
    return True


def _repeated(graph: Graph, node: Node, axis: int) -> bool:
    """Parameters of blocks, the last of which is shorter, repeated for every element of the axis."""
    make, block = Expansion(graph, node), node.attrs.pop("block_size")
    for k, name in enumerate(node.inputs[1:3], 1):
        if name:
            shape = list(graph.shape(name))
            column = make.reshape(name, [*shape[: axis + 1], 1, *shape[axis + 1:]])
            wide = make.expand(column, [*shape[: axis + 1], block, *shape[axis + 1:]])
            shape[axis] *= block
            size = graph.shape(node.inputs[0])[axis]
            graph.set_input(node, k, make.slice(make.reshape(wide, shape), axis, 0, size))
    return True


def _dynamic(graph: Graph, node: Node) -> bool:
    """DynamicQuantizeLinear: the range of x, with zero in it, onto 0..255."""
    x = node.inputs[0]
    y, scale, zero = (*node.outputs, "", "")[:3]
    number = graph.dtype(x)

    def constant(value: float) -> str:
        return graph.add_const(np.array(value, number), "limit")

    def scalar(op: str, *inputs: str, dtype: str = number) -> str:
        return before(graph, node, op, inputs, (), dtype)

    whole = {"keepdims": 0, "noop_with_empty_axes": 0}
    high, low = (scalar(bound, before(graph, node, reduce, [x], (), number, whole), constant(0.0))
                 for bound, reduce in (("Max", "ReduceMax"), ("Min", "ReduceMin")))
    empty = scalar("Equal", high, low, dtype="bool")
    width = scalar("Where", empty, constant(1.0), scalar("Sub", high, low))
    scale = scale or graph.add_value(graph.fresh_name(f"{y}_scale"), (), number)
    zero = zero or graph.add_value(graph.fresh_name(f"{y}_zero"), (), "uint8")
    graph.set_outputs(node, [y])
    graph.insert_before(node, "Div", [width, scalar("Where", empty, constant(1.0), constant(255.0))], [scale])
    graph.insert_before(node, "QuantizeLinear", [scalar("Neg", low), scale], [zero])
    change(graph, node, "QuantizeLinear", [x, scale, zero])
    return True


def _matmul_operands(graph: Graph, names: Sequence[str]) -> tuple[Operand, Operand]:
    a, a_zero, b, b_zero = names
    return operand(graph, a, a_zero, column(graph, a_zero, 1)), operand(graph, b, b_zero, None)


def _matmul_integer(graph: Graph, node: Node) -> bool:
    """MatMulInteger on 8-bit integers."""
    a, b = node.inputs[:2]
    if graph.dtype(a) == "bfloat16":
        return False
    if len(graph.shape(a)) < 2 or len(graph.shape(b)) < 2:
        return _as_matrices(graph, node, 1)
    left, right = _matmul_operands(graph, [a, node.input(2), b, node.input(3)])
    total = product(graph, node, "MatMulInteger", left, right, {}, "")
    return bool(total and change(graph, node, "Identity", [total]))


def _as_matrices(graph: Graph, node: Node, second: int) -> bool:
    """A product of vectors as one of matrices; `second` is the place of the second operand."""
    a, b = graph.shape(node.inputs[0]), graph.shape(node.inputs[second])
    inputs = list(node.inputs)
    if len(a) == 1:
        inputs[0] = reshape(graph, node, inputs[0], (1, *a))
    if len(b) == 1:
        inputs[second] = reshape(graph, node, inputs[second], (*b, 1))
    left, right = graph.shape(inputs[0]), graph.shape(inputs[second])
    shape = (*np.broadcast_shapes(left[:-2], right[:-2]), left[-2], right[-1])
    to_reshape(graph, node, before(graph, node, node.op, inputs, shape, graph.dtype(node.output), dict(node.attrs)))
    return True


def _qlinear_matmul(graph: Graph, node: Node) -> bool:
    """QLinearMatMul: the exact product, then scaled and rounded."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.inputs
    if len(graph.shape(a)) < 2 or len(graph.shape(b)) < 2:
        return _as_matrices(graph, node, 3)
    left, right = _matmul_operands(graph, [a, a_zero, b, b_zero])
    total = product(graph, node, "MatMulInteger", left, right, {}, "")
    rows = [(n, column(graph, n, 1)) for n in (a_scale, y_scale, y_zero)]
    return bool(total) and _requantise(graph, node, total, [rows[0], (b_scale, None), *rows[1:]])


def _conv_operands(graph: Graph, names: Sequence[str]) -> tuple[Operand, Operand]:
    x, x_zero, w, w_zero = names
    spatial = len(graph.shape(x)) - 2
    return operand(graph, x, x_zero, None), operand(graph, w, w_zero, column(graph, w_zero, spatial + 1))


def _conv_integer(graph: Graph, node: Node) -> bool:
    """ConvInteger on 8-bit integers."""
    if graph.dtype(node.inputs[0]) == "bfloat16":
        return False
    x, w = _conv_operands(graph, [node.inputs[0], node.input(2), node.inputs[1], node.input(3)])
    total = product(graph, node, "ConvInteger", x, w, dict(node.attrs), "")
    return bool(total and change(graph, node, "Identity", [total]))


def _qlinear_conv(graph: Graph, node: Node) -> bool:
    """QLinearConv: the exact convolution and bias, then scaled and rounded."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = node.inputs[:8]
    left, right = _conv_operands(graph, [x, x_zero, w, w_zero])
    total = product(graph, node, "ConvInteger", left, right, dict(node.attrs), node.input(8))
    channels = column(graph, w_scale, len(graph.shape(node.output)) - 2)
    return bool(total) and _requantise(
        graph, node, total, [(x_scale, None), (w_scale, channels), (y_scale, None), (y_zero, None)])


def _requantise(
    graph: Graph, node: Node, total: str, parameters: Sequence[tuple[str, tuple[int, ...] | None]]
) -> bool:
    """round(total * (scale * scale / result's scale)) + zero point, in the order and types of ONNX Runtime.

    Args:
        parameters: the three scales and the zero point, each with its shape beside the result (None: its own).
    """
    names = [reshape(graph, node, n, s) if s is not None else n for n, s in parameters]
    rank = len(graph.shape(total))
    full = []
    for name in (factor(graph, node, names[:3]), names[3]):
        shape = graph.shape(name)
        full.append(reshape(graph, node, name, (*([1] * (rank - len(shape))), *shape)) if shape else name)
    change(graph, node, "QuantizeLinear", [total, *full], {"multiply": 1})
    return True


RULES: dict[str, Callable[[Graph, Node], bool]] = {
    "ConvInteger": _conv_integer,
    "DequantizeLinear": _spread_parameters,
    "DynamicQuantizeLinear": _dynamic,
    "MatMulInteger": _matmul_integer,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "QuantizeLinear": _spread_parameters,
}
