"""Dynamic batching: inputs of any number of rows, cut along dimension 0 into runs of the size a model was compiled for.

The device always runs the compiled batch: the last piece is filled up with rows of zeros, whose outputs are dropped.
The option of Neuron's frameworks does this too (`dynamic_batch_size`); that the rows are zeros is chosen here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isa.program import Program, TensorInfo
from neuronsim.errors import InputError
from neuronsim.host_checks import as_values, shape_text


@dataclass(frozen=True)
class Pieces:
    """Inputs of one run each; `rows`: of all of them together, None where nothing was cut."""

    inputs: list[dict[str, Any]]
    rows: int | None = None

    def join(self, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Arrays by name of all runs as those of one, without the rows that were filled in."""
        if self.rows is None:
            return dict(parts[0])
        return {name: np.concatenate([part[name] for part in parts])[: self.rows] for name in parts[0]}


def cut(program: Program, inputs: Mapping[str, Any]) -> Pieces:
    """The runs that it takes to compute `inputs`. What differs from the model in more than its rows is left as it is.

    Raises: InputError (INPUT_BATCH) for inputs of different numbers of rows, for none, and for a model some of whose
        tensors are not divided along dimension 0.
    """
    given = as_values(program.inputs, inputs)
    expected = {i.name: i for i in program.inputs}
    rows = {name: _rows(expected.get(name), value) for name, value in given.items()}
    if None in rows.values() or all(np.shape(v) == expected[name].shape for name, v in given.items()):
        return Pieces([given])
    batch = _batch(program)
    counts = set(rows.values())
    if len(counts) > 1 or 0 in counts:
        raise InputError(
            "the inputs have different numbers of rows" if len(counts) > 1 else "the inputs have no rows",
            code="INPUT_BATCH", where=", ".join(rows), actual=", ".join(f"{n}: {r}" for n, r in rows.items()),
            limit=f"any number, the same for all; runs take {batch}",
        )  # fmt: skip
    total = counts.pop()
    assert total is not None
    pieces = [{name: _piece(v, start, batch) for name, v in given.items()} for start in range(0, total, batch)]
    return Pieces(pieces, total)


def _rows(info: TensorInfo | None, value: Any) -> int | None:
    """Rows of an array that fits the model but for their number; None for any other value."""
    if info is None or not info.is_static or not isinstance(value, np.ndarray) or value.ndim != len(info.shape):
        return None
    return value.shape[0] if value.ndim and value.shape[1:] == info.shape[1:] else None


def _batch(program: Program) -> int:
    """Rows of one run: dimension 0 of every input and output."""
    tensors = [*program.inputs, *program.outputs]
    sizes = [i.shape[0] if i.is_static and i.shape else None for i in tensors]
    batch = sizes[0]
    for info, size in zip(tensors, sizes):
        if size is None or size != batch or not size:
            raise InputError(
                f"tensor {info.name!r} is not divided along dimension 0 as the others are, so that other numbers of "
                "rows than the compiled one cannot be run",
                code="INPUT_BATCH", where=info.name, limit=batch,
                actual=shape_text(info.shape) if info.is_tensor else info.dtype,
                help="give the compiled shapes, or compile with the batch as dimension 0 of all inputs and outputs",
            )  # fmt: skip
    assert batch is not None
    return batch


def _piece(array: np.ndarray, start: int, batch: int) -> np.ndarray:
    piece = array[start : start + batch]
    if len(piece) == batch:
        return piece
    full = np.zeros((batch, *array.shape[1:]), array.dtype)
    full[: len(piece)] = piece
    return full
