"""Which part of an operand a part of a result depends on: boxes over the batch axis and the rows of images."""
from __future__ import annotations

from collections.abc import Iterator

from compiler.ir import Graph, Node
from compiler.lowering.conv_plan import Phase, conv_phases, transposed_phases

Box = dict[int, tuple[int, int]]

WINDOWED = ("Conv", "ConvTranspose", "MaxPool", "AveragePool")
#: operators whose result at a row depends on the same row of operands of the same height only
POINTWISE = (
    "Abs", "Add", "Affine", "And", "Cast", "Clip", "Concat", "DequantizeLinear", "Div", "Equal", "Erf", "Exp",
    "Gelu", "Greater", "HardSigmoid", "LRN", "LeakyRelu", "Less", "Log", "Max", "Min", "Mul", "Neg", "Not", "Or",
    "Pow", "QuantizeLinear", "Reciprocal", "Relu", "Sigmoid", "Silu", "Softplus", "Sqrt", "Sub", "Tanh", "Where",
)
BATCH, ROWS = 0, 2  # the axes that chunks cut


def tileable(graph: Graph, node: Node) -> bool:
    """Whether images and rows of the node's result can be computed apart."""
    shape = graph.shape(node.output)
    if len(node.outputs) != 1 or len(shape) < 4:
        return False
    if node.op in WINDOWED:
        return True
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
    if node.op not in WINDOWED or name != node.inputs[0]:
        return {axis: (0, 1) if shape[axis] == 1 else span for axis, span in box.items()}
    spatial = graph.shape(node.output)[2:]
    phases = (transposed_phases if node.op == "ConvTranspose" else conv_phases)(node, spatial)
    lo, hi = shape[ROWS], 0
    for phase in phases:
        for first, last in _reach(phase, box[ROWS]):
            lo, hi = min(lo, first), max(hi, last + 1)
    lo = max(0, min(lo, shape[ROWS] - 1))
    return {BATCH: box[BATCH], ROWS: (lo, max(min(shape[ROWS], hi), lo + 1))}


def _reach(phase: Phase, rows: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """(first, last) input rows that the phase's outputs within `rows` read."""
    a, s = phase.start[0], phase.step[0]
    j0, j1 = max(0, -(-(rows[0] - a) // s)), min(phase.count[0], -(-(rows[1] - a) // s))
    if j1 <= j0 or not phase.taps:
        return
    offsets = [t.offset[0] for t in phase.taps]
    yield j0 * phase.in_step[0] + min(offsets), (j1 - 1) * phase.in_step[0] + max(offsets)


def hull(a: Box | None, b: Box) -> Box:
    """The smallest box that holds both."""
    if a is None:
        return b
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
