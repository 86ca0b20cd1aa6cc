"""Element types and contents of a TensorFlow Lite model's tensors.

Layouts are those of the schema's comments: 4-bit and 2-bit values from the low bits of a byte upwards, strings as a
count, offsets and bytes, sparse tensors as one level of dense or compressed indices for each traversed dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod

import ml_dtypes
import numpy as np

from compiler.errors import ModelError

#: TensorType number -> numpy spelling; "" is no tensor of numbers or strings
DTYPES = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "string", 6: "bool", 7: "int16",
    8: "complex64", 9: "int8", 10: "float64", 11: "complex128", 12: "uint64", 13: "resource", 14: "variant",
    15: "uint32", 16: "uint16", 17: "int4", 18: "bfloat16", 19: "int2", 20: "uint4",
}
#: types packed into bytes -> (bits, what their values are kept as)
PACKED = {"int4": (4, np.int8), "int2": (2, np.int8), "uint4": (4, np.uint8)}
#: an element is a byte or more in a file, so that only sparse tensors and strings can be larger in memory
_MOST_DENSE = 1 << 31


@dataclass(frozen=True)
class Level:
    """One level of a sparse tensor: dense of `size`, or compressed with `segments` and `indices`."""

    size: int
    segments: np.ndarray | None = None
    indices: np.ndarray | None = None


@dataclass(frozen=True)
class Sparsity:
    """How the values of a sparse tensor are traversed.

    Attributes:
        order: traversed dimensions, blocks' own after those of the tensor.
        blocks: for each block dimension, the tensor dimension it divides.
        levels: one for each traversed dimension.
    """

    order: tuple[int, ...]
    blocks: tuple[int, ...]
    levels: tuple[Level, ...]


def array(data: np.ndarray, dtype: str, shape: tuple[int, ...], sparsity: Sparsity | None, where: str) -> np.ndarray:
    """The constant that `data`, bytes of the file, stands for: a view of them where the types allow.

    Raises: ModelError TENSOR_SIZE, TENSOR_SPARSE, TENSOR_STRING when bytes and shape do not fit.
    """
    if dtype == "string":
        return _strings(data, shape, where)
    count = prod(shape)
    if sparsity is not None:
        return _dense(_elements(data, dtype, -1, where), shape, sparsity, where)
    return _elements(data, dtype, count, where).reshape(shape)


def _elements(data: np.ndarray, dtype: str, count: int, where: str) -> np.ndarray:
    """`count` elements, -1 for as many as the bytes make."""
    if dtype in PACKED:
        return _unpacked(data, dtype, count, where)
    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype).newbyteorder("<")
    if count < 0:
        count = data.nbytes // kind.itemsize
    if data.nbytes != count * kind.itemsize:
        raise _size(count * kind.itemsize, data.nbytes, where)
    return np.frombuffer(data, kind, count)


def _unpacked(data: np.ndarray, dtype: str, count: int, where: str) -> np.ndarray:
    bits, kind = PACKED[dtype]
    each = 8 // bits
    count = data.nbytes * each if count < 0 else count
    if data.nbytes != -(-count // each):
        raise _size(-(-count // each), data.nbytes, where)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    fields = (data[:, None] >> shifts).astype(np.uint8) << (8 - bits)
    return (fields.view(kind) >> (8 - bits)).reshape(-1)[:count]


def _strings(data: np.ndarray, shape: tuple[int, ...], where: str) -> np.ndarray:
    raw = data.tobytes()
    count = int.from_bytes(raw[:4], "little") if len(raw) >= 4 else -1
    if count != prod(shape) or len(raw) < 4 * (count + 2):
        raise ModelError("a tensor of strings holds another number of them than its shape", code="TENSOR_STRING",
                         where=where, limit=prod(shape), actual=count)
    ends = np.frombuffer(raw, "<u4", count + 1, 4).tolist()
    if any(a > b for a, b in pairwise(ends)) or ends[-1] > len(raw):
        raise ModelError("the strings of a tensor lie outside of it", code="TENSOR_STRING", where=where)
    found = np.empty(count, object)
    found[:] = [raw[a:b].decode("utf-8", "replace") for a, b in pairwise(ends)]
    return found.reshape(shape)


def _dense(values: np.ndarray, shape: tuple[int, ...], sparsity: Sparsity, where: str) -> np.ndarray:
    """A sparse tensor written out; what it leaves out is zero."""
    rank, blocks = len(shape), sparsity.blocks
    if (sorted(sparsity.order) != list(range(rank + len(blocks))) or len(sparsity.levels) != len(sparsity.order)
            or any(not 0 <= d < rank for d in blocks) or len(set(blocks)) != len(blocks)):
        raise _sparse("a sparse tensor does not say how its dimensions are traversed", where)
    size = dict(zip(sparsity.order, (level.size for level in sparsity.levels), strict=True))
    inner = [size[rank + blocks.index(d)] if d in blocks else 1 for d in range(rank)]
    if any(s < 1 for s in inner) or any(n % s for n, s in zip(shape, inner)) or prod(shape) > _MOST_DENSE:
        raise _sparse("the blocks of a sparse tensor do not fit its shape", where)
    full = [n // s for n, s in zip(shape, inner)] + [size[rank + k] for k in range(len(blocks))]
    index = _indices([full[d] for d in sparsity.order], sparsity.levels, len(values), where)
    place = dict(zip(sparsity.order, index, strict=True))
    at = tuple(place[d] * inner[d] + (place[rank + blocks.index(d)] if d in blocks else 0) for d in range(rank))
    result = np.zeros(shape, values.dtype)
    result[at] = values
    return result


def _indices(sizes: list[int], levels: tuple[Level, ...], count: int, where: str) -> list[np.ndarray]:
    """Position of each of `count` values along each traversed dimension."""
    found: list[np.ndarray] = []
    nodes = 1
    for limit, level in zip(sizes, levels, strict=True):
        if level.segments is None or level.indices is None:
            if level.size != limit or nodes * level.size > count:
                raise _sparse("a dense level of a sparse tensor has another size than its dimension", where)
            parent, index = np.repeat(np.arange(nodes), level.size), np.tile(np.arange(level.size), nodes)
        else:
            segments, index = level.segments.astype(np.int64), level.indices.astype(np.int64)
            steps = np.diff(segments)
            if len(segments) != nodes + 1 or segments[0] != 0 or (steps < 0).any() or segments[-1] != len(index) \
                    or (len(index) and index.max() >= limit) or (index < 0).any():
                raise _sparse("the indices of a sparse tensor lie outside of it", where)
            parent = np.repeat(np.arange(nodes), steps)
        found = [f[parent] for f in found] + [index]
        nodes = len(index)
    if nodes != count:
        raise _sparse("a sparse tensor has another number of values than indices", where)
    return found


def _size(limit: int, actual: int, where: str) -> ModelError:
    return ModelError("the data of a tensor have another size than its shape and type", code="TENSOR_SIZE",
                      where=where, limit=f"{limit} bytes", actual=f"{actual} bytes")


def _sparse(what: str, where: str) -> ModelError:
    return ModelError(what, code="TENSOR_SPARSE", where=where)
