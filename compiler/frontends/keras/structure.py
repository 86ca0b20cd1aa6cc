"""What a saved configuration says, as `network.Network`.

Keras 2 writes calls as lists [layer, call, result, keywords], Keras 3 as arguments with tensors among them; both become
the same here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.keras.config import Config, invalid
from compiler.frontends.keras.network import MODELS, Applied, Layer, Network, Ref

#: Settings that hold one inner layer, in the order in which Keras makes them.
_INNER = ("layer", "backward_layer", "cell")


def read_layer(saved: Any, where: str, prefix: str = "") -> Layer:
    """A layer as a configuration states it. Raises: ModelError MODEL_INVALID.

    Args:
        saved: {"class_name": ..., "config": ..., ...}. prefix: path of the model around it, with a slash, or "".
    """
    if not isinstance(saved, dict) or not isinstance(saved.get("class_name"), str):
        raise invalid("a layer has no class", where, repr(saved)[:80])
    kind, values = saved["class_name"], saved.get("config")
    if kind == "Sequential" and isinstance(values, list):  # up to Keras 2.2.2: its layers alone
        values = {"layers": values}
    if not isinstance(values, dict):
        raise invalid("a layer has no configuration", where, kind)
    name = saved.get("name") or values.get("name") or kind.lower()
    if not isinstance(name, str):
        raise invalid("a layer's name is no text", where, repr(name)[:80])
    path = prefix + name
    place = f"{where.split(': ')[0]}: layer {path!r}"
    registered = saved.get("registered_name")
    layer = Layer(kind, name, path, Config(values, place), str(saved.get("module") or ""),
                  registered if isinstance(registered, str) else "")
    if kind in MODELS and isinstance(values.get("layers"), list):
        build = saved.get("build_config")
        layer.network = read_network(kind, name, values, build if isinstance(build, dict) else {}, place, path + "/")
    for key in _INNER:
        if isinstance(values.get(key), dict) and "class_name" in values[key]:
            layer.parts[key] = read_layer(values[key], where, path + "/")
    if kind == "Bidirectional" and "layer" in layer.parts and "backward_layer" not in layer.parts:
        layer.parts["backward_layer"] = _mirrored(values["layer"], where, path + "/")
    if isinstance(values.get("cells"), list):
        for k, cell in enumerate(values["cells"]):
            layer.parts[f"cells/{k}"] = read_layer(cell, where, path + "/")
    return layer


def _mirrored(forward: dict[str, Any], where: str, prefix: str) -> Layer:
    """The second half of a Bidirectional, which Keras 2 does not write: the first, running the other way."""
    values = forward["config"]
    turned = {**values, "go_backwards": not values.get("go_backwards"), "name": f"backward_{values.get('name')}"}
    return read_layer({**forward, "config": turned}, where, prefix)


def read_network(kind: str, name: str, values: dict[str, Any], build: dict[str, Any], where: str,
                 prefix: str) -> Network:
    """The inside of a model. Raises: ModelError MODEL_INVALID."""
    if kind == "Sequential":
        return _sequential(name, values, build, where, prefix)
    layers: dict[str, Layer] = {}
    for saved in values["layers"]:
        layer = read_layer(saved, where, prefix)
        if layer.name in layers:
            raise invalid("two layers have the same name", where, layer.name)
        layers[layer.name] = layer
        nodes = saved.get("inbound_nodes")
        layer.calls = [Applied([], {}) for _ in nodes] if isinstance(nodes, list) else []  # their number, for now
    network = Network(name, layers, None, None)
    for saved in values["layers"]:
        nodes = saved.get("inbound_nodes", [])
        if not isinstance(nodes, list):
            raise invalid("the calls of a layer are no list", where, layer.name)
        name_ = saved.get("name") or saved["config"].get("name")
        layers[name_].calls = [_applied(node, network, where) for node in nodes]
    network.inputs = _faces(values.get("input_layers"), network, where)
    network.outputs = _faces(values.get("output_layers"), network, where)
    return network


def _sequential(name: str, values: dict[str, Any], build: dict[str, Any], where: str, prefix: str) -> Network:
    layers: dict[str, Layer] = {}
    before: Ref | None = None
    for saved in values["layers"]:
        layer = read_layer(saved, where, prefix)
        if before is None and layer.kind != "InputLayer":
            entry = _entry(layer, values, build, where, prefix)
            layers[entry.name], before = entry, Ref(entry.name, 0, 0)
        if before is not None:
            layer.calls = [Applied([before], {})]
        if layer.name in layers:
            raise invalid("two layers have the same name", where, layer.name)
        layers[layer.name], before = layer, Ref(layer.name, 0, 0)
    if before is None:
        raise invalid("the model has no layers", where, name)
    first = next(iter(layers))
    return Network(name, layers, Ref(first, 0, 0), before)


def _entry(first: Layer, values: dict[str, Any], build: dict[str, Any], where: str, prefix: str) -> Layer:
    """The input of a Sequential that states none: its shape is the first layer's, or what the model was built with."""
    innermost = first
    while innermost.config.get("batch_input_shape") is None and innermost.network is not None:
        innermost = next(iter(innermost.network.layers.values()))
    settings = innermost.config
    shape = (settings.get("batch_input_shape") or settings.get("batch_shape") or values.get("build_input_shape")
             or build.get("input_shape"))
    name = f"{first.name}_input" if first.kind != "InputLayer" else first.name
    dtype = settings.get("dtype") if "batch_input_shape" in settings else None
    inside = {"batch_shape": shape, "name": name, "dtype": dtype if isinstance(dtype, str) else None}
    return Layer("InputLayer", name, prefix + name, Config(inside, where))


