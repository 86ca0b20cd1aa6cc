"""Rows of images: which nodes can compute some rows of their result alone, and which rows of their operands that takes.

Rows are indices of the first spatial axis, in one, two or three dimensions alike. A window reaches over the rows beside
its own: neighbouring parts of a result read overlapping parts of the operand.
"""
from __future__ import annotations

from dataclasses import dataclass
from math import prod

from compiler.ir import Graph, Node
from compiler.windows import POINTWISE, POOLS, ROWS, WINDOWED

#: elements of an image per partition that a part has about at least: a PSUM bank, what one product can fill
LEAST_COLUMNS = 512
MOST_PARTS = 16  # of one node: finer ones would spend more on their edges than balance gains
DEEPEST = 64


@dataclass(frozen=True)
class Reach:
    """Rows of the operand under rows of the result: `stride` * row - `before` and the `span` - 1 rows that follow.

    Attributes:
        height: rows that the operand has.
    """

    stride: int
    span: int
    before: int
    height: int

    def of(self, low: int, high: int) -> tuple[int, int, int, int]:
        """First row, end, and rows of padding before and after, of the operand of result rows `low` .. `high` - 1."""
        first, end = low * self.stride - self.before, (high - 1) * self.stride - self.before + self.span
        return max(first, 0), min(end, self.height), max(-first, 0), max(end - self.height, 0)


def reach(graph: Graph, node: Node) -> Reach | None:
    """Of a convolution or pool; None where some window could lie in padding alone, or padding is counted unevenly."""
    stride, dilation, kernel = (node.attrs[k][0] for k in ("strides", "dilations", "kernel_shape"))
    pads = node.attrs["pads"]
    span = (kernel - 1) * dilation + 1
    if node.attrs.get("ceil_mode") or max(pads[0], pads[len(pads) // 2]) >= span:
        return None
    return Reach(stride, span, pads[0], graph.shape(node.inputs[0])[ROWS])


def row_parts(graph: Graph, node: Node) -> tuple[int, int]:
    """Rows of the result, and of a part: parts are large enough to be worth their edges."""
    shape = graph.shape(node.output)
    columns = prod(n for axis, n in enumerate(shape) if axis != 1)
    count = max(1, min(-(-columns // LEAST_COLUMNS), MOST_PARTS, shape[ROWS]))
    return shape[ROWS], -(-shape[ROWS] // count)


def row_operands(graph: Graph, node: Node) -> dict[int, int] | None:
    """Inputs that are cut with the rows of the result, each along its rows; None where rows do not fall apart."""
    shape = graph.shape(node.output)
    if len(node.outputs) != 1 or len(shape) <= ROWS:
        return None
    if node.op in WINDOWED:
        found = {0: ROWS} if node.op in ("Conv", *POOLS) and reach(graph, node) is not None else None
        rest = range(2, len(node.inputs))
    elif node.op in POINTWISE and _image(graph, node):
        found = {}
        rest = range(len(node.inputs))
    else:
        return None
    if found is None or (node.op == "Concat" and node.attrs["axis"] % len(shape) == ROWS):
        return None
    for index in rest:
        own = graph.shape(node.inputs[index]) if node.inputs[index] else ()
        if prod(own) == 1 or (node.op in WINDOWED and len(own) == 1):  # a scalar, a bias
            continue
        if len(own) != len(shape) or own[ROWS] not in (1, shape[ROWS]):
            if not _per_channel(node, own, shape):
                return None
        elif own[ROWS] > 1:
            found[index] = ROWS
    return found


def _per_channel(node: Node, own: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Scale, shift and bias of an Affine have an element for every channel."""
    return node.op == "Affine" and own == (shape[1],)


def _image(graph: Graph, node: Node) -> bool:
    """Whether a pointwise node works on what a convolution or pool has made: its channels are on partitions."""
    for _ in range(DEEPEST):
        if any(m.attrs.get("rows") for i in node.inputs if i and (m := graph.producer(i)) is not None):
            return True  # what joins or cuts rows
        maker = next((m for i in node.inputs if i and (m := graph.producer(i)) is not None
                      and graph.shape(i)[ROWS:] == graph.shape(node.output)[ROWS:]), None)
        if maker is None or maker.op not in (*WINDOWED, *POINTWISE):
            return False
        if maker.op in WINDOWED:
            return True
        node = maker
    return False
