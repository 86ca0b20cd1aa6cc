"""TensorFlow's element types (framework/types.proto) and constants (framework/tensor.proto) as numpy arrays."""
from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from compiler.errors import UnsupportedOp
from compiler.frontends.tensorflow.protos import damaged
from compiler.ir import numpy_dtype

#: Number of a type -> numpy spelling. Types of quantised numbers (DT_QINT8 ...) are plain integers here.
DTYPES: dict[int, str] = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 8: "complex64", 9: "int64", 10: "bool",
    11: "int8", 12: "uint8", 13: "int32", 14: "bfloat16", 15: "int16", 16: "uint16", 17: "uint16", 18: "complex128",
    19: "float16", 22: "uint32", 23: "uint64", 24: "float8_e5m2", 25: "float8_e4m3fn",
}
#: Types that are no numbers.
_OTHER = {7: "strings", 20: "resources", 21: "variants"}
#: Field of TensorProto with the values of a type.
_FIELDS = {
    "float32": "float_val", "float64": "double_val", "int64": "int64_val", "bool": "bool_val", "uint32": "uint32_val",
    "uint64": "uint64_val", "float16": "half_val", "bfloat16": "half_val", "complex64": "scomplex_val",
    "complex128": "dcomplex_val",
}
#: Bytes that one constant may expand to from a single repeated value.
_MOST_FILL = 1 << 31


def dtype_name(number: int, where: str) -> str:
    """Numpy spelling of a type, of a reference to it as well. Raises: UnsupportedOp ELEMENT_TYPE."""
    plain = number - 100 if number > 100 else number
    if plain not in DTYPES:
        what = _OTHER.get(plain, f"elements of type number {plain}")
        raise UnsupportedOp(f"{what} cannot be computed with", code="ELEMENT_TYPE", where=where, actual=plain)
    return DTYPES[plain]


def dims_of(shape: Any) -> tuple[int | None, ...] | None:
    """Sizes of a TensorShapeProto: None for an open size, None altogether where the rank is unknown."""
    if shape.unknown_rank:
        return None
    return tuple(d.size if d.size >= 0 else None for d in shape.dim)


def tensor_array(proto: Any, where: str) -> np.ndarray:
    """The array of a TensorProto; a view of its bytes where it has them.

    Raises: ModelError MODEL_INVALID when values and shape contradict each other; UnsupportedOp ELEMENT_TYPE.
    """
    name = dtype_name(proto.dtype, where)
    dtype = numpy_dtype(name)
    dims = dims_of(proto.tensor_shape)
    if dims is None or None in dims:
        raise damaged("a constant without a definite shape", where)
    shape = tuple(d for d in dims if d is not None)
    count = prod(shape)
    if proto.tensor_content:
        if len(proto.tensor_content) != count * dtype.itemsize:
            raise damaged(f"a constant of shape {shape} has {len(proto.tensor_content)} bytes", where)
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    values = _values(proto, name, dtype)
    if len(values) == count:
        return values.reshape(shape)
    if len(values) > count or count * dtype.itemsize > _MOST_FILL:
        raise damaged(f"a constant of shape {shape} has {len(values)} values", where)
    filled = np.empty(count, dtype)  # the last value stands for all that are missing
    filled[: len(values)] = values
    filled[len(values) :] = values[-1] if len(values) else 0
    return filled.reshape(shape)


def _values(proto: Any, name: str, dtype: np.dtype) -> np.ndarray:
    held = getattr(proto, _FIELDS.get(name, "int_val"))
    if name in ("float16", "bfloat16"):
        return (np.array(held, np.int64) & 0xFFFF).astype(np.uint16).view(dtype)
    if name.startswith("complex"):
        pairs = np.array(held, np.float64)[: len(held) // 2 * 2]
        return (pairs[0::2] + 1j * pairs[1::2]).astype(dtype)
    if dtype.kind in "iu":
        return np.array(held, np.uint64 if name == "uint64" else np.int64).astype(dtype)
    return np.array(held, np.float64 if name != "float32" else np.float32).astype(dtype)
