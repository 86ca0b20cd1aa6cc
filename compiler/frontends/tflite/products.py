"""Matrix products and look-ups in tables."""

from __future__ import annotations

from math import prod

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.tflite.convert import Call, converter


@converter("FULLY_CONNECTED")
def _fully_connected(c: Call) -> None:
    """Weights (units, depth); the operand becomes rows of that depth unless `keep_num_dims`."""
    if c.option("weights_format", 0) != 0:
        raise ModelError("weights in an order of their own have no published layout", code="TFLITE_OPERANDS",
                         help="convert the model with the default weights format")
    x, (units, depth) = c.real(0), c.shape(1)
    shape = c.shape(0)
    flat = shape if len(shape) == 2 and shape[1] == depth else (prod(shape) // depth, depth)
    if flat != shape:
        x = c.b.op("Reshape", [x, np.array(flat, np.int64)])
    value = c.b.op("Gemm", [x, c.real(1), *([c.real(2)] if c.has(2) else [])], transB=1)
    if c.option("keep_num_dims", False) and len(shape) != 2:
        value = c.b.op("Reshape", [value, np.array([*shape[:-1], units], np.int64)])
    c.give(value)


@converter("BATCH_MATMUL")
def _batch_matmul(c: Call) -> None:
    sides = [_adjoint(c, k, c.option(name, False)) for k, name in enumerate(("adj_x", "adj_y"))]
    c.give(c.b.op("MatMul", sides))


def _adjoint(c: Call, k: int, swap: bool) -> str:
    if not swap:
        return c.real(k)
    rank = len(c.shape(k))
    return c.b.op("Transpose", [c.real(k)], perm=[*range(rank - 2), rank - 1, rank - 2])


@converter("EMBEDDING_LOOKUP")
def _embedding(c: Call) -> None:
    """Operands: row numbers, table."""
    table = c.stored(1) if c.tensor(1).dtype == c.result().dtype else c.real(1)
    c.store(c.b.op("Gather", [table, c.stored(0)], axis=0))
