"""Rows of tensors: where each begins, one of every partition at a time."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compiler.layout import Atom, F, Run, Tensor, engine_runs, linear_offsets


@dataclass(frozen=True)
class Line:
    """One row in every partition of a run, in each of several tensors: the run, and the offset of the row's start."""

    runs: tuple[Run, ...]
    at: tuple[int, ...]


def lines(*rows: tuple[Tensor, list[int]]) -> list[Line]:
    """Every row of tensors, each with the axes that its rows run along; the other axes agree."""
    outer = [[(a.size, a.stride) for i, axis in enumerate(t.axes) if i not in axes for a in axis if a.space == F]
             for t, axes in rows]
    starts = np.stack([linear_offsets(dims) for dims in outer], axis=1).tolist()
    return [Line(runs, tuple(at)) for runs in engine_runs(*(t.positions() for t, _ in rows)) for at in starts]


def reverse(x: Tensor, axis: int) -> Tensor:
    """`x` with one axis, on the free dimension, in the opposite order."""
    atoms = x.axes[axis]
    assert all(a.space == F for a in atoms if a.size > 1)
    end = sum((a.size - 1) * a.stride for a in atoms)
    axes = list(x.axes)
    axes[axis] = tuple(Atom(a.size, F, -a.stride) if a.space == F else a for a in atoms)
    return x._rebuild(axes, x.pmap, offset=x.offset + end)
