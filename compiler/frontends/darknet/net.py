"""A network under construction: what the layers so far have computed, and the table of the kinds of layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from compiler.errors import CompileError, ShapeError
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.darknet.cfg import LARGEST, Section
from compiler.frontends.darknet.weights import Weights

#: More channels than any network has; constants of one number per channel stay small.
MOST_CHANNELS = 1 << 20
#: Time steps are written out one after the other.
MOST_STEPS = 1024


@dataclass(frozen=True)
class Layer:
    """What one layer computes.

    Attributes:
        value: the graph's; [rows, c, h, w] or [rows, size].
        size: numbers per row ("outputs" in darknet).
        image: (c, h, w) where the layer gives an image, be its value of that form or a row of numbers; else None.
    """

    value: str
    size: int
    image: tuple[int, int, int] | None


@dataclass
class Net:
    """The state while layers are converted.

    Attributes:
        b: what builds the graph.
        weights: the numbers, taken in order.
        steps: time steps in a call; rows of every value are ordered by step, then by sequence.
        alexey: whether the files are of AlexeyAB's darknet, where it differs from pjreddie's.
        batchnorm_biases: whether layers [batchnorm] have biases in the file.
        layers: what the layers so far give, by number.
        shared: arrays of convolutions by layer, for those that share weights.
    """

    b: GraphBuilder
    weights: Weights
    steps: int
    alexey: bool
    batchnorm_biases: bool
    rows: int = 1
    layers: list[Layer] = field(default_factory=list)
    shared: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)

    def image(self, value: str, section: Section) -> Layer:
        """A layer that gives an image, from its value [rows, c, h, w]. Raises: ShapeError LAYER_SIZE."""
        c, h, w = self.b.shape(value)[1:]
        self.check(section, c, h, w)
        return Layer(value, c * h * w, (c, h, w))

    def flat(self, value: str, section: Section, image: bool = False) -> Layer:
        """A layer that gives rows of numbers, from its value [rows, size]; `image`: pixels with so many channels."""
        size = self.b.shape(value)[1]
        self.check(section, size, 1, 1)
        return Layer(value, size, (size, 1, 1) if image else None)

    def pixels(self, layer: Layer, section: Section) -> tuple[str, int, int, int]:
        """Value and (c, h, w) of a layer that has to give an image. Raises: ShapeError NO_IMAGE."""
        if layer.image is None:
            raise ShapeError(f"the layer before [{section.kind}] does not give an image", code="NO_IMAGE",
                             where=section.where, actual=f"{layer.size} numbers")
        return (self.reshape(layer.value, self.rows, *layer.image), *layer.image)

    def row(self, layer: Layer) -> str:
        """A layer's value as [rows, size]."""
        return self.reshape(layer.value, self.rows, layer.size)

    def like(self, layer: Layer, value: str) -> Layer:
        """A layer of the same form with another value, of either form."""
        return Layer(value, layer.size, layer.image)

    def at(self, section: Section, index: int) -> Layer:
        """A layer by number, counted back from this one if negative. Raises: ShapeError LAYER_INDEX."""
        absolute = index if index >= 0 else len(self.layers) + index
        if not 0 <= absolute < len(self.layers):
            raise ShapeError("a layer refers to one that does not come before it", code="LAYER_INDEX",
                             where=section.where, limit=f"0 to {len(self.layers) - 1}", actual=index)
        return self.layers[absolute]

    def check(self, section: Section, c: int, h: int, w: int) -> None:
        """Raises: ShapeError LAYER_SIZE when a size is none, or more than darknet can count."""
        if min(c, h, w) < 1 or c * h * w > LARGEST or (h * w > 1 and c > MOST_CHANNELS):
            raise ShapeError("a layer has no output, or one that is too large", code="LAYER_SIZE",
                             where=section.where, actual=f"{c} x {h} x {w}",
                             limit=f"1 to {LARGEST} numbers, {MOST_CHANNELS} channels")

    def reshape(self, value: str, *shape: int) -> str:
        """The value in another shape, or itself where it has that."""
        if self.b.shape(value) == shape:
            return value
        return self.b.op("Reshape", [value, np.array(shape, np.int64)])

    def slice(self, value: str, axis: int, start: int, end: int, step: int = 1) -> str:
        """A part along one axis, or the value itself where that is all."""
        if (start, end, step) == (0, self.b.shape(value)[axis], 1):
            return value
        return self.b.op("Slice", [value, *(np.array([k], np.int64) for k in (start, end, axis, step))])

    def concat(self, values: list[str], axis: int) -> str:
        """The values one after the other along an axis."""
        return values[0] if len(values) == 1 else self.b.op("Concat", values, axis=axis)

    def scaled(self, value: str, factor: float) -> str:
        """The value times a number."""
        return value if factor == 1 else self.b.op("Mul", [value, np.float32(factor)])

    def zeros(self, *shape: int) -> str:
        """Zeros, made without a large constant."""
        return self.b.op("Expand", [np.zeros((1,) * len(shape), np.float32), np.array(shape, np.int64)])


Converter = Callable[[Net, Section, Layer], Layer]

#: kind of layer -> its converter.
LAYERS: dict[str, Converter] = {}
#: (kind, option) -> why a layer that sets it to something but 0 cannot be compiled. "" as kind: any layer.
REFUSED: dict[tuple[str, str], str] = {}


def layer(*kinds: str, **refused: str) -> Callable[[Converter], Converter]:
    """Register the converter of some kinds of layers, and the options it cannot do, with the reason."""

    def register(converter: Converter) -> Converter:
        for kind in kinds:
            LAYERS[kind] = converter
            REFUSED.update({(kind, option): reason for option, reason in refused.items()})
        return converter

    return register


def unfit(section: Section, what: str, limit: object, actual: object) -> CompileError:
    """An error on sizes that do not fit each other."""
    return ShapeError(what, code="LAYER_SHAPE", where=section.where, limit=limit, actual=actual)
