"""Which part of an operand a part of a result depends on: boxes over the batch axis and the rows of images."""
from __future__ import annotations

from compiler.ir import Graph, Node

Box = dict[int, tuple[int, int]]

POOLS = ("MaxPool", "AveragePool")
WINDOWED = ("Conv", "ConvInteger", "ConvTranspose", *POOLS)
#: operators whose result at a row depends on the same row of operands of the same height only
POINTWISE = (
    "Abs", "Acos", "Acosh", "Add", "Affine", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift", "BitwiseAnd",
    "BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast", "Ceil", "Celu", "Clip", "Concat", "Cos", "Cosh",
    "DequantizeLinear", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual",
    "HardSigmoid", "HardSwish", "IsInf", "IsNaN", "LRN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min",
    "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "QuantizeLinear", "Reciprocal", "Relu", "Round", "Selu",
    "Shrink", "Sigmoid", "Sign", "Silu", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "SwiGLU", "Swish",
    "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor",
)
#: positions of maxima are found in windows of at most so many elements: larger ones are compared faster on the host
MOST_COMPARED = 64
BATCH, ROWS = 0, 2  # the axes that chunks cut


def tileable(graph: Graph, node: Node) -> bool:
    """Whether images and rows of the node's result can be computed apart."""
    shape = graph.shape(node.output)
    if len(node.outputs) != 1 or len(shape) < 4:
        return False
    if node.op in WINDOWED:
        return node.op in POOLS or node.inputs[0] != node.inputs[1]
    if node.op == "Concat":
        return bool(node.attrs["axis"] % len(shape) == 1)
    return node.op in POINTWISE and all(
        graph.is_const(i) or _spreads(graph.shape(i), shape) for i in node.inputs if i
    )


def _spreads(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) == len(to) and all(a in (1, b) for a, b in zip(shape, to, strict=True))


def needs(graph: Graph, node: Node, name: str, box: Box) -> Box:
    """The window of operand `name` that the window `box` of the node's result depends on."""
    shape = graph.shape(name)
    if is_empty(box):
        return dict.fromkeys(box, (0, 0))
    if node.op in WINDOWED and node.op not in POOLS and name == node.inputs[1]:
        return full(shape)  # a kernel computed at run time
    if node.op not in WINDOWED or name != node.inputs[0]:
        return {axis: (0, 1) if shape[axis] == 1 else span for axis, span in box.items()}
    lo, last = _reach(node, box[ROWS])
    lo = max(0, min(lo, shape[ROWS] - 1))
    return {BATCH: box[BATCH], ROWS: (lo, max(min(shape[ROWS], last + 1), lo + 1))}


def _reach(node: Node, rows: tuple[int, int]) -> tuple[int, int]:
    """First and last input row that output rows [rows) read, before clipping.

    Convolution and pooling read stride * o + k * dilation - pad; transposed: (o + pad - k * dilation) / stride.
    """
    stride, dilation, pad = (node.attrs[k][0] for k in ("strides", "dilations", "pads"))
    span = (node.attrs["kernel_shape"][0] - 1) * dilation
    if node.op == "ConvTranspose":
        return -(-(rows[0] + pad - span) // stride), (rows[1] - 1 + pad) // stride
    return rows[0] * stride - pad, (rows[1] - 1) * stride + span - pad


def is_empty(box: Box) -> bool:
    """Whether a box holds nothing (a result of few rows gets none in some of many parts)."""
    return any(hi <= lo for lo, hi in box.values())


def hull(a: Box | None, b: Box) -> Box:
    """The smallest box that holds both."""
    if a is None or is_empty(a):
        return b
    if is_empty(b):
        return a
    return {axis: (min(a[axis][0], b[axis][0]), max(a[axis][1], b[axis][1])) for axis in a}


def full(shape: tuple[int, ...]) -> Box:
    """The box of the whole value."""
    return {BATCH: (0, shape[BATCH]), ROWS: (0, shape[ROWS])}


def image_part(shape: tuple[int, ...], k: int, groups: int) -> Box:
    """Group `k` of `groups` near-equal groups of images, all rows."""
    return {BATCH: (shape[BATCH] * k // groups, shape[BATCH] * (k + 1) // groups), ROWS: (0, shape[ROWS])}


def row_part(box: Box, k: int, parts: int) -> Box:
    """Part `k` of `parts` near-equal parts of a box by rows."""
    lo, hi = box[ROWS]
    return {**box, ROWS: (lo + (hi - lo) * k // parts, lo + (hi - lo) * (k + 1) // parts)}


def area(shape: tuple[int, ...], box: Box) -> int:
    """Elements of a window of a value."""
    out = 1
    for axis, n in enumerate(shape):
        lo, hi = box.get(axis, (0, n))
        out *= hi - lo
    return out
