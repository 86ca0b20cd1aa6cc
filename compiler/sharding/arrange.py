"""In which order the elements of a value are handed from stage to stage: row-major, or as they lie on chip.

A DMA pays for every run that is contiguous on both sides, so a value is handed over as it lies (`lowering.handover`)
wherever row-major order would cut what a partition holds into runs: features on partitions, heads, images. How a value
lies follows from what makes it, as lowering decides. A wrong guess costs time, never values.
"""
from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from compiler.ir import Graph, Node
from compiler.layout import Atom, F, P, Tensor
from compiler.lowering.handover import VIEWS
from compiler.lowering.wish import wish
from compiler.windows import POINTWISE, WINDOWED
from isa.word import PARTITIONS

#: row-major rows of so many elements are long runs for a DMA
LONG_ROW = 256
#: a partition may hold so many elements of a value that is brought on chip whole; larger ones are read in pieces
MOST_COLUMNS = 8192
#: a partition that an access may start at is a multiple of this
ALIGN = 32
#: operators whose result takes the layout of an operand of its shape
ALIKE = frozenset(POINTWISE) - {"Concat"} | {"Gelu", "Silu", "ScaleShift", "Softmax", "LayerNormalization"}
#: operators on images beyond those that windows know: channels stay on partitions
IMAGES = ("Resize", "LRN", "GlobalAveragePool", "GlobalMaxPool")
DEEPEST = 24


@dataclass(frozen=True)
class Arrangement:
    """A value as a matrix of [rows on partitions, what a partition holds].

    Attributes:
        factors: sizes whose product is the value's, outermost first in row-major order.
        order: places of the factors, those of the rows first.
        rows: how many of `order` are rows.
    """

    factors: tuple[int, ...]
    order: tuple[int, ...]
    rows: int

    @property
    def attributes(self) -> dict[str, Any]:
        """Of the nodes `PackRows` and `UnpackRows`."""
        return {"factors": list(self.factors), "order": list(self.order), "rows": self.rows}


def arrangement(graph: Graph, name: str) -> Arrangement | None:
    """How to hand over a computed value as it lies; None: row-major."""
    lying = _lying(graph, name, 0)
    flat = lying.reshape((prod(lying.shape),)) if lying is not None else None
    if lying is None or flat is None:
        return None
    atoms = flat.axes[0]
    rows = [k for k, a in enumerate(atoms) if a.space == P]
    columns = sorted((k for k, a in enumerate(atoms) if a.space == F), key=lambda k: -atoms[k].stride)
    if not rows or (len(rows) > 1 and atoms[rows[-1]].size % ALIGN):
        return None
    high, wide = (prod(atoms[k].size for k in some) for some in (rows, columns))
    last = len(lying.shape) - 1
    leading = rows == list(range(len(rows))) and columns == sorted(columns) and lying.space_of(last) in (F, "")
    image = len(lying.shape) == 4 and wide > 1 and lying.p_axes() == (1,)
    if leading and not image and (high <= PARTITIONS or wide >= LONG_ROW):
        return None
    if not image and high < min(PARTITIONS, prod(lying.shape[:last])) and lying.shape[last] >= LONG_ROW:
        return None  # row-major it comes with more partitions in use than it left with
    if -(-high // PARTITIONS) * wide > MOST_COLUMNS:
        return None
    return Arrangement(tuple(a.size for a in atoms), (*rows, *columns), len(rows))


def _lying(graph: Graph, name: str, depth: int) -> Tensor | None:
    """Layout, without tiles, that lowering gives a computed value; None where that is not foreseen."""
    node = graph.producer(name)
    if node is None or depth > DEEPEST or name not in node.outputs[:1]:
        return None
    shape = graph.shape(name)
    if node.op == "MatMul":
        return _product(graph, node)
    if node.op in WINDOWED or (node.op in IMAGES and len(shape) == 4):
        return _dry(shape, (1,))
    if node.op.startswith("Reduce"):
        source = _lying(graph, node.inputs[0], depth + 1)
        kept = source is not None and len(source.shape) == len(shape) and len(source.p_axes()) == 1
        return _dry(shape, source.p_axes()) if source is not None and kept else None
    if node.op in VIEWS:
        source = _lying(graph, node.inputs[0], depth + 1)
        if source is None:
            return None
        return source.transpose(node.attrs["perm"]) if node.op == "Transpose" else source.reshape(shape)
    if node.op == "Concat":
        return _joined(graph, node, depth)
    if node.op == "Slice" and node.attrs.get("rows"):
        source = _lying(graph, node.inputs[0], depth + 1)
        return _dry(shape, source.p_axes()) if source is not None else None
    if node.op in ALIKE:
        same = [i for i in node.inputs if i and not graph.is_const(i) and graph.shape(i) == shape]
        return _lying(graph, same[0], depth + 1) if same else None
    return None


def _product(graph: Graph, node: Node) -> Tensor | None:
    """Tokens or features on partitions, as `lowering.matmul` chooses."""
    shape = graph.shape(node.output)
    last = len(shape) - 1
    wanted = wish(graph, node.output)
    weight = graph.const(node.inputs[1])
    if weight is None or weight.ndim != 2:
        return _dry(shape, (last if wanted == last else last - 1,))
    if wanted is None or wanted == last:
        return _dry(shape, (last,))
    tokens = tuple(a for a in range(last) if shape[a] > 1)
    return _dry(shape, tokens) if len(tokens) < 2 else None


def _joined(graph: Graph, node: Node, depth: int) -> Tensor | None:
    """Parts that lie alike stay where they are, or come to one another along the free dimension."""
    shape = graph.shape(node.output)
    found: tuple[int, ...] = ()
    for part in node.inputs:
        lying = _lying(graph, part, depth + 1)
        if lying is None or len(lying.p_axes()) != 1 or not lying.plain or found not in ((), lying.p_axes()):
            return None
        found = lying.p_axes()
    return _dry(shape, found)


def _dry(shape: tuple[int, ...], p_axes: tuple[int, ...]) -> Tensor:
    """A layout as `Context.alloc` makes it, without memory."""
    strides = [prod(n for a, n in enumerate(shape) if a > axis and a not in p_axes) for axis in range(len(shape))]
    axes = tuple((Atom(n, P),) if a in p_axes else (Atom(n, F, strides[a]),) for a, n in enumerate(shape))
    sizes = [shape[a] for a in p_axes]
    return Tensor((), "fp32", axes, np.arange(prod(sizes), dtype=np.int32).reshape(sizes))
