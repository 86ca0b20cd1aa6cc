"""Where the members that a listing names come from: a NEFF, an unpacked folder, or a mapping."""
from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from isa.errors import ContainerError
from isa.neff.archive import check_member_path
from isa.neff.container import Container

Weights = str | os.PathLike[str] | Mapping[str, bytes | np.ndarray] | None
MemberSource = Callable[[str, "int | None"], np.ndarray]  # (member, expected bytes or None) -> [n] uint8


def member_source(weights: Weights) -> MemberSource | None:
    """Return the function that finds the bytes of a member, checked for path and size; None for no source.

    Raises: ContainerError, at once or when called.
    """
    if weights is None:
        return None
    find = _finder(weights)

    def fetch(name: str, size: int | None) -> np.ndarray:
        check_member_path(name)
        data = find(name)
        if size is not None and data.size != size:
            raise ContainerError("member does not fill the variable", code="NEFF_WEIGHT", section=name, limit=size,
                                 actual=int(data.size))
        return data

    return fetch


def _finder(weights: str | os.PathLike[str] | Mapping[str, bytes | np.ndarray]) -> Callable[[str], np.ndarray]:
    if isinstance(weights, Mapping):
        return lambda name: _from_mapping(weights, name)
    path = Path(weights)
    return (lambda name: _from_folder(path, name)) if path.is_dir() else Container(path).bytes


def _from_mapping(weights: Mapping[str, bytes | np.ndarray], name: str) -> np.ndarray:
    if name not in weights:
        raise ContainerError("member is missing", code="NEFF_MEMBER_MISSING", section=name)
    data = weights[name]
    if isinstance(data, np.ndarray):
        return np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    return np.frombuffer(data, dtype=np.uint8)


def _from_folder(folder: Path, name: str) -> np.ndarray:
    path = folder / name
    if not path.is_file():
        raise ContainerError("member is missing", code="NEFF_MEMBER_MISSING", section=name, where=str(folder))
    if path.stat().st_size == 0:
        return np.zeros(0, dtype=np.uint8)
    return np.memmap(path, dtype=np.uint8, mode="r")
