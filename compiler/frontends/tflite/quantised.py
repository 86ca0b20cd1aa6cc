"""Stored integers and the real numbers they stand for: real = scale * (stored - zero point)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.tflite.reader import Tensor
from compiler.frontends.tflite.tensors import PACKED

_INTEGERS = frozenset({"int8", "uint8", "int16", "uint16", "int32", "int64", *PACKED})
#: types that ONNX's QuantizeLinear writes
_NARROW = frozenset({"int8", "uint8", "int16", "uint16"})
#: denominators of ratios of scales that make halves common
_SIMPLE = 64


def kept(tensor: Tensor) -> str:
    """Element type of a stored tensor in the graph: packed types are unpacked."""
    return np.dtype(PACKED[tensor.dtype][1]).name if tensor.dtype in PACKED else tensor.dtype


def is_quantised(tensor: Tensor) -> bool:
    """Whether a tensor's integers stand for real numbers."""
    return tensor.quantisation is not None and tensor.dtype in _INTEGERS


def zero_point(tensor: Tensor) -> int:
    """The integer that stands for 0 in all of a tensor."""
    assert tensor.quantisation is not None
    return int(tensor.quantisation.zeros[0])


def parameters(tensor: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point as QuantizeLinear takes them: scalars, or a vector each along the axis.

    Raises: ModelError TENSOR_QUANTISATION for zero points that the type does not hold.
    """
    found = tensor.quantisation
    assert found is not None
    dtype = np.dtype(kept(tensor))
    limits = np.iinfo(dtype)
    if found.zeros.min() < limits.min or found.zeros.max() > limits.max:
        raise ModelError("a zero point outside of its type", code="TENSOR_QUANTISATION", where=tensor.where,
                         limit=f"{limits.min} to {limits.max}", actual=int(found.zeros.max()))
    scales, zeros = found.scales, found.zeros.astype(dtype)
    return (scales, zeros) if scales.size > 1 else (scales.reshape(()), zeros.reshape(()))


def rounding(tensor: Tensor, source: Tensor | None = None) -> tuple[np.ndarray, np.ndarray]:
    """`parameters` for putting a scale on, such that halves are rounded as TensorFlow Lite does.

    Halves are common where the scales of operand and result have a simple ratio. TensorFlow Lite rounds them away from
    zero, after computing with the ratio of the two stored fp32 numbers, which may be smaller than the simple one and
    then leaves all of them below a half. A scale changed by 2^-20 moves them to that side, and nothing else that fp32
    tells apart from them. 16-bit results are too fine for that.

    Args:
        source: the operand whose scale the result's is put against, None where several numbers are multiplied.
    """
    scale, zero = parameters(tensor)
    if zero.dtype.itemsize > 1:
        return scale, zero
    below = False
    if source is not None and source.quantisation is not None:
        ratio = float(source.quantisation.scales[0]) / max(float(scale.reshape(-1)[0]), 1e-30)
        below = ratio < float(Fraction(ratio).limit_denominator(_SIMPLE))
    return scale * np.float32(1 + 2.0**-20 if below else 1 - 2.0**-20), zero


def same_scale(one: Tensor, other: Tensor) -> bool:
    """Whether equal integers in both stand for equal numbers."""
    if not is_quantised(one) and not is_quantised(other):
        return True
    a, b = one.quantisation, other.quantisation
    return (a is not None and b is not None and kept(one) == kept(other)
            and np.array_equal(a.scales, b.scales) and np.array_equal(a.zeros, b.zeros)
            and (a.scales.size == 1 or a.axis == b.axis))


def dequantise(b: GraphBuilder, value: str, tensor: Tensor) -> str:
    """Real numbers (float32) of a stored value."""
    scale, zero = parameters(tensor)
    axis = tensor.quantisation.axis if scale.size > 1 and tensor.quantisation is not None else None
    if b.dtype(value) in _NARROW:
        return b.op("DequantizeLinear", [value, scale, zero], axis=axis)
    if axis is not None:
        wide = [1] * b.rank(value)
        wide[axis] = scale.size
        scale, zero = scale.reshape(wide), zero.reshape(wide)
    array = b.const(value)
    if array is not None:
        return b.add(((array.astype(np.float64) - zero) * scale).astype(np.float32), tensor.name)
    centred = b.op("Sub", [value, zero]) if zero.any() else value
    return b.op("Mul", [b.op("Cast", [centred], to=1), scale])


def quantise(b: GraphBuilder, value: str, tensor: Tensor, source: Tensor | None = None) -> str:
    """The stored form of real numbers: rounded (see `rounding`), and limited to what the type holds."""
    scale, zero = rounding(tensor, source)
    axis = tensor.quantisation.axis if scale.size > 1 and tensor.quantisation is not None else None
    if kept(tensor) in _NARROW:
        return b.op("QuantizeLinear", [value, scale, zero], axis=axis)
    whole = b.op("Round", [b.op("Div", [value, scale])])
    return b.op("Add", [b.op("Cast", [whole], to={"int32": 6, "int64": 7}[kept(tensor)]), zero])


def limits(tensor: Tensor, function: int) -> tuple[int, int]:
    """Stored range of a result with a fused activation (schema number), as the reference kernels limit it."""
    found = tensor.quantisation
    assert found is not None
    info = np.iinfo(kept(tensor))
    low, high = {1: (0.0, np.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}.get(function, (-np.inf, np.inf))
    scale, zero = float(found.scales[0]), int(found.zeros[0])
    least = int(info.min) if low == -np.inf else max(int(info.min), zero + round(low / scale))
    most = int(info.max) if high == np.inf else min(int(info.max), zero + round(high / scale))
    return least, most
