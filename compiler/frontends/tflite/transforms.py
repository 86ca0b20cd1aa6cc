"""Diagonals, reversed sequences, windows of any kind, buckets, Fourier transforms, random numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.onnx.types import tensor_type
from compiler.frontends.tflite.convert import Call, converter, room
from compiler.frontends.tflite.moving import int64, reshaped


@dataclass(frozen=True)
class Complex:
    """A tensor of complex numbers: its parts are values of the graph."""

    real: str
    imaginary: str


@converter("MATRIX_DIAG")
def _matrix_diag(c: Call) -> None:
    """(..., n) on the diagonal of (..., n, n)."""
    x, shape = c.stored(0), c.shape(0)
    eye = np.eye(room((shape[-1], shape[-1]))[0], dtype=bool)
    c.store(c.b.op("Where", [eye, reshaped(c, x, [*shape[:-1], 1, shape[-1]]), np.array(0, c.b.dtype(x))]))


@converter("MATRIX_SET_DIAG")
def _matrix_set_diag(c: Call) -> None:
    """Operands: (..., m, n), its new diagonal (..., min(m, n))."""
    x, diagonal = c.stored(0), c.stored(1)
    (*_, rows, columns), shape = c.shape(0), c.shape(1)
    row = reshaped(c, diagonal, [*shape[:-1], 1, shape[-1]])
    if columns > shape[-1]:
        pads = np.zeros(2 * (len(shape) + 1), np.int64)
        pads[-1] = columns - shape[-1]
        row = c.b.op("Pad", [row, pads, np.array(0, c.b.dtype(x))])
    c.store(c.b.op("Where", [np.eye(*room((rows, columns)), dtype=bool), row, x]))


@converter("REVERSE_SEQUENCE")
def _reverse_sequence(c: Call) -> None:
    """Operands: value, how many elements along `seq_dim` are reversed for each index of `batch_dim`."""
    rank = len(c.shape(0))
    time, batch = (c.axis(int(c.option(name, 0)), rank) for name in ("seq_dim", "batch_dim"))
    perm = [time, batch, *(k for k in range(rank) if k not in (time, batch))]
    lengths = c.b.op("Cast", [c.stored(1)], to=tensor_type("int64"))

    def reversed_(x: str) -> str:
        x = c.b.op("Transpose", [x], perm=perm)
        x = c.b.op("ReverseSequence", [x, lengths], time_axis=0, batch_axis=1)
        return c.b.op("Transpose", [x], perm=[perm.index(k) for k in range(rank)])

    c.moved(0, reversed_)


@converter("BUCKETIZE")
def _bucketize(c: Call) -> None:
    """How many boundaries an element reaches."""
    x, shape = c.stored(0), c.shape(0)
    limits = np.array(c.option("boundaries", []), np.float32)
    if not limits.size:
        c.store(c.b.add(np.zeros(room(shape), np.int32)))
        return
    if c.b.dtype(x) != "float32":
        x = c.b.op("Cast", [x], to=tensor_type("float32"))
    reached = c.b.op("GreaterOrEqual", [reshaped(c, x, [*shape, 1]), limits])
    c.store(c.b.op("ReduceSum", [c.b.op("Cast", [reached], to=tensor_type("int32")), int64([-1])], keepdims=0))


@converter("BITCAST")
def _bitcast(c: Call) -> None:
    array = c.known(0, "what is read as another type")
    target = np.dtype(c.result().dtype)
    c.store(c.b.add(np.ascontiguousarray(array).reshape(-1).view(target).reshape(c.result().shape)))


@converter("DENSIFY")
def _densify(c: Call) -> None:
    """A sparse constant is written out when it is read."""
    c.store(c.stored(0))


# ---- Fourier transforms --------------------------------------------------------------------------------------------


@converter("RFFT2D")
def _rfft2d(c: Call) -> None:
    """Of the last two axes, cut or filled up to the given lengths: products with matrices of cosines and sines."""
    x, (rows, columns) = c.real(0), c.ints(1, "the length of a Fourier transform")
    for axis, wanted in ((-2, rows), (-1, columns)):
        x = _sized(c, x, c.b.rank(x) + axis, wanted)
    across, down = _waves(columns)[:, : columns // 2 + 1], _waves(rows)
    real, imaginary = (c.b.op("MatMul", [x, m.astype(np.float32)]) for m in (across.real, across.imag))
    cos, sin = (m.astype(np.float32) for m in (down.real, down.imag))
    c.store(Complex(
        c.b.op("Sub", [c.b.op("MatMul", [cos, real]), c.b.op("MatMul", [sin, imaginary])]),
        c.b.op("Add", [c.b.op("MatMul", [cos, imaginary]), c.b.op("MatMul", [sin, real])])))


def _waves(length: int) -> np.ndarray:
    """(length, length): exp(-2 pi i j k / length)."""
    index = np.arange(room((length, length))[0])
    return np.exp(-2j * np.pi * (np.outer(index, index) % length) / length)


def _sized(c: Call, x: str, axis: int, wanted: int) -> str:
    have = c.b.shape(x)[axis]
    if have > wanted:
        return c.b.op("Slice", [x, int64([0]), int64([wanted]), int64([axis])])
    pads = np.zeros((2, c.b.rank(x)), np.int64)
    pads[1, axis] = wanted - have
    return c.b.op("Pad", [x, pads.reshape(-1)]) if have < wanted else x


def _complex(c: Call) -> Complex:
    found = c.stored(0)
    if not isinstance(found, Complex):
        raise ModelError("complex numbers are known here only as results of RFFT2D", code="TFLITE_OPERANDS")
    return found


@converter("REAL")
def _real(c: Call) -> None:
    c.store(_complex(c).real)


@converter("IMAG")
def _imaginary(c: Call) -> None:
    c.store(_complex(c).imaginary)


@converter("COMPLEX_ABS")
def _complex_abs(c: Call) -> None:
    found = _complex(c)
    squares = [c.b.op("Mul", [v, v]) for v in (found.real, found.imaginary)]
    c.store(c.b.op("Sqrt", [c.b.op("Add", squares)]))


# ---- random numbers ------------------------------------------------------------------------------------------------


@converter("RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL")
def _random(c: Call) -> None:
    """Seeded as the file says, by ONNX Runtime's generator: other numbers than TensorFlow Lite's."""
    c.b.note("random numbers come from another generator than TensorFlow Lite's")
    kind = "RandomUniform" if c.op.type == "RANDOM_UNIFORM" else "RandomNormal"
    c.store(c.b.op(kind, [], shape=room(c.ints(0, "the shape of a result")), seed=_seed(c)))


@converter("MULTINOMIAL")
def _multinomial(c: Call) -> None:
    """Operands: logarithms of weights (batch, classes), number of draws."""
    c.b.note("random numbers come from another generator than TensorFlow Lite's")
    c.store(c.b.op("Multinomial", [c.real(0)], sample_size=c.ints(1, "the number of draws")[0], seed=_seed(c),
                   dtype=tensor_type(c.result().dtype)))


def _seed(c: Call) -> float:
    return float((int(c.option("seed", 0)) * 31 + int(c.option("seed2", 0))) % (1 << 24))
