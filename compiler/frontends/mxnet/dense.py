"""Matrix products: FullyConnected, dot, batch_dot, the products of linear algebra, and attention's interleaved ones."""

from __future__ import annotations

import math

import numpy as np

from compiler.frontends.mxnet.call import Call, operator


@operator("FullyConnected", "_sparse_FullyConnected", "_npx_fully_connected", roles=("data", "weight", "bias"))
def _fully_connected(c: Call) -> str:
    bias = [] if c.flag("no_bias") else [c[2]]
    x, weight = c.x, c[1]
    if c.flag("flatten", True) or c.rank() == 2:
        x = c.do("Flatten", x, axis=1) if c.rank() != 2 else x
        return c.do("Gemm", x, weight, *bias, transB=1)
    found = c.do("MatMul", x, c.transpose(weight, [1, 0]))
    return c.do("Add", found, bias[0]) if bias else found


def swapped(c: Call, x: str) -> str:
    """The matrices of a value transposed."""
    rank = c.rank(x)
    return c.transpose(x, [*range(rank - 2), rank - 1, rank - 2])


@operator("dot", "_sparse_dot")
def dot(c: Call) -> str:
    """Sum over the last axis of the left and the first of the right (the other way round when transposed)."""
    a, b = c[0], c[1]
    if c.flag("transpose_a"):
        a = c.transpose(a, [*range(1, c.rank(a)), 0])
    if c.flag("transpose_b"):
        b = c.transpose(b, [c.rank(b) - 1, *range(c.rank(b) - 1)])
    left, right = c.shape(a), c.shape(b)
    found = c.do("MatMul", c.reshape(a, [math.prod(left[:-1]), left[-1]]),
                 c.reshape(b, [right[0], math.prod(right[1:])]))
    return c.reshape(found, (*left[:-1], *right[1:]) or (1,))


@operator("batch_dot", "_npx_batch_dot")
def _batch_dot(c: Call) -> str:
    a = swapped(c, c[0]) if c.flag("transpose_a") else c[0]
    b = swapped(c, c[1]) if c.flag("transpose_b") else c[1]
    return c.do("MatMul", a, b)


@operator("_linalg_gemm", "linalg_gemm", "_linalg_gemm2", "linalg_gemm2")
def gemm(c: Call) -> str:
    """alpha op(A) op(B) + beta C, matrices in the last two axes (or `axis` and the last)."""
    rank = c.rank()
    row = c.axis("axis", -2)
    if row == rank - 1:
        raise c.wrong("axis", row, "an axis before the last")
    back = [a for a in range(rank) if a != row]
    there = [*back[:-1], row, back[-1]]
    operands = [c.transpose(v, there) for v in c.inputs]
    a, b = (swapped(c, v) if c.flag(f"transpose_{k}") else v for k, v in zip("ab", operands, strict=False))
    found = _scaled(c, c.do("MatMul", a, b), c.real("alpha", 1.0))
    if "gemm2" not in c.op:
        found = c.do("Add", found, _scaled(c, operands[2], c.real("beta", 1.0)))
    return c.transpose(found, list(np.argsort(there)))


@operator("_linalg_syrk", "linalg_syrk")
def syrk(c: Call) -> str:
    """alpha A A^T, or alpha A^T A."""
    a, b = (swapped(c, c.x), c.x) if c.flag("transpose") else (c.x, swapped(c, c.x))
    return _scaled(c, c.do("MatMul", a, b), c.real("alpha", 1.0))


@operator("_linalg_trmm", "linalg_trmm")
def trmm(c: Call) -> str:
    """alpha op(A) B, or alpha B op(A), where only a triangle of A is read."""
    a = c.do("Trilu", c[0], upper=0 if c.flag("lower", True) else 1)
    a = swapped(c, a) if c.flag("transpose") else a
    operands = (c[1], a) if c.flag("rightside") else (a, c[1])
    return _scaled(c, c.do("MatMul", *operands), c.real("alpha", 1.0))


def _scaled(c: Call, x: str, factor: float) -> str:
    return x if factor == 1 else c.do("Mul", x, c.like(x, factor))


@operator("khatri_rao")
def khatri_rao(c: Call) -> str:
    """Column by column the Kronecker product of matrices with equally many columns."""
    found = c.x
    for other in c.inputs[1:]:
        columns = c.shape(found)[1]
        product = c.do("Mul", c.reshape(found, [-1, 1, columns]), c.reshape(other, [1, -1, columns]))
        found = c.reshape(product, [-1, columns])
    return found


