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


class Text:
    """An input of texts in a model that was cut behind what reads it."""


class Gone:
    """What a branch that is not taken, or an operator that cannot be converted, computes."""


GONE = Gone()
Value = str | Variable | Items | Noise | Text | Gone
