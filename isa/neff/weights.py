"""Weights of a NEFF that is mapped and not read: bytes are hashed when first asked for."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isa.dtypes import DType
from isa.errors import ContainerError
from isa.program import WEIGHT, Variable


class StoredWeight(Variable):
    """A weight in a mapped NEFF.

    `data` is the [n] uint8 view of the file, read-only and 64-byte aligned; the first access hashes it and raises
    ContainerError (NEFF_HASH) when the file's bytes are not the ones its manifest promises. Shape, dtype and
    `size_bytes` need no access, so time-only runs never touch a weight.
    """

    def __init__(self, id: int, name: str, dtype: DType, shape: tuple[int, ...],
                 fetch: Callable[[], np.ndarray]) -> None:
        for key, value in (("id", id), ("name", name), ("kind", WEIGHT), ("dtype", dtype), ("shape", shape),
                           ("_fetch", fetch)):
            object.__setattr__(self, key, value)

    @property
    def data(self) -> np.ndarray:
        return self._fetch()  # type: ignore[attr-defined]  # set past the frozen dataclass

    def __repr__(self) -> str:
        return f"StoredWeight(id={self.id}, name={self.name!r}, dtype={self.dtype}, shape={self.shape})"

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return hash((self.id, self.name))


def has_data(variable: Variable) -> bool:
    """Return whether the variable has bytes, without touching those of a mapped file."""
    return isinstance(variable, StoredWeight) or variable.data is not None


def weight_bytes(variable: Variable) -> np.ndarray:
    """Return the [n] uint8 bytes of a weight, verified. The same as ``variable.data`` where that is present.

    Raises: ContainerError (NEFF_WEIGHT when the variable has no bytes, NEFF_HASH when they are damaged).
    """
    data = variable.data
    if data is None:
        raise ContainerError(f"variable {variable.name!r} of kind {variable.kind} has no bytes", code="NEFF_WEIGHT")
    flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    if flat.size != variable.size_bytes:
        raise ContainerError(f"weight {variable.name!r} does not fill its shape", code="NEFF_WEIGHT",
                             limit=variable.size_bytes, actual=int(flat.size))
    return flat
