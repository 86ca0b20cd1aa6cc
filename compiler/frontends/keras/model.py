"""A saved Keras model as a graph."""

from __future__ import annotations

from typing import Any

from compiler.errors import ModelError
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.files import ModelFiles
from compiler.frontends.inputs import Declared, Given
from compiler.frontends.keras import (  # noqa: F401  (they fill the table of layers)
    attention,
    conv_lstm,
    convolutions,
    core,
    function_images,
    function_math,
    function_more,
    function_parts,
    function_reduce,
    function_shape,
    merging,
    normalization,
    pooling,
    preprocessing,
    recurrent,
    shaping,
    support,
    wrappers,
)
from compiler.frontends.keras.build import Builder
from compiler.frontends.keras.call import Tensor
from compiler.frontends.keras.config import invalid
from compiler.frontends.keras.network import Layer, Network, Ref, leaves
from compiler.frontends.keras.registry import variables
from compiler.frontends.keras.saved import Saved, read
from compiler.frontends.onnx.types import tensor_type
from compiler.ir import Graph

operators = support.operators
_HALF = ("float16", "bfloat16", "float64")


def load(files: ModelFiles, given: Given) -> Graph:
    """Read `.h5` of Keras 2 and 3, or `.keras`, into a graph; inputs and outputs have the names of their layers.

    Raises: ModelError and UnsupportedOp as `saved.read` and `support.check`; ShapeError as `inputs.resolve`.
    """
    try:
        return _graph(read(files.main, variables, support.check), files, given)
    except MemoryError:
        raise ModelError("the model does not fit the memory of this machine", code="MODEL_LIMIT",
                         where=str(files.main)) from None


def _graph(saved: Saved, files: ModelFiles, given: Given) -> Graph:
    b = GraphBuilder(saved.model.name, where=str(files.main))
    network = saved.network
    entries = [network.layers[r.layer] for r in leaves(network.inputs)]
    b.inputs([_declared(e) for e in entries], given)
    run = Builder(b, saved.version, saved.tf)
    fed = {e.name: Tensor(_as_real(b, e.name)) for e in entries}
    _note_precision(b, saved)
    found = run.network(network, fed)
    for name, tensor, ref in _named(found, network):
        b.output(_typed(b, tensor, network.layers[ref.layer]), name)
    return b.finish()


def _declared(layer: Layer) -> Declared:
    """An input as its layer states it; the batch and sizes of None are the user's to give."""
    if layer.kind != "InputLayer":
        raise invalid("an input of the model is no input layer", layer.config.where, layer.kind)
    shape = layer.config.get("batch_shape", layer.config.get("batch_input_shape"))
    if isinstance(shape, list) and not all(s is None or (isinstance(s, int) and 0 <= s < 2**40) for s in shape):
        raise invalid("the shape of an input is no list of sizes", layer.config.where, repr(shape)[:80])
    dtype = support.policy_name(layer) or "float32"
    if dtype not in _TYPES:
        raise ModelError(f"an input of type {dtype[:30]} cannot be compiled", code="INPUT_DTYPE",
                         where=layer.config.where, limit=", ".join(_TYPES))
    if layer.config.flag("sparse") or layer.config.flag("ragged"):
        raise ModelError("an input is sparse or ragged", code="MODEL_INVALID", where=layer.config.where,
                         help="use dense inputs: Input(..., sparse=False, ragged=False)")
    dims = tuple(shape) if isinstance(shape, list) else None
    return Declared(layer.name, dims, dtype)


_TYPES = ("float32", "float16", "bfloat16", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
          "uint64", "bool")


def _as_real(b: GraphBuilder, name: str) -> str:
    """All arithmetic on real numbers is in float32."""
    return b.op("Cast", [name], to=tensor_type("float32")) if b.dtype(name) in _HALF else name


def _note_precision(b: GraphBuilder, saved: Saved) -> None:
    policies = {support.policy_name(layer).removeprefix("mixed_") for layer in saved.network.walk()}
    for policy in sorted(policies & set(_HALF)):
        b.note(f"layers of {policy} compute in float32 (or what --auto-cast says)")


def _named(found: Any, network: Network) -> list[tuple[str, Tensor, Ref]]:
    """Results with their names: keys of a dictionary of outputs, else names of the layers they come from."""
    if isinstance(network.outputs, dict):
        pairs = [(key, t, r) for key, part in network.outputs.items()
                 for t, r in zip(_tensors(found[key]), leaves(part), strict=True)]
    else:
        pairs = [(r.layer, t, r) for t, r in zip(_tensors(found), leaves(network.outputs), strict=True)]
        names = _distinct([name for name, _, _ in pairs])
        pairs = [(name, t, r) for name, (_, t, r) in zip(names, pairs, strict=True)]
    if not pairs:
        raise ModelError("the model has no outputs", code="MODEL_INVALID", where=network.name)
    return pairs


def _distinct(names: list[str]) -> list[str]:
    """Names with a number from the second one of the same on, as tf.keras gives them."""
    made: list[str] = []
    for name in names:
        number = 0
        while (name if not number else f"{name}_{number}") in made:
            number += 1
        made.append(name if not number else f"{name}_{number}")
    return made


def _tensors(found: Any) -> list[Tensor]:
    from compiler.frontends.keras.call import tensors

    return tensors(found)


def _typed(b: GraphBuilder, tensor: Tensor, layer: Layer) -> str:
    """A result in the element type that its layer's policy gives it."""
    policy = support.policy_name(layer).removeprefix("mixed_")
    if policy in _HALF and b.dtype(tensor.value) == "float32":
        return b.op("Cast", [tensor.value], to=tensor_type(policy))
    return tensor.value
