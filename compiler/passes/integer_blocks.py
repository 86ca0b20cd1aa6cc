"""Exact products of 8-bit integers on a PE that multiplies floats: bounds, blocks of the contraction, their sum.

An 8-bit integer less its zero point is at most 255 in magnitude: exact in bfloat16. fp32 sums of products are exact up
to 2^24, so a contraction whose sum may be larger is cut into blocks; each gives int32, added as integers. The products
are nodes `MatMulInteger` or `ConvInteger` of bfloat16 operands; an int32 fifth input is added, and `attrs["wide"]` says
that this sum may exceed what fp32 holds.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import ml_dtypes
import numpy as np

from compiler.ir import Graph, Node
from compiler.passes.rewrite import before, int_const, reshape

#: fp32 holds every integer up to here
EXACT = 1 << 24
INT32 = 1 << 31
#: TensorProto.BFLOAT16
BFLOAT16 = 16
ROWS = 128  # blocks of a multiple of the PE's rows fill it


@dataclass(frozen=True)
class Operand:
    """8-bit integers `name` less `zero` ("": nothing), which has the shape `spread` beside them (None: its own).

    values: the difference where it is known. most: its largest magnitude.
    """

    name: str
    zero: str
    spread: tuple[int, ...] | None
    values: np.ndarray | None
    most: int


def column(graph: Graph, name: str, trailing: int) -> tuple[int, ...] | None:
    """Shape that makes a vector vary along the axis before `trailing` others; None for what broadcasts as it is."""
    shape = graph.shape(name) if name else ()
    return (*shape, *([1] * trailing)) if len(shape) == 1 and shape[0] > 1 else None


def operand(graph: Graph, name: str, zero: str, spread: tuple[int, ...] | None) -> Operand:
    """Describe one side of a product; nothing is added to the graph."""
    array, offset = graph.const(name), graph.const(zero) if zero else np.zeros((), np.int8)
    limits = np.iinfo(graph.dtype(name))
    low, high = (int(limits.min), int(limits.max)) if array is None else (int(array.min()), int(array.max()))
    below, above = (int(limits.min), int(limits.max)) if offset is None else (int(offset.min()), int(offset.max()))
    values = None
    if array is not None and offset is not None:
        values = array.astype(np.int32) - offset.astype(np.int32).reshape(offset.shape if spread is None else spread)
    kept = zero if offset is None or offset.any() else ""
    return Operand(name, kept, spread, values, max(high - below, above - low))


def product(graph: Graph, anchor: Node, op: str, left: Operand, right: Operand, attrs: dict[str, Any],
            bias: str) -> str:
    """Insert the exact product (plus an int32 vector over channels) before `anchor`, of the shape of its result.

    Returns the int32 value, or "" and nothing inserted where the sum may leave int32 or one term exceeds 2^24.
    """
    terms = _conv_terms(graph, left, right) if op == "ConvInteger" else _matmul_terms(graph, left, right)
    ends = _ends(terms)
    if not ends or (len(ends) > 1 and attrs.get("group", 1) > 1):
        return ""
    shape = graph.shape(anchor.output)
    axes = (1, 1) if op == "ConvInteger" else (len(graph.shape(left.name)) - 1, len(graph.shape(right.name)) - 2)
    sides = [_centred(graph, anchor, o) for o in (left, right)]
    total, reach, tail = "", 0, False
    if bias:
        known = graph.const(bias)
        reach = INT32 if known is None else int(np.abs(known.astype(np.int64)).max())
        tail = op == "ConvInteger" and reach + int(terms[: ends[0]].sum(axis=0).max()) <= EXACT
        column = [1, graph.value(bias).size, *([1] * (len(shape) - 2))]
        total = bias if tail else reshape(graph, anchor, bias, column)
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        cut = sides  # the channels of all groups where there is a single block
        if len(ends) > 1:
            cut = [_part(graph, anchor, s, axis, start, end) for s, axis in zip(sides, axes, strict=True)]
        reach += int(terms[start:end].sum(axis=0).max())
        more: dict[str, Any] = {"wide": 1} if total and reach > EXACT else {}
        if tail and start == 0:  # the convolution adds the vector in fp32, which holds the sum exactly
            more = {"epilogue": [("bias", 4)]}
        inputs = [*cut, "", "", total] if total else cut
        total = before(graph, anchor, op, inputs, shape, "int32", {**attrs, **more})
    return total


def _matmul_terms(graph: Graph, left: Operand, right: Operand) -> np.ndarray:
    """[K, ...]: most that each index of the contraction adds to a sum, in magnitude."""
    for side, other, axis in ((right, left, -2), (left, right, -1)):
        if side.values is not None:
            flat = np.moveaxis(np.abs(side.values.astype(np.int64)), axis, 0)
            return flat.reshape(flat.shape[0], -1) * other.most
    return np.full((graph.shape(left.name)[-1], 1), left.most * right.most, np.int64)


def _conv_terms(graph: Graph, left: Operand, right: Operand) -> np.ndarray:
    """[input channels of a group, ...]: most that one channel adds to a sum, in magnitude."""
    cout, cin, *taps = graph.shape(right.name)
    if right.values is None:
        return np.full((cin, 1), left.most * right.most * prod(taps), np.int64)
    return np.abs(right.values.astype(np.int64)).reshape(cout, cin, -1).sum(axis=2).T * left.most


def _ends(terms: np.ndarray) -> list[int]:
    """Ends of blocks whose sums stay exact; [] when there are none, or when the whole may leave int32."""
    sums = np.concatenate([np.zeros_like(terms[:1]), np.cumsum(terms, axis=0)])
    ends, start = [], 0
    if sums[-1].max() >= INT32:
        return []
    while start < len(terms):
        count = int((sums[start + 1 :] - sums[start] <= EXACT).all(axis=1).sum())
        if not count:
            return []
        if start + count < len(terms) and count > ROWS:
            count -= count % ROWS
        start += count
        ends.append(start)
    return ends


def _centred(graph: Graph, anchor: Node, side: Operand) -> str:
    """The operand less its zero point, in bfloat16."""
    if side.values is not None:
        return graph.add_const(side.values.astype(ml_dtypes.bfloat16), f"{side.name}_centred")
    known = graph.const(side.zero) if side.zero else None
    if known is not None and known.size == 1:  # one instruction does both
        one = graph.add_const(np.array(1, ml_dtypes.bfloat16), "one")
        operands = [side.name, one, reshape(graph, anchor, side.zero, ())]
        return before(graph, anchor, "DequantizeLinear", operands, graph.shape(side.name), "bfloat16")
    value = _wide(graph, anchor, side.name)
    if not side.zero:
        return value
    zero = side.zero if side.spread is None else reshape(graph, anchor, side.zero, side.spread)
    return before(graph, anchor, "Sub", [value, _wide(graph, anchor, zero)], graph.shape(value), "bfloat16")


def _wide(graph: Graph, anchor: Node, name: str) -> str:
    array = graph.const(name)
    if array is not None:
        return graph.add_const(array.astype(ml_dtypes.bfloat16), f"{name}_wide")
    return before(graph, anchor, "Cast", [name], graph.shape(name), "bfloat16", {"to": BFLOAT16, "saturate": 1})


def _part(graph: Graph, anchor: Node, name: str, axis: int, start: int, end: int) -> str:
    """Indices start .. end-1 of an axis."""
    shape = list(graph.shape(name))
    array = graph.const(name)
    if array is not None:
        cut = array.take(range(start, end), axis=axis)
        return graph.add_const(cut, f"{name}_part")
    bounds = [int_const(graph, [v], f"{name}_{what}")
              for v, what in ((start, "starts"), (end, "ends"), (axis, "axes"), (1, "steps"))]
    shape[axis] = end - start
    return before(graph, anchor, "Slice", [name, *bounds], shape, graph.dtype(name))


def factor(graph: Graph, anchor: Node, scales: Sequence[str]) -> str:
    """first * second / third, in their own type and this order."""
    first, second, third = scales
    arrays = [graph.const(n) for n in scales]
    if all(a is not None for a in arrays):
        a, b, c = arrays
        return graph.add_const(np.asarray(a * b / c), "factor")  # type: ignore[operator]
    dtype = graph.dtype(first)
    both = np.broadcast_shapes(graph.shape(first), graph.shape(second))
    scale = before(graph, anchor, "Mul", [first, second], both, dtype)
    return before(graph, anchor, "Div", [scale, third], np.broadcast_shapes(both, graph.shape(third)), dtype)
