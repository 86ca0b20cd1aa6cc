"""Reads MXNet's params files: named arrays, as `NDArray.save`, Module checkpoints and `HybridBlock.export` write them.

Little endian: u64 0x112, u64 0, u64 count, the arrays, u64 count of names, names of u64 length and bytes. An array (see
`NDArray::Save` in src/ndarray/ndarray.cc) begins with the number of its version:

    V2, V3   u32 number, i32 storage, shape of the stored part if sparse, shape, i32 device, i32 its id, i32 type,
             i32 type and shape of each index array if sparse, data, data of the index arrays
    V1       u32 number, shape, device, type, data
    before   u32 dimensions, u32 each, device, type, data

A shape is i32 dimensions and i64 each. V3 has numpy's meaning of a shape: no dimensions is one element, -1 is none.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import ml_dtypes
import numpy as np

from compiler.errors import ModelError

LIST_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
#: numpy type by MXNet's number (3rdparty/mshadow/mshadow/base.h, TypeFlag).
DTYPES: dict[int, np.dtype] = {
    k: np.dtype(name) for k, name in enumerate((
        "float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool", "int16", "uint16", "uint32",
        "uint64", ml_dtypes.bfloat16))
}
#: storage type -> its index arrays (include/mxnet/ndarray.h, NDArrayStorageType).
_DENSE, _ROW_SPARSE, _CSR = 0, 1, 2
_INDEX_ARRAYS = {_DENSE: 0, _ROW_SPARSE: 1, _CSR: 2}
_MOST_DIMS = 32
#: Bytes that one sparse array may take when it is made dense; file and memory need not agree there.
_MOST_DENSE = 4 << 30


def read_params(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name, prefixes `arg:` and `aux:` left out, as read-only views of the mapped file.

    Raises: ModelError MODEL_MISSING, PARAMS_INVALID.
    """
    try:
        data = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)
    except OSError as error:
        raise ModelError(f"the params file cannot be read: {error.strerror}", code="MODEL_MISSING",
                         where=str(path)) from None
    named: dict[str, np.ndarray] = {}
    for key, array in parse_params(data, str(path)):
        name = key.removeprefix("arg:").removeprefix("aux:")
        if name in named:
            raise ModelError(f"the params file has {name!r} twice", code="PARAMS_INVALID", where=str(path))
        named[name] = array
    return named


def parse_params(data: np.ndarray, where: str = "params") -> list[tuple[str, np.ndarray]]:
    """(name, array) in the file's order; `data`: its bytes, uint8 (n,). Raises: ModelError PARAMS_INVALID."""
    reader = _Reader(data, where)
    if reader.numbers("Q", 2) != (LIST_MAGIC, 0):
        raise reader.error("the file does not begin as MXNet's lists of arrays do",
                           help="expected are files of NDArray.save, Module checkpoints or HybridBlock.export")
    arrays = [reader.array() for _ in range(reader.count(8))]
    names = [reader.text() for _ in range(reader.count(8))]
    if reader.left:
        raise reader.error(f"{reader.left} bytes follow the last name")
    if len(names) != len(arrays):
        raise reader.error("every array needs a name", limit=f"{len(arrays)} arrays", actual=f"{len(names)} names")
    return [(n, a) for n, a in zip(names, arrays, strict=True) if a is not None]


