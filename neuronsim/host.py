"""The host side of one run: checks the inputs a user gives, invents the missing ones, charges the host link.

Not responsible for the device (timing, values) nor for CPU segments (`neuronsim/host_cpu.py`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

import ml_dtypes
import numpy as np

from isa import dtypes
from isa.errors import ErrorList, NeuronError
from isa.program import TensorInfo
from isa.target import Target
from neuronsim.errors import InputError


def numpy_dtype(name: str) -> np.dtype:
    """The numpy type of a dtype name (numpy or `ml_dtypes` spelling). Raises: IsaError when there is none."""
    try:
        return np.dtype(name)
    except TypeError:
        pass
    extension = getattr(ml_dtypes, name, None)
    return np.dtype(extension) if extension is not None else dtypes.dtype(name).numpy


def check_inputs(infos: Sequence[TensorInfo], given: Mapping[str, np.ndarray]) -> None:
    """Compare names, shapes and types of `given` with the model's inputs (absent ones are allowed).

    Raises: ErrorList of InputError (INPUT_NAME, INPUT_SHAPE, INPUT_DTYPE), everything wrong at once.
    """
    expected = {i.name: i for i in infos}
    errors: list[NeuronError] = []
    for name, array in given.items():
        info = expected.get(name)
        if info is None:
            errors.append(_unknown_name(name, list(expected)))
            continue
        if tuple(array.shape) != tuple(info.shape):
            errors.append(_shape_error(info, array))
        if array.dtype != numpy_dtype(info.dtype):
            errors.append(_dtype_error(info, array))
    if errors:
        raise ErrorList(errors)


def random_input(info: TensorInfo, rng: np.random.Generator) -> np.ndarray:
    """A seeded stand-in for an input nobody gave.

    Floats are standard normal; 8-bit integers (quantised data) cover their range; booleans and wider integers are
    0 or 1, which is valid as a token, a token type, a mask and an index.
    """
    dtype = numpy_dtype(info.dtype)
    if dtype == np.bool_:
        return rng.integers(0, 2, info.shape).astype(np.bool_)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        low, high = (limits.min, limits.max) if dtype.itemsize == 1 else (0, 1)
        return rng.integers(low, high, info.shape, dtype=dtype, endpoint=True)
    return rng.standard_normal(info.shape, dtype=np.float32).astype(dtype)


def complete_inputs(
    infos: Sequence[TensorInfo], given: Mapping[str, np.ndarray] | None, seed: int
) -> tuple[dict[str, np.ndarray], list[str]]:
    """All inputs of the model in its order, and the names of those that were invented.

    Each missing input draws from its own generator, seeded by `seed` and its position, so that giving one input does
    not change another. Raises: as `check_inputs`.
    """
    arrays = {name: np.asarray(value) for name, value in (given or {}).items()}
    check_inputs(infos, arrays)
    missing = [i.name for i in infos if i.name not in arrays]
    complete = {
        info.name: arrays[info.name]
        if info.name in arrays
        else random_input(info, np.random.default_rng([seed, position]))
        for position, info in enumerate(infos)
    }
    return complete, missing


def non_finite(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Names of float arrays that hold a NaN or an infinity."""
    return [name for name, a in arrays.items() if a.dtype.kind == "f" and not bool(np.isfinite(a).all())]


def link_seconds(sizes_bytes: Iterable[int], target: Target) -> float:
    """Time the host link of `target` takes for tensors of these sizes, one after another. Unit: seconds."""
    total = sum(sizes_bytes)
    return total / target.host_bytes_per_ns * 1e-9 if total else 0.0


def _unknown_name(name: str, expected: list[str]) -> InputError:
    close = difflib.get_close_matches(name, expected, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return InputError(
        f"the model has no input {name!r}",
        code="INPUT_NAME",
        where=name,
        help=f"{hint}inputs: {', '.join(expected) or 'none'}",
    )


def _shape_error(info: TensorInfo, array: np.ndarray) -> InputError:
    return InputError(
        f"input {info.name!r} has the wrong shape",
        code="INPUT_SHAPE",
        where=info.name,
        limit=_shape(info.shape),
        actual=_shape(array.shape),
        help=f"compile with --input-shape {info.name}:{_shape(array.shape)}, or reshape the array",
    )


def _dtype_error(info: TensorInfo, array: np.ndarray) -> InputError:
    return InputError(
        f"input {info.name!r} has the wrong data type",
        code="INPUT_DTYPE",
        where=info.name,
        limit=info.dtype,
        actual=str(array.dtype),
        help=f"convert it: array.astype({info.dtype!r})",
    )


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
