"""Layers that join several tensors."""

from __future__ import annotations

import numpy as np

from compiler.frontends.keras.call import Call, Tensor
from compiler.frontends.keras.config import invalid
from compiler.frontends.keras.core import cast
from compiler.frontends.keras.registry import layer


def _aligned(c: Call) -> list[str]:
    """The tensors with the same rank: lower ones get axes after the batch."""
    values = [t.value for t in c.tensors]
    rank = max(c.b.rank(v) for v in values)
    return [v if c.b.rank(v) == rank else c.op("Unsqueeze", [v, np.arange(1, 1 + rank - c.b.rank(v))]) for v in values]


def _merged_mask(c: Call) -> str:
    masks = [t.mask for t in c.tensors]
    if not all(masks):
        return ""
    joined = masks[0]
    for mask in masks[1:]:
        joined = c.op("Or" if c.modern else "And", [joined, mask])
    return joined


@layer("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract")
def _merge(c: Call) -> Tensor:
    values = _aligned(c)
    op = {"Add": "Add", "Average": "Add", "Maximum": "Max", "Minimum": "Min", "Multiply": "Mul", "Subtract": "Sub"}
    y = values[0]
    for value in values[1:]:
        y = c.op(op[c.layer.kind], [y, value])
    if c.layer.kind == "Average":
        y = c.op("Mul", [y, c.like(1 / len(values), y)])
    return Tensor(y, _merged_mask(c))


@layer("Concatenate")
def _concatenate(c: Call) -> Tensor:
    axis = c.axis()
    given = c.tensors
    y = given[0].value if len(given) == 1 else c.op("Concat", [t.value for t in given], axis=axis)
    if not any(t.mask for t in given) or c.rank < 2:
        return Tensor(y)
    if axis == 1:
        parts = [t.mask or _everything(c, t) for t in given]
        return Tensor(y, c.op("Concat", parts, axis=1) if all(c.b.rank(p) == 2 for p in parts) else "")
    masks = [t.mask for t in given if t.mask]  # an axis of features: a step counts where it counts in all of them
    joined = masks[0]
    for mask in masks[1:]:
        joined = c.op("And", [joined, mask])
    return Tensor(y, joined)


def _everything(c: Call, t: Tensor) -> str:
    return c.b.add(np.broadcast_to(np.True_, c.b.shape(t.value)[:2]))


@layer("Dot")
def _dot(c: Call) -> str:
    """Sums of products along one axis of each, the batch kept."""
    a, b = (t.value for t in c.tensors)
    axes = c.config.integers("axes", 2)
    i, j = c.positive(axes[0], c.b.rank(a)), c.positive(axes[1], c.b.rank(b))
    if not i or not j or c.b.shape(a)[i] != c.b.shape(b)[j]:
        raise invalid("the axes of a Dot do not fit", c.where, axes)
    if c.config.flag("normalize"):
        a, b = normalised(c, a, [i]), normalised(c, b, [j])
    letters = iter("cdefghijklmn")
    left = "".join("b" if k == 0 else "a" if k == i else next(letters) for k in range(c.b.rank(a)))
    right = "".join("b" if k == 0 else "a" if k == j else next(letters) for k in range(c.b.rank(b)))
    kept = "".join(k for k in left + right[1:] if k not in "a")
    y = c.op("Einsum", [a, b], equation=f"{left},{right}->{kept}")
    return c.op("Unsqueeze", [y, np.array([1])]) if len(kept) == 1 else y


def normalised(c: Call, x: str, axes: list[int], least: float = 1e-12) -> str:
    """x over its Euclidean length along axes, whose square is at least `least`."""
    square = c.op("ReduceSumSquare", [x, np.array(axes)], keepdims=1)
    return c.op("Div", [x, c.op("Sqrt", [c.op("Max", [square, c.like(least, x)])])])


def both(c: Call, a: str, b: str) -> str:
    """The conjunction of two masks, either of which may be absent."""
    if not a or not b:
        return a or b
    return c.op("And", [cast(c, a, "bool"), cast(c, b, "bool")])