class _Reader:
    """A place in the file; nothing is taken that the file does not have."""

    def __init__(self, data: np.ndarray, where: str) -> None:
        self._data = data
        self._where = where
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def error(self, what: str, **more: object) -> ModelError:
        return ModelError(what, code="PARAMS_INVALID", where=f"{self._where}, offset {self._at}",
                          **{"help": "the file is damaged or of another format: copy or save it again", **more})  # type: ignore[arg-type]

    def take(self, size: int) -> np.ndarray:
        if size > self.left:
            raise self.error("the file ends before the data it announces", limit=f"{self.left} bytes left",
                             actual=f"{size} bytes")
        self._at += size
        return self._data[self._at - size : self._at]

    def numbers(self, kind: str, count: int) -> tuple[int, ...]:
        layout = f"<{count}{kind}"
        return struct.unpack(layout, self.take(struct.calcsize(layout)).tobytes())

    def number(self, kind: str) -> int:
        return self.numbers(kind, 1)[0]

    def count(self, least: int) -> int:
        """A number of things that take at least `least` bytes each."""
        found = self.number("Q")
        if found * least > self.left:
            raise self.error("the file announces more than it can hold", limit=f"{self.left} bytes left", actual=found)
        return found

    def text(self) -> str:
        try:
            return self.take(self.number("Q")).tobytes().decode()
        except UnicodeDecodeError:
            raise self.error("a name is not UTF-8 text") from None

    def dims(self, count: int, kind: str) -> tuple[int, ...]:
        if not 0 <= count <= _MOST_DIMS:
            raise self.error("an array has an impossible number of dimensions", limit=_MOST_DIMS, actual=count)
        found = self.numbers(kind, count)
        if any(d < 0 for d in found) or math.prod(d for d in found if d) >= 1 << 48:
            raise self.error("an array has an impossible size", actual=found)
        return found

    def shape(self) -> tuple[int, ...] | None:
        count = self.number("i")
        return None if count == -1 else self.dims(count, "q")

    def dtype(self) -> np.dtype:
        flag = self.number("i")
        if flag not in DTYPES:
            raise self.error("an array has an unknown element type", limit=f"0 to {max(DTYPES)}", actual=flag)
        return DTYPES[flag]

    def data(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        found = self.take(math.prod(shape) * dtype.itemsize).view(np.ndarray)
        if found.size and found.ctypes.data % dtype.alignment:
            found = found.copy()
        return found.view(dtype).reshape(shape)

    def array(self) -> np.ndarray | None:
        """The next array; None for one that was saved without a value."""
        magic = self.number("I")
        if magic not in (_V1, _V2, _V3):
            return self.dense(self.dims(magic, "I"))
        storage = self.number("i") if magic != _V1 else _DENSE
        if storage not in _INDEX_ARRAYS:
            raise self.error("an array has an unknown storage type", limit="0 to 2", actual=storage)
        stored = self.shape() if storage != _DENSE else ()
        shape = self.shape()
        if shape is None or stored is None or (magic != _V3 and not shape):
            return None
        if storage == _DENSE:
            return self.dense(shape, legacy=False)
        return self.sparse(storage, stored, shape)

    def dense(self, shape: tuple[int, ...], legacy: bool = True) -> np.ndarray | None:
        if legacy and not shape:
            return None
        self.numbers("i", 2)  # the device it was on
        return self.data(shape, self.dtype())

    def sparse(self, storage: int, stored: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
        self.numbers("i", 2)
        dtype = self.dtype()
        faces = [(self.dtype(), self.shape() or ()) for _ in range(_INDEX_ARRAYS[storage])]
        values = self.data(stored, dtype)
        indices = [self.data(dims, kind) for kind, dims in faces]
        if math.prod(shape) * dtype.itemsize > _MOST_DENSE:
            raise self.error("a sparse array is too large when made dense", limit=f"{_MOST_DENSE} bytes", actual=shape)
        made = np.zeros(shape, dtype)
        try:
            if storage == _ROW_SPARSE:
                _fill_rows(made, indices[0], values)
            else:
                _fill_csr(made, indices[0], indices[1], values)
        except (ValueError, IndexError, TypeError, OverflowError):
            raise self.error("the parts of a sparse array contradict each other") from None
        return made


def _fill_rows(made: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    if rows.size and not 0 <= int(rows.min()) <= int(rows.max()) < len(made):
        raise IndexError
    made[rows.astype(np.int64)] = values.reshape((rows.size, *made.shape[1:]))


def _fill_csr(made: np.ndarray, starts: np.ndarray, columns: np.ndarray, values: np.ndarray) -> None:
    rows, width = made.shape
    if starts.size != rows + 1 or columns.size != values.size or (columns.size and not 0 <= int(columns.min())
                                                                  <= int(columns.max()) < width):
        raise IndexError
    lengths = starts[1:].astype(np.int64) - starts[:-1].astype(np.int64)
    made[np.repeat(np.arange(rows), lengths), columns.astype(np.int64)] = values
