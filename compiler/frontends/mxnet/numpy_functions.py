"""Functions of MXNet's numpy interface that have no counterpart in its older one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from compiler.frontends.mxnet.call import Call, operator
from compiler.frontends.mxnet.elementwise import matched
from compiler.frontends.mxnet.pieces import cut
from compiler.frontends.mxnet.reduce import axes_of, reduced

Binary = Callable[[Call, str, str], str]


def _bitwise(op: str) -> Binary:
    """Of numbers bit by bit, of truths as logic."""
    return lambda c, a, b: c.do(op if c.dtype(a) == "bool" else f"Bitwise{op}", a, b)


def _arctan2(c: Call, y: str, x: str) -> str:
    """The angle of (x, y): the arctangent of y / x, turned by pi to the left of 0."""
    zero, pi = c.like(x, 0), c.like(x, math.pi)
    straight = c.do("Equal", x, zero)
    angle = c.do("Atan", c.do("Div", y, c.do("Where", straight, c.like(x, 1), x)))
    sign = c.do("Where", c.do("Less", y, zero), c.like(x, -1), c.like(x, 1))
    behind = c.do("Where", c.do("Less", x, zero), c.do("Mul", sign, pi), zero)
    upright = c.do("Mul", c.do("Sign", y), c.like(x, math.pi / 2))
    return c.do("Where", straight, upright, c.do("Add", angle, behind))


def _copysign(c: Call, x: str, sign: str) -> str:
    size = c.do("Abs", x)
    return c.do("Where", c.do("Less", sign, c.like(sign, 0)), c.do("Neg", size), size)


def _ldexp(c: Call, x: str, exponent: str) -> str:
    return c.do("Mul", x, c.do("Pow", c.like(x, 2), exponent))


_BINARY: dict[str, Binary] = {
    "bitwise_and": _bitwise("And"), "bitwise_or": _bitwise("Or"), "bitwise_xor": _bitwise("Xor"),
    "arctan2": _arctan2, "copysign": _copysign, "ldexp": _ldexp,
}


def _register(name: str, compute: Binary) -> None:
    names = [f"_npi_{name}", f"_npi_{name}_scalar"]
    names += [] if name.startswith("bitwise") else [f"_npi_r{name}_scalar"]

    @operator(*names)
    def convert(c: Call) -> str:
        if not c.op.endswith("_scalar"):
            return compute(c, *matched(c, c[0], c[1]))
        number = c.b.add(c.like(c.x, c.real("scalar", 1.0)))
        return compute(c, number, c.x) if c.op.startswith(f"_npi_r{name}") else compute(c, c.x, number)


for _name, _compute in _BINARY.items():
    _register(_name, _compute)


@operator("_npi_bitwise_not")
def _bitwise_not(c: Call) -> str:
    return c.do("Not" if c.dtype() == "bool" else "BitwiseNot", c.x)


@operator("_npi_around")
def _around(c: Call) -> str:
    """Rounded to a number of decimals, halves to even."""
    scale = 10.0 ** c.integer("decimals", 0)
    return c.x if scale == 1 and c.dtype().startswith("int") else c.do(
        "Div", c.do("Round", c.do("Mul", c.x, c.like(c.x, scale))), c.like(c.x, scale))


@operator("_npi_nan_to_num")
def _nan_to_num(c: Call) -> str:
    limits = np.finfo(c.like(c.x, 0).dtype)
    low, high = (limits.min if c.is_none("neginf") else c.real("neginf"),
                 limits.max if c.is_none("posinf") else c.real("posinf"))
    x = c.do("Where", c.do("IsNaN", c.x), c.like(c.x, c.real("nan", 0.0)), c.x)
    x = c.do("Where", c.do("IsInf", x, detect_positive=0), c.like(x, low), x)
    return c.do("Where", c.do("IsInf", x, detect_negative=0), c.like(x, high), x)


@operator("_npi_norm", outputs=("output0", "output1", "output2", "output3"))
def _norm(c: Call) -> str:
    order = "2" if c.is_none("ord") else c.text("ord")
    if order not in ("1", "2", "1.0", "2.0") or (not c.is_none("axis") and len(c.ints("axis")) > 1):
        raise c.unsupported(f"norms of matrices, and of order {order}")
    return reduced(c, f"ReduceL{order[0]}", c.x, axes_of(c), c.flag("keepdims"))


@operator("_npi_average", outputs=("output0", "output1"))
def _average(c: Call) -> list[str]:
    """The mean, weighed by the second operand if there is one, and the sum of weights."""
    axes, shape = axes_of(c), c.shape()
    if len(c) < 2:
        found = reduced(c, "ReduceMean", c.x, axes, False)
        return [found, c.b.add(np.full(c.shape(found), c.like(c.x, math.prod(shape[a] for a in axes))))]
    weights = c[1]
    if c.rank(1) == 1 and len(shape) > 1:
        weights = c.reshape(weights, [-1 if k == axes[0] else 1 for k in range(len(shape))])
    total = reduced(c, "ReduceSum", c.do("Expand", weights, np.array(shape)), axes, False)
    return [c.do("Div", reduced(c, "ReduceSum", c.do("Mul", c.x, weights), axes, False), total), total]


@operator("_npi_diff")
def _diff(c: Call) -> str:
    axis, found = c.axis("axis", -1), c.x
    for _ in range(min(c.integer("n", 1), c.shape()[axis])):
        size = c.shape(found)[axis]
        found = c.do("Sub", cut(c, found, [1], [size], [axis]), cut(c, found, [0], [size - 1], [axis]))
    return found


@operator("_np_atleast_1d", "_np_atleast_2d", "_np_atleast_3d")
def _at_least(c: Call) -> list[str]:
    """Every operand with at least so many axes, numpy's way: (n,) is (1, n) and (1, n, 1), (m, n) is (m, n, 1)."""
    rank = int(c.op[-2])
    found = []
    for value in c.inputs:
        shape = [*([1] if rank > 1 and c.rank(value) < 2 else []), *c.shape(value)]
        found.append(c.reshape(value, shape + [1] * (rank - len(shape))))
    return found


@operator("_np_trace")
def _trace(c: Call) -> str:
    a, b, k = c.axis("axis1", 0), c.axis("axis2", 1), c.integer("offset", 0)
    shape = c.shape()
    x = c.transpose(c.x, [*(i for i in range(len(shape)) if i not in (a, b)), a, b])
    mask = np.eye(shape[a], shape[b], k)
    return c.do("ReduceSum", c.do("Mul", x, c.like(x, mask)), np.array([-2, -1]), keepdims=0)
