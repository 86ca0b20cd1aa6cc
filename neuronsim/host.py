"""The host side of one run: completes the inputs a user gives, and charges the host link.

Not responsible for the device (timing, values), for what is wrong with inputs (`neuronsim/host_checks.py`) nor for CPU
segments (`neuronsim/host_cpu.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from isa.errors import ErrorList, NeuronError
from isa.program import STRING, TensorInfo
from isa.target import Target
from neuronsim.errors import InputError
from neuronsim.host_checks import as_values, check_inputs, numpy_dtype


def random_input(info: TensorInfo, rng: np.random.Generator) -> Any:
    """A seeded stand-in for an input nobody gave.

    Floats are standard normal; 8-bit integers (quantised data) cover their range; booleans and wider integers are
    0 or 1, which is valid as a token, a token type, a mask and an index. Open sizes become 1, an optional is absent.
    Raises: InputError (INPUT_MISSING) for strings and containers, of which none is better than another.
    """
    if info.is_optional:
        return None
    if info.dtype == STRING or not info.is_tensor:
        raise InputError(
            f"input {info.name!r} has to be given: it is no tensor of numbers",
            code="INPUT_MISSING",
            where=info.name,
            actual=info.dtype,
        )
    shape = tuple(1 if d < 0 else d for d in info.shape)
    dtype = numpy_dtype(info.dtype)
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        low, high = (limits.min, limits.max) if dtype.itemsize == 1 else (0, 1)
        return rng.integers(low, high, shape, dtype=dtype, endpoint=True)
    return rng.standard_normal(shape, dtype=np.float32).astype(dtype)


def complete_inputs(
    infos: Sequence[TensorInfo], given: Mapping[str, Any] | None, seed: int
) -> tuple[dict[str, Any], list[str]]:
    """All inputs of the model in its order, and the names of those that were invented.

    Each missing input draws from its own generator, seeded by `seed` and its position, so that giving one input does
    not change another. Raises: as `check_inputs`; ErrorList of InputError (INPUT_MISSING).
    """
    complete = as_values(infos, given or {})
    check_inputs(infos, complete)
    missing: list[str] = []
    errors: list[NeuronError] = []
    for position, info in enumerate(infos):
        if info.name in complete:
            continue
        try:
            complete[info.name] = random_input(info, np.random.default_rng([seed, position]))
        except InputError as error:
            errors.append(error)
        missing += [] if info.is_optional else [info.name]
    if errors:
        raise ErrorList(errors)
    return {info.name: complete[info.name] for info in infos}, missing


def non_finite(arrays: Mapping[str, Any]) -> list[str]:
    """Names of float arrays that hold a NaN or an infinity."""
    floats = {n: a for n, a in arrays.items() if isinstance(a, np.ndarray) and a.dtype.kind == "f"}
    return [name for name, a in floats.items() if not bool(np.isfinite(a).all())]


def link_seconds(sizes_bytes: Iterable[int], target: Target) -> float:
    """Time the host link of `target` takes for tensors of these sizes, one after another. Unit: seconds."""
    total = sum(sizes_bytes)
    return total / target.host_bytes_per_ns * 1e-9 if total else 0.0
