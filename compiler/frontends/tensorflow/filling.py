"""Vectors whose length data decide, filled up to a known length: what comes behind them is static again.

Detection models write `concat([kept, zeros([most - shape(kept)[0]])])` behind every suppression.
"""
from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.ir import Node

#: Operators that hand one number on as it is.
_SAME = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Cast", "Identity", "Slice", "Gather", "Concat"})


def filled(c: Call, x: str, fill: str | np.ndarray, size: int) -> str:
    """A vector of at most `size` elements with others behind, up to that size."""
    others = c.op("Expand", [fill, np.array([size])])
    whole = c.op("Slice", [c.op("Concat", [x, others], axis=0), np.array([0]), np.array([size])])
    return c.op("Reshape", [whole, np.array([size])])


def filled_up(c: Call, parts: Sequence[str]) -> str:
    """A vector and what fills it up to a known length, as one of that length; "" where it is not known to be that."""
    if len(parts) != 2 or any(c.b.is_static(p) for p in parts):
        return ""
    x, (fill, count) = parts[0], _expanded(c, parts[1])
    difference = _origin(c, count) if count else None
    if difference is None or difference.op != "Sub":
        return ""
    most, length = c.b.const(difference.inputs[0]), _origin(c, difference.inputs[1])
    if most is None or most.size != 1 or length is None or length.op not in ("Shape", "Size") \
            or _counted(c, length.inputs[0]) != _counted(c, x):
        return ""
    return filled(c, x, fill, int(most.reshape(-1)[0]))


def _expanded(c: Call, value: str) -> tuple[str, str]:
    """What is repeated, one number, and how often: ("", "") for any other value."""
    node = c.b.graph.producer(value)
    if node is None or node.op != "Expand" or prod(c.b.shape(node.inputs[0])) != 1 or c.b.shape(node.inputs[1]) != (1,):
        return "", ""
    return node.inputs[0], node.inputs[1]


def _origin(c: Call, value: str) -> Node | None:
    """The operator that computed a number, however it was wrapped since."""
    while True:
        node = c.b.graph.producer(value)
        if node is None or node.op not in _SAME or (node.op == "Concat" and len(node.inputs) > 1) \
                or not c.b.is_static(node.inputs[0]) or prod(c.b.shape(node.inputs[0])) != 1:
            return node
        value = node.inputs[0]


def _counted(c: Call, vector: str) -> str:
    """The vector that gave a vector its length: of what was looked up by it, or another type of it."""
    while True:
        node = c.b.graph.producer(vector)
        if node is not None and node.op in ("Cast", "Identity"):
            vector = node.inputs[0]
        elif node is not None and node.op == "Gather" and not node.attrs.get("axis", 0) \
                and c.b.is_static(node.inputs[0]) and len(c.b.shape(node.inputs[0])) == 1:
            vector = node.inputs[1]
        else:
            return vector