@operator("_npi_matmul", outputs=("out",))
def _matmul(c: Call) -> str:
    return c.do("MatMul", c[0], c[1])


@operator("_np_dot")
def _numpy_dot(c: Call) -> str:
    a, b = c[0], c[1]
    if 0 in (c.rank(a), c.rank(b)):
        return c.do("Mul", a, b)
    if c.rank(b) <= 2:
        return c.do("MatMul", a, b)
    left, right = c.shape(a), c.shape(b)
    b = c.transpose(b, [len(right) - 2, *range(len(right) - 2), len(right) - 1])
    found = c.do("MatMul", c.reshape(a, [-1, left[-1]]), c.reshape(b, [right[-2], -1]))
    return c.reshape(found, [*left[:-1], *right[:-2], right[-1]])


@operator("_npi_tensordot_int_axes", "_npi_tensordot")
def _tensordot(c: Call) -> str:
    ranks = [c.rank(0), c.rank(1)]
    if c.op == "_npi_tensordot":
        summed = [[c.check_axis(a, r) for a in c.ints(k)]
                  for k, r in zip(("a_axes_summed", "b_axes_summed"), ranks, strict=True)]
    else:
        count = c.integer("axes", 2)
        summed = [list(range(ranks[0] - count, ranks[0])), list(range(count))]
    kept = [[k for k in range(r) if k not in s] for r, s in zip(ranks, summed, strict=True)]
    size = math.prod(c.shape(0)[k] for k in summed[0])
    a = c.reshape(c.transpose(c[0], kept[0] + summed[0]), [-1, size])
    b = c.reshape(c.transpose(c[1], summed[1] + kept[1]), [size, -1])
    return c.reshape(c.do("MatMul", a, b), [*(c.shape(0)[k] for k in kept[0]), *(c.shape(1)[k] for k in kept[1])])


@operator("_npi_einsum")
def _einsum(c: Call) -> str:
    return c.do("Einsum", *c.inputs, equation=c.text("subscripts"))


# ---- diagonals and triangles of matrices -----------------------------------------------------------------------------


def _places(c: Call, rows: int, columns: int) -> np.ndarray:
    """Where the triangle that `offset` and `lower` name lies in a matrix laid out flat.

    A lower one goes row by row, an upper one column by column.
    """
    offset = c.integer("offset", 0)
    lower = offset < 0 or (offset == 0 and c.flag("lower", True))
    if lower:
        return np.flatnonzero(np.tri(rows, columns, offset, bool))
    column, row = np.nonzero(~np.tri(rows, columns, offset - 1, bool).T)
    return row * columns + column


@operator("_linalg_extractdiag", "linalg_extractdiag", "_linalg_extracttrian", "linalg_extracttrian",
          "_linalg_sumlogdiag", "linalg_sumlogdiag")
def _extract(c: Call) -> str:
    *outer, rows, columns = c.shape()
    if "trian" in c.op:
        places = _places(c, rows, columns)
    else:
        places = np.flatnonzero(np.eye(rows, columns, c.integer("offset", 0)))
    found = c.do("Gather", c.reshape(c.x, [*outer, rows * columns]), places, axis=-1)
    if "sumlog" not in c.op:
        return found
    total = c.do("ReduceSum", c.do("Log", found), np.array([-1]), keepdims=0)
    return c.reshape(total, outer or [1])


@operator("_linalg_makediag", "linalg_makediag", "_linalg_maketrian", "linalg_maketrian")
def _make(c: Call) -> str:
    """Matrices of zeros but for a diagonal, or a triangle."""
    *outer, count = c.shape()
    offset = c.integer("offset", 0)
    if "trian" in c.op:
        size = math.isqrt(2 * count) + abs(offset)
        c.sized(size, size)
        places = _places(c, size, size)
    else:
        size = count + abs(offset)
        c.sized(size, size)
        places = np.flatnonzero(np.eye(size, size, offset))
    if len(places) != count:
        raise c.wrong("offset", offset, f"one that fits {count} elements")
    source = np.full(size * size, count)
    source[places] = np.arange(count)
    padded = c.do("Concat", c.x, np.zeros((*outer, 1), c.like(c.x, 0).dtype), axis=-1)
    return c.reshape(c.do("Gather", padded, source, axis=-1), [*outer, size, size])
