"""Which array of the file is which variable of which layer.

HDF5 models keep one flat list for each layer of the outermost model: the trained variables of all inside it, then the
others. `.keras` archives keep each layer's variables by number in a group that is named after the attributes that lead
to it. Either way a layer's variables have the order in which it makes them, which the registry states.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from compiler.frontends.keras.config import invalid
from compiler.frontends.keras.hdf5 import Hdf5
from compiler.frontends.keras.network import Layer, Network


@dataclass(frozen=True)
class Variable:
    """A variable of a layer; a slash in its name stands for the inner layer it belongs to ("query_dense/kernel")."""

    name: str
    trained: bool = True


#: Variables that a layer has, given its configuration, in the order of their creation.
Variables = Callable[[Layer], list[Variable]]


def from_lists(file: Hdf5, root: str, network: Network, variables: Variables) -> None:
    """Give every layer its weights from the lists of an HDF5 model.

    Raises: ModelError MODEL_INVALID when a list does not fit its layer; as `Hdf5.array`.
    """
    for layer in network.layers.values():
        expected = _flat(layer, variables, True)
        group = f"{root}/{layer.name}"
        names = file.names(group, "weight_names")
        if len(names) != len(expected):
            raise invalid("a layer's weights in the file are more or fewer than its configuration needs",
                          layer.config.where, len(names), len(expected))
        for (owner, variable, _), name in zip(_ordered(expected, names), names, strict=True):
            owner.weights[variable.name] = file.array(f"{group}/{name}")


#: Classes whose groups have another name than the one in the configuration.
_CLASSES = {"group_query_attention": "grouped_query_attention"}
_Flat = list[tuple[Layer, Variable, bool]]


def _flat(layer: Layer, variables: Variables, trainable: bool) -> _Flat:
    """Variables of a layer and all inside it, with whether each is trained."""
    trainable = trainable and layer.config.flag("trainable", True)
    found = [(layer, v, trainable and v.trained) for v in variables(layer)]
    inside = [*layer.parts.values(), *(layer.network.layers.values() if layer.network is not None else ())]
    for part in inside:
        found += _flat(part, variables, trainable)
    return found


def _ordered(expected: _Flat, names: list[str]) -> _Flat:
    """The order in which the file lists them: trained ones first, as far as their names bear that out.

    A frozen model within a model keeps the order of its layers in some versions of Keras and not in others.
    """
    first = [e for e in expected if e[2]] + [e for e in expected if not e[2]]
    fresh = [e for e in expected if e[1].trained] + [e for e in expected if not e[1].trained]
    orders = [first, fresh, expected]
    return next((o for o in orders if all(_named(e[1], n) for e, n in zip(o, names, strict=True))), first)


def _named(variable: Variable, name: str) -> bool:
    last = re.sub(r"(_\d+)?(:\d+)?$", "", name.split("/")[-1])
    return last.endswith(variable.name.split("/")[-1])  # Keras 2 has "depthwise_kernel" where Keras 3 has "kernel"


def from_groups(file: Hdf5, network: Network, variables: Variables, prefix: str = "") -> None:
    """Give every layer its weights from the groups of a `.keras` archive. Raises: as `from_lists`."""
    root = next((r for r in ("layers", "_layer_checkpoint_dependencies") if file.has(prefix + r)), "layers")
    used: dict[str, int] = {}
    for layer in network.layers.values():
        _group(file, layer, variables, f"{prefix}{root}/{_counted(layer.kind, used)}")


def _counted(kind: str, used: dict[str, int]) -> str:
    """Name of a group in a list of layers: the class in snake case, with a number from the second one on."""
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W", "", kind))).lower()
    name = _CLASSES.get(name, name)
    used[name] = used.get(name, -1) + 1
    return f"{name}_{used[name]}" if used[name] else name


def _group(file: Hdf5, layer: Layer, variables: Variables, path: str) -> None:
    numbers: dict[str, int] = {}
    for variable in sorted(variables(layer), key=lambda v: not v.trained):
        inner, _, _ = variable.name.rpartition("/")
        number = numbers[inner] = numbers.get(inner, -1) + 1
        layer.weights[variable.name] = file.array(f"{_inner(file, path, inner)}/vars/{number}")
    used: dict[str, int] = {}
    for key, part in layer.parts.items():
        _group(file, part, variables, _part(file, layer, path, key, part, used))
    if layer.network is not None:
        from_groups(file, layer.network, variables, path + "/")


def _inner(file: Hdf5, path: str, inner: str) -> str:
    """Path of an inner layer that some versions keep under a private name."""
    for part in inner.split("/") if inner else ():
        path = next((p for p in (f"{path}/{part}", f"{path}/_{part}") if file.has(p)), f"{path}/{part}")
    return path


def _part(file: Hdf5, layer: Layer, path: str, key: str, part: Layer, used: dict[str, int]) -> str:
    if key.startswith("cells/"):
        return f"{path}/cells/{_counted(part.kind, used)}"
    if layer.kind == "Bidirectional":
        key = {"layer": "forward_layer"}.get(key, key)
    return _inner(file, path, key)

