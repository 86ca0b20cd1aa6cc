"""Operators that make tensors of nothing or of another's shape."""

from __future__ import annotations

import math

import numpy as np

from compiler.frontends.mxnet.call import Call, operator
from compiler.frontends.mxnet.reduce import is_numpy
from compiler.ir import numpy_dtype


def _filled(c: Call, number: float) -> str:
    """A constant of `shape`. A size of 0 is one that MXNet infers from the readers: 1 here, which broadcasts."""
    shape = [d if d > 0 or is_numpy(c) else 1 for d in c.ints("shape", ())]
    c.sized(*shape)
    return c.b.add(np.broadcast_to(np.array(number).astype(numpy_dtype(c.type("dtype", "float32"))), shape))


@operator("_zeros", "_zeros_without_dtype", "_npi_zeros")
def _zeros(c: Call) -> str:
    return _filled(c, 0)


@operator("_ones", "_npi_ones")
def _ones(c: Call) -> str:
    return _filled(c, 1)


@operator("_full", "_npi_full")
def _full(c: Call) -> str:
    return _filled(c, c.real("value"))


@operator("zeros_like", "ones_like", "_npi_full_like", "_sparse_zeros_like")
def _like(c: Call) -> str:
    number = c.real("fill_value") if c.op == "_npi_full_like" else float(c.op == "ones_like")
    dtype = c.dtype() if c.is_none("dtype") else c.type("dtype", "float32")
    return c.b.add(np.broadcast_to(np.array(number).astype(numpy_dtype(dtype)), c.shape()))


@operator("_arange", "_npi_arange")
def _arange(c: Call) -> str:
    start, step, repeat = c.real("start", 0.0), c.real("step", 1.0), c.integer("repeat", 1)
    if c.is_none("stop"):
        start, stop = 0.0, start
        if c.flag("infer_range"):
            raise c.unsupported("a length that is inferred from the operators that read it")
    else:
        stop = c.real("stop")
    if not step or repeat < 1:
        raise c.wrong("step", step, "a number that is not 0")
    count = math.ceil((stop - start) / step)
    c.sized(max(count, 0), repeat)
    values = start + step * np.arange(max(count, 0))
    return c.b.add(np.repeat(values, repeat).astype(numpy_dtype(c.type("dtype", "float32"))))


@operator("_linspace", "_npi_linspace", "_npi_logspace")
def _linspace(c: Call) -> str:
    number = c.integer("step" if c.op == "_linspace" and "step" in c.attrs else "num", 50)
    c.sized(number)
    values = np.linspace(c.real("start"), c.real("stop"), number, endpoint=c.flag("endpoint", True))
    if c.op == "_npi_logspace":
        values = c.real("base", 10.0) ** values
    return c.b.add(values.astype(numpy_dtype(c.type("dtype", "float32"))))


@operator("_eye", "_npi_eye", "_npi_identity")
def _eye(c: Call) -> str:
    if c.op == "_npi_identity":
        rows, columns = c.ints("shape")
    else:
        rows = c.integer("N")
        columns = rows if c.is_none("M") else c.integer("M") or rows
    c.sized(rows, columns)
    return c.b.add(np.eye(rows, columns, c.integer("k", 0), numpy_dtype(c.type("dtype", "float32"))))


@operator("_contrib_arange_like", "_npx_arange_like")
def arange_like(c: Call) -> str:
    """As many numbers as the tensor, or one axis of it, has places, each `repeat` times."""
    start, step, repeat = c.real("start", 0.0), c.real("step", 1.0), c.integer("repeat", 1)
    shape = c.shape() if c.is_none("axis") else c.shape()[c.axis("axis", 0) :][:1]
    count = math.prod(shape)
    values = start + step * (np.arange(count) // repeat)
    return c.b.add(c.like(c.x, values.reshape(shape)))


@operator("shape_array", "_npx_shape_array")
def _shape_array(c: Call) -> str:
    return c.b.add(np.array(c.shape(), np.int64))


@operator("size_array")
def _size_array(c: Call) -> str:
    return c.b.add(np.array([math.prod(c.shape())], np.int64))


@operator("_npi_hanning", "_npi_hamming", "_npi_blackman")
def _window(c: Call) -> str:
    made = {"_npi_hanning": np.hanning, "_npi_hamming": np.hamming, "_npi_blackman": np.blackman}
    c.sized(c.integer("M"))
    return c.b.add(made[c.op](c.integer("M")).astype(numpy_dtype(c.type("dtype", "float32"))))


@operator("_contrib_index_array")
def index_array(c: Call) -> str:
    """The indices of every place, (shape..., axes)."""
    shape = c.shape()
    axes = [c.check_axis(a) for a in c.ints("axes", range(len(shape)))]
    c.sized(*shape, len(axes))
    return c.b.add(np.moveaxis(np.indices(shape), 0, -1)[..., axes].astype(np.int64))
