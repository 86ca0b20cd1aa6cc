"""One call of one layer, as its builder sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.errors import ModelError, ShapeError, UnsupportedOp
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.keras.config import Config, invalid
from compiler.frontends.keras.network import Layer

if TYPE_CHECKING:
    from compiler.frontends.keras.build import Builder


#: Of a table that is made while a model is read: masks of order, shares of pools, numbers of rows.
MOST_ELEMENTS = 1 << 27


@dataclass(frozen=True)
class Tensor:
    """A value of the graph with the mask that Keras keeps beside it (booleans, the value's leading axes), or ""."""

    value: str
    mask: str = ""


@dataclass
class Call:
    """What a builder of a layer works with.

    Attributes:
        b: the graph. layer: what is called. run: applies inner layers.
        args, kwargs: structures with `Tensor` for what other layers computed.
    """

    b: GraphBuilder
    layer: Layer
    args: list[Any]
    kwargs: dict[str, Any]
    run: Builder

    @property
    def config(self) -> Config:
        """The layer's settings."""
        return self.layer.config

    @property
    def where(self) -> str:
        """The layer, for messages."""
        return self.layer.config.where

    @property
    def first(self) -> Tensor:
        """The only tensor, or the first of a list."""
        return self.tensors[0]

    @property
    def x(self) -> str:
        """Value of the first tensor."""
        return self.first.value

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors of the first argument. Raises: ModelError MODEL_INVALID when there is none."""
        found = tensors(self.args[0] if self.args else list(self.kwargs.values()))
        if not found:
            raise invalid("a layer is called on no tensor", self.where, self.layer.kind)
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first tensor."""
        return self.b.shape(self.x)

    @property
    def rank(self) -> int:
        """Its number of dimensions."""
        return len(self.shape)

    @property
    def dtype(self) -> str:
        """Its element type."""
        return self.b.dtype(self.x)

    @property
    def modern(self) -> bool:
        """Whether Keras 3 wrote the model, where a few functions are defined otherwise than in Keras 2."""
        return self.run.version >= (3,)

    def op(self, op_type: str, inputs: list[Any], **attrs: Any) -> str:
        """`GraphBuilder.op`."""
        return self.b.op(op_type, inputs, **attrs)

    def weight(self, name: str, *shape: int) -> np.ndarray:
        """A weight, as float32 where it is a real number. Raises: ModelError MODEL_INVALID, ShapeError WEIGHT_SHAPE."""
        found = self.layer.weights.get(name)
        if found is None:
            raise invalid("a layer lacks a weight", self.where, name)
        fits = found.ndim == len(shape) and all(s in (-1, d) for s, d in zip(shape, found.shape, strict=False))
        if shape and not fits:
            raise ShapeError("a weight does not fit its layer", code="WEIGHT_SHAPE", where=f"{self.where}: {name}",
                             limit=_spelled(shape), actual=_spelled(found.shape))
        return found.astype(np.float32, copy=False) if found.dtype.kind == "f" else found

    def optional(self, name: str, *shape: int) -> np.ndarray | None:
        """A weight that some configurations leave out."""
        return self.weight(name, *shape) if name in self.layer.weights else None

    def like(self, number: Any, value: str | None = None) -> np.ndarray:
        """A number (or array) in the element type of `value`, by default the first tensor's."""
        return np.asarray(number, self.b.dtype(value or self.x))

    def axis(self, key: str = "axis", default: int = -1, rank: int | None = None) -> int:
        """A setting that names an axis, counted from the front."""
        return self.positive(self.config.integer(key, default), rank)

    def positive(self, axis: int, rank: int | None = None) -> int:
        """An axis counted from the front. Raises: ModelError MODEL_INVALID."""
        rank = self.rank if rank is None else rank
        if not -rank <= axis < rank:
            raise invalid("an axis lies outside the tensor", self.where, axis, f"rank {rank}")
        return axis % rank

    def limited(self, count: int) -> int:
        """A number of elements, unless no model needs a table of so many. Raises: ModelError MODEL_LIMIT."""
        if not 0 <= count <= MOST_ELEMENTS:
            raise ModelError("a table would have more elements than any model's", code="MODEL_LIMIT", where=self.where,
                             limit=MOST_ELEMENTS, actual=count)
        return count

    def refuse(self, what: str, help: str = "") -> UnsupportedOp:
        """The error for a form of a layer that cannot be imported."""
        error = UnsupportedOp(what, where=self.where, help=help)
        error.op, error.nodes = self.layer.kind, (self.layer.path,)
        return error


def tensors(structure: Any) -> list[Tensor]:
    """The tensors of a structure, in order."""
    if isinstance(structure, Tensor):
        return [structure]
    if isinstance(structure, dict):
        structure = list(structure.values())
    return [t for part in structure for t in tensors(part)] if isinstance(structure, list | tuple) else []


def _spelled(shape: tuple[int, ...]) -> str:
    return "x".join("?" if s < 0 else str(s) for s in shape) or "scalar"
