"""Constants and values made from shapes."""
from __future__ import annotations

import numpy as np

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.registry import converter
from compiler.frontends.tensorflow.tensors import tensor_array
from compiler.ir import numpy_dtype


@converter("Const", "HostConst")
def const(c: Call) -> str:
    """A constant of the file."""
    if not c.has("value"):
        raise c.refuse("no value")
    return c.b.add(tensor_array(c.node.attr["value"].tensor, c.where), c.node.name)


@converter("Fill")
def fill(c: Call) -> str:
    """One value in a shape; one that is computed at run time makes a size that depends on data."""
    shape = np.array(c.ints(0), np.int64) if c.known(0) is not None else c.cast(c.x(0), "int64")
    return c.op("Expand", [c.x(1), shape])


@converter("ZerosLike")
def zeros_like(c: Call) -> str:
    """Zeros in the shape of another value."""
    return c.op("Expand", [c.number(0, c.x()), np.array(c.shape(), np.int64)])


@converter("OnesLike")
def ones_like(c: Call) -> str:
    """Ones in the shape of another value."""
    return c.op("Expand", [c.number(1, c.x()), np.array(c.shape(), np.int64)])


@converter("Empty")
def empty(c: Call) -> str:
    """A shape whose elements nobody promised: zeros here."""
    return c.op("Expand", [np.zeros((), numpy_dtype(c.kind("dtype"))), np.array(c.ints(0), np.int64)])


@converter("Range")
def numbers(c: Call) -> str:
    """Numbers from a start up to a limit by steps."""
    return c.op("Range", c.xs(0, 3))


@converter("LinSpace")
def lin_space(c: Call) -> str:
    """So many numbers from a start to a stop."""
    start, stop, count = c.scalar(0), c.scalar(1), int(c.scalar(2))
    if not 0 < count <= 1 << 24:
        raise c.refuse(f"{count} numbers")
    return c.b.add(np.linspace(start, stop, count).astype(numpy_dtype(c.dtype())))