# ---- calls ---------------------------------------------------------------------------------------------------------


def _applied(node: Any, network: Network, where: str) -> Applied:
    if isinstance(node, dict) and "args" in node:
        kwargs = decoded(node.get("kwargs") or {}, network, where)
        args = decoded(node["args"], network, where)
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise invalid("the arguments of a call are no list", where, repr(node)[:80])
        return Applied(args, kwargs)
    structure, kwargs = _keras2(node, network, where)
    if isinstance(structure, list) and len(structure) == 1:
        structure = structure[0]
    return Applied([structure], kwargs)


def _keras2(node: Any, network: Network, where: str) -> tuple[Any, dict[str, Any]]:
    """[layer, call, result, keywords], or a structure of such; the keywords of the last one count, as in Keras."""
    kwargs: dict[str, Any] = {}
    if isinstance(node, list) and 3 <= len(node) <= 4 and isinstance(node[0], str):
        if len(node) == 4 and isinstance(node[3], dict):
            kwargs = {k: decoded(v, network, where) for k, v in node[3].items()}
        if node[0] == "_CONSTANT_VALUE":
            return node[2], kwargs
        return _ref(node, network, where), kwargs
    if isinstance(node, list):
        found: list[Any] = []
        for item in node:
            one, kwargs = _keras2(item, network, where)
            found.append(one)
        return found, kwargs
    if isinstance(node, dict):
        named: dict[str, Any] = {}
        for key, item in node.items():
            named[key], kwargs = _keras2(item, network, where)
        return named, kwargs
    raise invalid("a call of a layer cannot be read", where, repr(node)[:80])


def _ref(node: list[Any], network: Network, where: str, outside: bool = True) -> Ref:
    """A result by name and numbers. `outside`: not written by Keras 3 inside a call."""
    name, call, index = node[:3]
    layer = network.layers.get(name) if isinstance(name, str) else None
    if layer is None or not isinstance(call, int) or not isinstance(index, int) or index < 0:
        raise invalid("a call reads what no layer computes", where, repr(node[:3])[:80])
    if layer.network is not None and (call == len(layer.calls) or (outside and _counts_itself(layer))):
        call -= 1  # number 0 is the call that made the model
    return Ref(name, call, index)


def _counts_itself(layer: Layer) -> bool:
    """Whether numbers of calls start at 1 because Keras counts the model's own inputs as its first call."""
    assert layer.network is not None
    first = next(iter(layer.config.values["layers"]))
    if layer.kind != "Sequential":
        return True
    if "trainable" in layer.config.values:  # Keras 3, where a Sequential is no Functional
        return False
    inside = first.get("config")
    return first["class_name"] == "InputLayer" or (isinstance(inside, dict) and "batch_input_shape" in inside)


def decoded(value: Any, network: Network, where: str) -> Any:
    """A serialised argument: tensors as `Ref`, arrays as numpy's, slices as slices, the rest as it is.

    Raises: ModelError MODEL_INVALID.
    """
    if isinstance(value, list):
        if len(value) == 3 and isinstance(value[0], str) and value[0] in network.layers and isinstance(value[1], int):
            return _ref(value, network, where)
        return [decoded(v, network, where) for v in value]
    if not isinstance(value, dict):
        return value
    kind, inside = value.get("class_name"), value.get("config")
    if kind == "__ellipsis__":
        return ...
    if not isinstance(kind, str) or not isinstance(inside, dict):
        return {k: decoded(v, network, where) for k, v in value.items()}
    if kind == "__keras_tensor__":
        history = inside.get("keras_history")
        if not isinstance(history, list) or len(history) != 3:
            raise invalid("a tensor of a call has no history", where, repr(inside)[:80])
        return _ref(history, network, where, outside=False)
    if kind == "__slice__":
        return slice(*(decoded(inside.get(k), network, where) for k in ("start", "stop", "step")))
    if kind in ("__tensor__", "__numpy__"):
        try:
            return np.array(inside.get("value"), dtype=str(inside.get("dtype", "float32")))
        except (TypeError, ValueError, OverflowError):
            raise invalid("an array of a call cannot be read", where, repr(inside)[:80]) from None
    return value


def _faces(saved: Any, network: Network, where: str) -> Any:
    """The structure of a model's inputs or outputs."""
    if isinstance(saved, list) and len(saved) == 3 and isinstance(saved[0], str) and isinstance(saved[1], int):
        return _ref(saved, network, where)
    if isinstance(saved, list):
        return [_faces(s, network, where) for s in saved]
    if isinstance(saved, dict):
        return {k: _faces(v, network, where) for k, v in saved.items()}
    raise ModelError("the model does not say what its inputs and outputs are", code="MODEL_INVALID", where=where)
