"""Data types an instruction word or a descriptor can name: code, size, numpy equivalent.

The code is the value of an operand's `dtype` byte. Conversions between them are part of the machine's meaning
(`neuronsim/insns/rounding.py`), not of this table.
"""
from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np

from isa.errors import IsaError


@dataclass(frozen=True)
class DType:
    """One data type.

    Attributes:
        name: as spelled in listings, command lines and reports.
        code: value of the `dtype` byte, 1..255 (0 means absent).
        size: bytes per element in memory.
        numpy: the numpy (or ml_dtypes) type with the same bytes.
        kind: "f" float, "i" signed integer, "u" unsigned integer.
    """

    name: str
    code: int
    size: int
    numpy: np.dtype
    kind: str

    def __str__(self) -> str:
        return self.name


def _dtype(name: str, code: int, numpy: object, kind: str) -> DType:
    np_dtype = np.dtype(numpy)  # type: ignore[call-overload]
    return DType(name, code, np_dtype.itemsize, np_dtype, kind)


# tf32 is stored as fp32 whose low 13 mantissa bits are zero (the PE reads 4-byte elements).
# int64/uint64/float64 exist in DRAM only (model inputs and outputs); engines never address them.
DTYPES: tuple[DType, ...] = (
    _dtype("fp32", 1, np.float32, "f"),
    _dtype("bf16", 2, ml_dtypes.bfloat16, "f"),
    _dtype("fp16", 3, np.float16, "f"),
    _dtype("tf32", 4, np.float32, "f"),
    _dtype("fp8_e4m3", 5, ml_dtypes.float8_e4m3fn, "f"),
    _dtype("fp8_e5m2", 6, ml_dtypes.float8_e5m2, "f"),
    _dtype("int8", 8, np.int8, "i"),
    _dtype("uint8", 9, np.uint8, "u"),
    _dtype("int16", 10, np.int16, "i"),
    _dtype("uint16", 11, np.uint16, "u"),
    _dtype("int32", 12, np.int32, "i"),
    _dtype("uint32", 13, np.uint32, "u"),
    _dtype("int64", 14, np.int64, "i"),
    _dtype("uint64", 15, np.uint64, "u"),
    _dtype("fp64", 16, np.float64, "f"),
    _dtype("bool", 17, np.bool_, "u"),
)

BY_NAME: dict[str, DType] = {d.name: d for d in DTYPES}
BY_CODE: dict[int, DType] = {d.code: d for d in DTYPES}
_BY_NUMPY: dict[np.dtype, DType] = {d.numpy: d for d in reversed(DTYPES) if d.name != "tf32"}

SIZES = np.zeros(256, dtype=np.int64)
for _d in DTYPES:
    SIZES[_d.code] = _d.size
SIZES.setflags(write=False)


def dtype(value: str | int | DType) -> DType:
    """Return the `DType` of that name or code. Raises: IsaError when there is none."""
    if isinstance(value, DType):
        return value
    found = BY_NAME.get(value) if isinstance(value, str) else BY_CODE.get(value)
    if found is None:
        raise IsaError(f"unknown data type {value!r}", code="DTYPE", help="known: " + ", ".join(BY_NAME))
    return found


def from_numpy(value: object) -> DType:
    """Return the `DType` with the same bytes as a numpy dtype. Raises: IsaError when there is none."""
    found = _BY_NUMPY.get(np.dtype(value))  # type: ignore[call-overload]
    if found is None:
        raise IsaError(f"no device data type for numpy {value!r}", code="DTYPE")
    return found
