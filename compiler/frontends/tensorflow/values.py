"""What the outputs of nodes are while a graph is imported: mostly values of the builder, sometimes something else."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variable:
    """A resource: the variable of a node of the main graph."""

    node: str
    shared_name: str


@dataclass(frozen=True)
class Items:
    """A list of tensors (TensorList, or what a TensorArray's flow carries); None for an item not written yet.

    Attributes:
        items: values of the builder.
        shape: of an item: None per open size, None altogether for an unknown rank.
        dtype: of an item, numpy spelling.
    """

    items: tuple[str | None, ...]
    shape: tuple[int | None, ...] | None
    dtype: str


@dataclass(frozen=True)
class Noise:
    """Random numbers of [low, high), of which no more is known."""

    low: float
    high: float
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Sparse:
    """Something of a sparse tensor that is kept as a dense one and a mask of its entries, both values of the builder.

    Attributes:
        kind: "places" (a row of coordinates for each entry), "values" (the entries), "rows" (the first coordinate of
            each), "chosen" (numbers of those entries where `dense` is true), "unique" (the distinct entries), "numbers"
            (the number of each entry among these), "looked up" (rows of a table for these).
        dense: where an entry is, its value; elsewhere anything.
    """

    kind: str
    mask: str
    dense: str = ""


class Text:
    """An input of texts in a model that was cut behind what reads it."""


class Gone:
    """What a branch that is not taken, or an operator that cannot be converted, computes."""


GONE = Gone()
Value = str | Variable | Items | Noise | Sparse | Text | Gone
