"""Pools: windowed, global and adaptive ones."""

from __future__ import annotations

import re

import numpy as np

from compiler.frontends.keras.call import Call
from compiler.frontends.keras.config import invalid
from compiler.frontends.keras.convolutions import inside, outside, pads
from compiler.frontends.keras.core import cast
from compiler.frontends.keras.registry import layer


def _names(stem: str, *alias: str) -> list[str]:
    return [f"{name}{dims}D" for name in (stem, *alias) for dims in (1, 2, 3)]


@layer(*_names("MaxPooling", "MaxPool"), *_names("AveragePooling", "AvgPool"))
def _windowed(c: Call) -> str:
    dims = int(c.layer.kind[-2])
    size = c.config.integers("pool_size", dims, 2)
    strides = c.config.integers("strides", dims) if "strides" in c.config else size
    x = inside(c, c.x)
    if min(*size, *strides) < 1:
        raise invalid("a stride or size of a pool is not positive", c.where)
    found = pads(c.b.shape(x)[2:], size, strides, [1] * dims, c.config.choice("padding", ("valid", "same"), "valid"))
    op = "MaxPool" if c.layer.kind.startswith("Max") else "AveragePool"
    return outside(c, c.op(op, [x], kernel_shape=size, strides=strides, pads=found))


@layer(*_names("GlobalMaxPooling", "GlobalMaxPool"), *_names("GlobalAveragePooling", "GlobalAvgPool"))
def _global(c: Call) -> str:
    x = inside(c, c.x)
    axes = np.arange(2, c.rank)
    keep = c.config.flag("keepdims")
    largest = c.layer.kind.startswith("GlobalMax")
    if c.first.mask and c.rank == 3 and not largest:
        steps = c.op("Unsqueeze", [cast(c, c.first.mask, c.dtype), np.array([1])])
        total = c.op("ReduceSum", [c.op("Mul", [x, steps]), axes], keepdims=int(keep))
        y = c.op("Div", [total, c.op("ReduceSum", [steps, axes], keepdims=int(keep))])
    else:
        y = c.op("ReduceMax" if largest else "ReduceMean", [x, axes], keepdims=int(keep))
    return outside(c, y) if keep else y


@layer(*_names("AdaptiveAveragePooling"), *_names("AdaptiveMaxPooling"))
def _adaptive(c: Call) -> str:
    """Windows from floor(i * n / out) up to ceil((i + 1) * n / out), one axis after the other."""
    largest = c.layer.kind.startswith("AdaptiveMax")
    x = inside(c, c.x)
    dims = int(re.findall(r"\d", c.layer.kind)[0])
    for axis, count in enumerate(c.config.integers("output_size", dims), 2):
        size = c.b.shape(x)[axis]
        if not 1 <= count <= 1 << 12:
            raise invalid("an adaptive pool has no such size", c.where, count)
        bounds = [(k * size // count, -(-(k + 1) * size // count)) for k in range(count)]
        x = _largest(c, x, axis, bounds) if largest else _averages(c, x, axis, bounds)
    return outside(c, x)


def _largest(c: Call, x: str, axis: int, bounds: list[tuple[int, int]]) -> str:
    parts = [c.op("ReduceMax", [c.op("Slice", [x, np.array([a]), np.array([b]), np.array([axis])]), np.array([axis])],
                  keepdims=1) for a, b in bounds]
    return c.op("Concat", parts, axis=axis)


def _averages(c: Call, x: str, axis: int, bounds: list[tuple[int, int]]) -> str:
    """A product with the matrix of shares."""
    rank = c.b.rank(x)
    c.limited(c.b.shape(x)[axis] * len(bounds))
    shares = np.zeros((c.b.shape(x)[axis], len(bounds)))
    for k, (a, b) in enumerate(bounds):
        shares[a:b, k] = 1 / (b - a)
    perm = [*(d for d in range(rank) if d != axis), axis]
    y = c.op("MatMul", [c.op("Transpose", [x], perm=perm), c.like(shares, x)])
    return c.op("Transpose", [y], perm=[perm.index(d) for d in range(rank)])
