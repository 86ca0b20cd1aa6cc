"""Runs a saved network: every call of every layer, in an order in which each finds what it reads."""

from __future__ import annotations

from typing import Any

from compiler.errors import ModelError
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.keras import functions
from compiler.frontends.keras.call import Call, Tensor
from compiler.frontends.keras.config import invalid
from compiler.frontends.keras.network import Applied, Layer, Network, Ref
from compiler.frontends.keras.registry import TABLES
from compiler.frontends.keras.support import is_function, is_operation
from compiler.frontends.onnx.types import tensor_type

#: Calls of layers in one model, those of models inside models counted each time: nesting multiplies them.
MOST_CALLS = 20_000
#: Layers with weights that take whole numbers.
_WHOLE = ("Embedding", "ReversibleEmbedding")


class Builder:
    """Adds the operators of layers to a graph.

    Attributes:
        b: the graph. version: of the Keras that wrote the file. early: whether that was the one beside TensorFlow 1.
    """

    def __init__(self, b: GraphBuilder, version: tuple[int, ...], tf: bool) -> None:
        self.b = b
        self.version = version
        self.early = version < (2, 4) and not tf
        self._calls = 0

    def network(self, network: Network, fed: dict[str, Tensor]) -> Any:
        """The structure of a network's outputs, given the tensor of each of its input layers."""
        results: dict[tuple[str, int], list[Any]] = {}
        for name, tensor in fed.items():
            results[name, 0] = [tensor]
        for layer, k in network.ordered(fed):
            results[layer.name, k] = self._applied(layer, layer.calls[k], results)
        return _filled(network.outputs, results, network.name)

    def apply(self, layer: Layer, args: list[Any], kwargs: dict[str, Any] | None = None) -> Any:
        """One call of a layer: a `Tensor`, or a structure of them."""
        self._calls += 1
        if self._calls > MOST_CALLS:
            raise ModelError("the model calls more layers than any model does", code="MODEL_LIMIT",
                             where=layer.config.where, limit=MOST_CALLS)
        call = Call(self.b, layer, args, kwargs or {}, self)
        if layer.network is not None:
            return self._nested(layer.network, call)
        with self.b.layer(layer.path):
            if is_operation(layer):
                return _wrapped(functions.operation(call), "")
            if is_function(layer):
                return _wrapped(functions.function(call), "")
            entry = TABLES.layers[layer.kind]
            if entry.variables and layer.kind not in _WHOLE:
                call.args = [self._real(a) for a in args]
            mask = call.first.mask if entry.masks else ""
            return _wrapped(entry.build(call), mask)

    def _real(self, argument: Any) -> Any:
        """An argument with whole numbers as real ones, for layers whose weights are real."""
        if isinstance(argument, Tensor) and self.b.dtype(argument.value).startswith(("int", "uint")):
            return Tensor(self.b.op("Cast", [argument.value], to=tensor_type("float32")), argument.mask)
        return [self._real(a) for a in argument] if isinstance(argument, list) else argument

    def _applied(self, layer: Layer, call: Applied, results: dict[tuple[str, int], list[Any]]) -> list[Any]:
        args = _filled(call.args, results, layer.path)
        kwargs = _filled(call.kwargs, results, layer.path)
        found = self.apply(layer, args, kwargs)
        return _flattened(found)

    def _nested(self, network: Network, call: Call) -> Any:
        names = [r.layer for r in _flattened(network.inputs)]
        given = call.tensors
        if isinstance(call.args[0] if call.args else None, dict):
            given = [call.args[0].get(n) or t for n, t in zip(names, given, strict=False)]
        if len(given) != len(names):
            raise invalid("a model is called on more or fewer tensors than it has inputs", call.where, len(given),
                          len(names))
        return self.network(network, dict(zip(names, given, strict=True)))


def _filled(structure: Any, results: dict[tuple[str, int], list[Any]], where: str) -> Any:
    """A structure with the tensors that its references stand for."""
    if isinstance(structure, Ref):
        found = results.get((structure.layer, structure.call))
        if found is None or structure.index >= len(found):
            raise invalid("a call reads what no layer computes", where, f"{structure.layer}:{structure.index}")
        return found[structure.index]
    if isinstance(structure, dict):
        return {k: _filled(v, results, where) for k, v in structure.items()}
    if isinstance(structure, list):
        return [_filled(v, results, where) for v in structure]
    return structure


def _flattened(structure: Any) -> list[Any]:
    if isinstance(structure, list | tuple):
        return [t for part in structure for t in _flattened(part)]
    if isinstance(structure, dict):
        return [t for part in structure.values() for t in _flattened(part)]
    return [structure]


def _wrapped(found: Any, mask: str) -> Any:
    if isinstance(found, str):
        return Tensor(found, mask)
    if isinstance(found, list | tuple):
        return [_wrapped(f, mask) for f in found]
    if isinstance(found, dict):
        return {k: _wrapped(v, mask) for k, v in found.items()}
    return found
