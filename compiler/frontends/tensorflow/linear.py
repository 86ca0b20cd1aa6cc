"""Matrix products."""
from __future__ import annotations

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import converter


@converter("MatMul")
def mat_mul(c: Call) -> str:
    """The product of two matrices, either transposed."""
    return product(c, c.x(0), c.x(1), c.flag("transpose_a"), c.flag("transpose_b"))


@converter("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def batch_mat_mul(c: Call) -> str:
    """Products of many matrices, leading dimensions broadcast."""
    return product(c, c.x(0), c.x(1), c.flag("adj_x"), c.flag("adj_y"))


def product(c: Call, a: str, b: str, turn_a: bool, turn_b: bool) -> str:
    """The product of the last two dimensions, either transposed before."""
    return c.op("MatMul", [_turned(c, a) if turn_a else a, _turned(c, b) if turn_b else b])


def _turned(c: Call, x: str) -> str:
    rank = c.b.rank(x)
    return c.transpose(x, [*range(rank - 2), rank - 1, rank - 2])


@converter("Einsum", "XlaEinsum")
def einsum(c: Call) -> str:
    """A sum of products by its equation."""
    return c.op("Einsum", c.xs(), equation=c.text("equation").replace(" ", ""))


@converter("Cross")
def cross(c: Call) -> str:
    """The cross product of vectors of three."""
    a, b = c.xs(0, 2)
    axis = c.rank() - 1
    turned = [[c.op("Gather", [v, np.array(order)], axis=axis) for order in ([1, 2, 0], [2, 0, 1])] for v in (a, b)]
    return c.op("Sub", [c.op("Mul", [turned[0][0], turned[1][1]]), c.op("Mul", [turned[0][1], turned[1][0]])])
