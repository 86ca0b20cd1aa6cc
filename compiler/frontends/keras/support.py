"""Which layers can be imported, and why the others cannot: found out for a whole model before any is built."""

from __future__ import annotations

from compiler.errors import CompileError, UnsupportedOp
from compiler.frontends.keras.network import Layer, Network
from compiler.frontends.keras.registry import TABLES
from isa.errors import ErrorList

_CELL = "a base class: use the layer ConvLSTM2D"
_IMAGES = "it depends on the histogram of each image; do this step before the model"
_OLD = "a layer of Keras 1, which Keras 2 keeps only in name"
_TEXT = "it works on strings, which a NeuronCore has no way to hold; do this step before the model"
#: Layers of Keras that no model can have here: reason, by class.
REFUSED: dict[str, str] = {
    "AbstractRNNCell": "a base class: models have cells of a class of their own, whose code is not in the file",
    "AutoContrast": _IMAGES, "ContrastLimitedAdaptiveHistogramEqualization": _IMAGES, "Equalization": _IMAGES,
    "Solarization": _IMAGES,
    "ConvLSTM2DCell": _CELL, "ConvRecurrent2D": _CELL,
    "DenseFeatures": "its steps are TensorFlow's feature columns; do them before the model",
    "DeviceWrapper": "cells of TensorFlow 1 with no meaning of their own: use the cell itself",
    "DropoutWrapper": "cells of TensorFlow 1: use the cell's own dropout",
    "FeatureSpace": "its steps are a program over tables of features; do them before the model",
    "ConvRNN2D": _CELL, "Highway": _OLD, "MaxoutDense": _OLD, "Recurrent": _OLD,
    "Hashing": "it hashes strings; do this step before the model",
    "HashedCrossing": "it hashes strings; do this step before the model",
    "Lambda": "it is Python code, which is never executed from a file; use layers or keras.ops instead, "
              "or a subclass that you export to another format",
    "Layer": "a base class without a meaning of its own",
    "MaxNumBoundingBoxes": "it works on labels of training data",
    "MelSpectrogram": "it is not supported: compute spectrograms before the model",
    "Pipeline": "a chain of preprocessing outside of models: apply it before the model",
    "RandomFourierFeatures": "an experimental layer that left Keras",
    "ResidualWrapper": "cells of TensorFlow 1: use the cell itself",
    "STFTSpectrogram": "it is not supported: compute spectrograms before the model",
    "StringLookup": _TEXT,
    "TextVectorization": _TEXT,
    "TFSMLayer": "it is a SavedModel in a folder of its own: compile that one",
    "TorchModuleWrapper": "it holds a PyTorch module: export that one",
    "FlaxLayer": "it holds JAX code: export the model as a SavedModel",
    "JaxLayer": "it holds JAX code: export the model as a SavedModel",
    "Wrapper": "a base class without a meaning of its own",
}
_OPERATION_HOMES = ("keras.ops", "keras.src.ops", "keras.src.activations", "keras.activations")


def is_operation(layer: Layer) -> bool:
    """Whether this is an operation of `keras.ops`, which h5 files do not tell from layers of the same name."""
    if layer.module:
        return layer.module.startswith(_OPERATION_HOMES)
    return layer.kind in TABLES.operations and "trainable" not in layer.config.values


def is_function(layer: Layer) -> bool:
    """Whether this is a TensorFlow function that tf.keras recorded."""
    return layer.kind in ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")


def check(network: Network) -> None:
    """Raise for everything in a model that cannot be imported, all at once: UnsupportedOp or ErrorList of these."""
    nodes: dict[str, list[Layer]] = {}
    for layer in network.walk():
        if layer.network is None and (reason := _reason(layer)):
            nodes.setdefault(reason, []).append(layer)
    errors: list[CompileError] = [_error(reason, layers) for reason, layers in nodes.items()]
    if len(errors) > 1:
        raise ErrorList(errors)
    if errors:
        raise errors[0]


def _error(reason: str, layers: list[Layer]) -> UnsupportedOp:
    what, _, help = reason.partition("\n")
    names = ", ".join(repr(layer.path) for layer in layers[:5]) + (" ..." if len(layers) > 5 else "")
    error = UnsupportedOp(what, where=f"{layers[0].config.where.split(': ')[0]}: layers {names}", help=help)
    error.op, error.nodes = layers[0].kind, tuple(layer.path for layer in layers)
    return error


def _reason(layer: Layer) -> str:
    """Why a layer cannot be imported and what to do, or ""."""
    kind = layer.kind[:80]
    if is_function(layer):
        from compiler.frontends.keras.functions import function_name

        name = function_name(layer)
        return "" if name in TABLES.functions else f"the TensorFlow function {name[:80]!r} is not supported\n{_EXPORT}"
    if is_operation(layer):
        return "" if kind in TABLES.operations else f"the operation keras.ops {kind!r} is not supported\n{_EXPORT}"
    if _is_custom(layer):
        name = layer.registered or kind
        home = f" of {layer.module[:80]}" if layer.module else ""
        return (f"{name[:80]!r}{home} is a class of your own, whose code is not in the file\n"
                f"build the model of Keras's own layers, or {_EXPORT}")
    if kind in REFUSED:
        return f"the layer {kind} cannot be imported: {REFUSED[kind]}\n"
    if kind in TABLES.layers or kind == "InputLayer":
        return _quantised(layer)
    return f"the layer {kind!r} is not one that Keras has\nbuild the model of Keras's own layers, or {_EXPORT}"


_EXPORT = "export the model as a SavedModel (model.export(folder)) and compile that"


def _is_custom(layer: Layer) -> bool:
    if ">" in layer.registered or ">" in layer.kind:
        return True
    return bool(layer.module) and layer.module.split(".")[0] not in ("keras", "tf_keras", "tensorflow", "keras_core")


def _quantised(layer: Layer) -> str:
    policy = layer.kind != "InputLayer" and policy_name(layer).startswith(("int8", "int4", "float8", "gptq", "awq"))
    if policy or layer.config.get("quantization_config"):
        return "weights that Keras quantised are not supported\nsave the model before quantize() is called"
    return ""


def policy_name(layer: Layer) -> str:
    """The dtype policy of a layer: "float32", "mixed_float16" ...; "" where it states none."""
    found = layer.config.get("dtype")
    if isinstance(found, dict):
        inside = found.get("config")
        found = inside.get("name") if isinstance(inside, dict) else None
    return found if isinstance(found, str) else ""


def operators() -> dict[str, str]:
    """Layers, operations ("ops.") and TensorFlow functions ("tf.") by name: "" or the reason why not."""
    found = {**REFUSED, **dict.fromkeys([*TABLES.layers, "InputLayer", "Functional", "Model", "Sequential"], "")}
    found.update({f"ops.{name}": "" for name in TABLES.operations})
    found.update({f"tf.{name}": "" for name in TABLES.functions})
    return dict(sorted(found.items()))
