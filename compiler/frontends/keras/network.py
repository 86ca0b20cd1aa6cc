"""A saved model as plain data: layers, and how each is called on the results of others."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compiler.frontends.keras.config import Config, invalid

#: Classes that are networks of layers.
MODELS = ("Functional", "Model", "Sequential")


@dataclass(frozen=True)
class Ref:
    """Result `index` of call number `call` of a layer."""

    layer: str
    call: int
    index: int


@dataclass
class Applied:
    """One call of a layer: positional and keyword arguments, with `Ref` for tensors."""

    args: list[Any]
    kwargs: dict[str, Any]

    def refs(self) -> Iterator[Ref]:
        """The tensors it needs."""
        yield from leaves([self.args, self.kwargs])


@dataclass
class Layer:
    """One layer, or operation of `keras.ops`.

    Attributes:
        kind: name of its class. module: where that is from, "" where the file does not say.
        registered: the name a custom class goes by, or "".
        path: its name, after those of the models around it.
        calls: how it is applied, in order.
        parts: inner layers (of wrappers and recurrent layers) by attribute.
        network: what is inside a model.
        weights: arrays by name of the variable, given by `weights.py`.
    """

    kind: str
    name: str
    path: str
    config: Config
    module: str = ""
    registered: str = ""
    calls: list[Applied] = field(default_factory=list)
    parts: dict[str, Layer] = field(default_factory=dict)
    network: Network | None = None
    weights: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Network:
    """The inside of a model: layers by name in the file's order, and the structures of its inputs and outputs."""

    name: str
    layers: dict[str, Layer]
    inputs: Any
    outputs: Any

    def walk(self) -> Iterator[Layer]:
        """Every layer, inner ones included."""
        for layer in self.layers.values():
            yield from within(layer)

    def ordered(self, fed: Container[str]) -> list[tuple[Layer, int]]:
        """(layer, number of the call) of every call, each after those it reads; `fed`: names of what is given.

        Raises: ModelError MODEL_INVALID when calls wait for each other.
        """
        readers: dict[tuple[str, int], list[tuple[Layer, int]]] = {}
        missing: dict[tuple[str, int], int] = {}
        ready: list[tuple[Layer, int]] = []
        for layer in self.layers.values():
            for k, call in enumerate(layer.calls if layer.name not in fed else ()):
                needed = {(r.layer, r.call) for r in call.refs() if r.layer not in fed or r.call}
                missing[layer.name, k] = len(needed)
                for key in sorted(needed):
                    readers.setdefault(key, []).append((layer, k))
                if not needed:
                    ready.append((layer, k))
        for layer, k in ready:  # grows while it is read
            for reader, call_number in readers.get((layer.name, k), ()):
                missing[reader.name, call_number] -= 1
                if not missing[reader.name, call_number]:
                    ready.append((reader, call_number))
        if len(ready) < len(missing):
            waiting = next(name for (name, _), count in missing.items() if count)
            raise invalid("layers wait for each other", self.layers[waiting].config.where, waiting)
        return ready


def within(layer: Layer) -> Iterator[Layer]:
    """A layer and all inside it."""
    yield layer
    for part in layer.parts.values():
        yield from within(part)
    if layer.network is not None:
        yield from layer.network.walk()


def leaves(structure: Any) -> Iterator[Ref]:
    """The tensors of a structure of lists and dictionaries, in order."""
    if isinstance(structure, Ref):
        yield structure
    elif isinstance(structure, dict):
        for value in structure.values():
            yield from leaves(value)
    elif isinstance(structure, list):
        for value in structure:
            yield from leaves(value)
