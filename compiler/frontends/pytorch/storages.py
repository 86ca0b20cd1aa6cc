"""Whether the tensors of a TorchScript file lie within their bytes: torch's own reader trusts what it is told."""

from __future__ import annotations

from compiler.errors import ModelError
from compiler.frontends.pytorch.archive import Archive
from compiler.frontends.pytorch.pickled import Call, Storage, tensors

#: Bytes of an element by torch's class of storages.
SIZES = {"BoolStorage": 1, "ByteStorage": 1, "CharStorage": 1, "ShortStorage": 2, "HalfStorage": 2, "IntStorage": 4,
         "BFloat16Storage": 2, "FloatStorage": 4, "LongStorage": 8, "DoubleStorage": 8, "ComplexFloatStorage": 8,
         "ComplexDoubleStorage": 16, "QInt8Storage": 1, "QUInt8Storage": 1, "QInt32Storage": 4}


def check(archive: Archive) -> None:
    """Refuse a file with tensors larger than their bytes. Raises: ModelError TENSOR_SIZE, MODEL_INCOMPLETE."""
    for pickle, folder in (("data.pkl", "data"), ("constants.pkl", "constants")):
        if pickle in archive:
            for call in tensors(archive.read(pickle)):
                _check(archive, call, folder)


def _check(archive: Archive, call: Call, folder: str) -> None:
    args = call.args
    if len(args) < 4 or not isinstance(args[0], Storage) or not _numbers((args[1],), args[2], args[3]):
        return
    stated = args[0].args
    if not isinstance(stated, tuple) or len(stated) < 5 or not isinstance(stated[4], int):
        return  # torch refuses it
    _, kind, key, _, count = stated[:5]
    entry = f"{folder}/{key}"
    wanted = count * SIZES.get(str(kind).rsplit(".", 1)[-1], 1)
    there = archive.size(entry)
    last = args[1] + sum((d - 1) * s for d, s in zip(args[2], args[3])) + 1
    if not 0 <= wanted <= there or (0 not in args[2] and (last > count or min(args[1], *args[2], *args[3], 0) < 0)):
        raise ModelError("a tensor is larger than its data", code="TENSOR_SIZE", where=f"{archive.path}: {entry}",
                         limit=f"{there} bytes", actual=f"{count} elements of {kind}, shape {list(args[2])}")


def _numbers(*values: object) -> bool:
    return all(isinstance(v, tuple | list) and all(isinstance(n, int) for n in v) for v in values)
