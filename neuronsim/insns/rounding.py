"""Conversions between memory elements and fp32: exact on read, rounded once (nearest even) on write.

Floats overflow as ml_dtypes does (fp8_e4m3 to NaN, the others to infinity); a NaN becomes the canonical quiet NaN of
the type; integers saturate and NaN becomes 0; bool is `x != 0`. Compiled twin: `neuronsim/_core/kernels/convert.h`.
"""
from __future__ import annotations

import numpy as np

from isa.dtypes import DType

CANONICAL_NAN: dict[str, int] = {
    "fp32": 0x7FC00000, "tf32": 0x7FC00000, "bf16": 0x7FC0, "fp16": 0x7E00, "fp8_e4m3": 0x7F, "fp8_e5m2": 0x7E,
}
_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def round_tf32(x: np.ndarray) -> np.ndarray:
    """fp32 array rounded to 10 mantissa bits, as fp32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))) & np.uint32(0xFFFFE000)
    return np.where(np.isnan(x), np.float32(np.nan), rounded.view(np.float32)).astype(np.float32)


def to_float32(elements: np.ndarray, dtype: DType) -> np.ndarray:
    """Elements of `dtype` (numpy type `dtype.numpy`) as the fp32 values the engines see; tf32 is rounded here."""
    if dtype.name == "bool":
        return (elements.view(np.uint8) != 0).astype(np.float32)
    with np.errstate(all="ignore"):
        x: np.ndarray = elements.astype(np.float32)
    return round_tf32(x) if dtype.name == "tf32" else x


def from_float32(x: np.ndarray, dtype: DType) -> np.ndarray:
    """fp32 values rounded to elements of `dtype`."""
    if dtype.name == "bool":
        return x != 0
    with np.errstate(all="ignore"):
        if dtype.kind != "f":
            return _saturate(np.rint(np.where(np.isnan(x), 0.0, x.astype(np.float64))), dtype)
        out: np.ndarray = round_tf32(x) if dtype.name == "tf32" else x.astype(dtype.numpy)
        nan = np.isnan(out.astype(np.float32))
    bits = out.view(_UNSIGNED[dtype.size])
    return np.where(nan, bits.dtype.type(CANONICAL_NAN[dtype.name]), bits).view(dtype.numpy)


def from_int64(x: np.ndarray, dtype: DType) -> np.ndarray:
    """Exact integers saturated to the integer type `dtype`."""
    info = np.iinfo(dtype.numpy)
    return np.clip(x, info.min, info.max).astype(dtype.numpy)


def _saturate(x: np.ndarray, dtype: DType) -> np.ndarray:
    info = np.iinfo(dtype.numpy)
    clipped = np.clip(x, float(info.min), float(info.max))
    if dtype.size < 8:
        return clipped.astype(dtype.numpy)
    top = clipped >= float(info.max)  # 2^63 and 2^64 are not representable in the type
    return np.where(top, info.max, np.where(top, 0.0, clipped).astype(dtype.numpy)).astype(dtype.numpy)


def cast(elements: np.ndarray, source: DType, target: DType) -> np.ndarray:
    """What a DMA cast writes: integer to integer exact and saturating; to or from a 64-bit type as below; else by fp32.

    To fp64, int64 or uint64 the value goes through float64; from them to a narrower type through fp32.
    """
    if source.name == target.name:
        return elements
    if source.kind in "iu" and target.kind in "iu" and "bool" not in (source.name, target.name):
        return _cast_integer(elements, target)
    if target.size == 8:
        return _to_wide(elements, source, target)
    return from_float32(to_float32(elements, source), target)


def _cast_integer(elements: np.ndarray, target: DType) -> np.ndarray:
    info, own = np.iinfo(target.numpy), np.iinfo(elements.dtype)
    low, high = max(int(info.min), int(own.min)), min(int(info.max), int(own.max))
    return np.clip(elements, elements.dtype.type(low), elements.dtype.type(high)).astype(target.numpy)


def _to_wide(elements: np.ndarray, source: DType, target: DType) -> np.ndarray:
    exact = source.size == 8 or (source.kind in "iu" and source.name != "bool")
    with np.errstate(all="ignore"):
        x = elements.astype(np.float64) if exact else to_float32(elements, source).astype(np.float64)
    if target.kind == "f":
        return np.where(np.isnan(x), np.float64(np.nan), x)
    return _saturate(np.rint(np.where(np.isnan(x), 0.0, x)), target)
