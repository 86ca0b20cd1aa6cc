"""Which saved value each variable of a graph has.

Tried in this order: the objects that a TensorFlow 2 function captured (SavedObjectGraph) and their saved values; the
restoring part of a TensorFlow 1 graph; the variable's own name; the full name that was saved with a value.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.tensorflow.bundle import Bundle
from compiler.frontends.tensorflow.slices import Place, box, place_of_text

_ATTRIBUTE = "VARIABLE_VALUE"
_CALLS = ("StatefulPartitionedCall", "PartitionedCall")


class Variables:
    """Values of variable nodes; without a bundle every question is an error.

    Args:
        bundle: the saved values.
        nodes: the main graph's, by name.
        objects: the SavedObjectGraph of the meta graph, if it has one.
        where: the model, for messages.
    """

    def __init__(self, bundle: Bundle | None = None, nodes: Mapping[str, Any] | None = None, objects: Any = None,
                 where: str = "") -> None:
        self._bundle, self._where = bundle, where
        self._arrays: dict[str, np.ndarray] = {}
        self._keys: dict[str, str] = {}
        self._places: dict[str, Place] = {}
        self._full_names: dict[str, str] = {}
        if bundle is not None and nodes is not None:
            for node, (key, place) in _restored(nodes, where).items():
                self._keys[node] = key
                if place:
                    self._places[node] = place
            saved = bundle.objects()
            if saved is not None:
                self._full_names = _full_names(saved)
                if objects is not None:
                    self._keys.update(_captured(nodes, objects, _keys_of_objects(objects, saved)))

    def array(self, node: str, shared_name: str) -> np.ndarray:
        """The value of a variable node. Raises: ModelError VARIABLE_MISSING and those of `Bundle.array`."""
        if self._bundle is None:
            raise ModelError(f"the graph reads the variable {node!r}, whose value is not in the file",
                             code="VARIABLE_MISSING", where=self._where,
                             help="freeze the graph (variables become constants), or give the whole SavedModel folder")
        known = self._bundle.entries
        names = (self._keys.get(node, ""), shared_name, node, self._full_names.get(shared_name, ""),
                 self._full_names.get(node, ""))
        key = next((n for n in names if n in known), node)
        if key not in self._arrays:
            self._arrays[key] = self._bundle.array(key)
        whole = self._arrays[key]
        return whole[box(self._places[node], whole.shape, self._where)] if node in self._places else whole


def _restored(nodes: Mapping[str, Any], where: str) -> dict[str, tuple[str, Place]]:
    """Variable node -> key, and place where it is a part: as the nodes say that assign what RestoreV2 reads."""
    found: dict[str, tuple[str, Place]] = {}
    for node in nodes.values():
        if node.op not in ("Assign", "AssignVariableOp") or len(node.input) < 2:
            continue
        name, _, index = node.input[1].partition(":")
        source = nodes.get(name)
        if source is not None and source.op == "Identity" and source.input:
            name, _, index = source.input[0].partition(":")
            source = nodes.get(name)
        if source is None or source.op != "RestoreV2" or len(source.input) < 3:
            continue
        keys, places = (_strings(nodes, source.input[k]) for k in (1, 2))
        number = int(index) if index.isdigit() and len(index) < 9 else 0
        if number < len(keys):
            place = places[number] if number < len(places) else ""
            found[node.input[0].partition(":")[0]] = (keys[number], place_of_text(place, where))
    return found


def _strings(nodes: Mapping[str, Any], ref: str) -> list[str]:
    """Texts of a constant; one that has fewer than it needs repeats the last."""
    node = nodes.get(ref.partition(":")[0])
    if node is None or "value" not in node.attr:
        return []
    tensor = node.attr["value"].tensor
    texts = [t.decode("utf-8", "replace") for t in tensor.string_val]
    missing = (tensor.tensor_shape.dim[0].size if len(tensor.tensor_shape.dim) == 1 else 1) - len(texts)
    return texts + texts[-1:] * min(max(missing, 0), len(nodes))


def _full_names(saved: Any) -> dict[str, str]:
    """Full name of a variable -> key, where only one has the name."""
    found: dict[str, str] = {}
    twice: set[str] = set()
    for node in saved.nodes:
        for attribute in node.attributes:
            if attribute.name == _ATTRIBUTE and attribute.full_name:
                if attribute.full_name in found:
                    twice.add(attribute.full_name)
                found[attribute.full_name] = attribute.checkpoint_key
    return {name: key for name, key in found.items() if name not in twice}


def _keys_of_objects(objects: Any, saved: Any) -> dict[int, str]:
    """Number of an object in the SavedObjectGraph -> key: both graphs are walked along the same names from the root."""
    keys: dict[int, str] = {}
    seen: set[int] = set()
    todo = [(0, 0)] if objects.nodes and saved.nodes else []
    while todo:
        left, right = todo.pop()
        if left in seen or left >= len(objects.nodes) or right >= len(saved.nodes):
            continue
        seen.add(left)
        for attribute in saved.nodes[right].attributes:
            if attribute.name == _ATTRIBUTE:
                keys[left] = attribute.checkpoint_key
        names = {c.local_name: c.node_id for c in saved.nodes[right].children}
        todo += [(c.node_id, names[c.local_name]) for c in objects.nodes[left].children if c.local_name in names]
    return keys


def _captured(nodes: Mapping[str, Any], objects: Any, keys: Mapping[int, str]) -> dict[str, str]:
    """Variable node -> key, from the arguments of calls: what a function captured comes last, in a stated order."""
    found: dict[str, str] = {}
    for node in nodes.values():
        name = node.attr["f"].func.name if node.op in _CALLS and "f" in node.attr else node.op
        if name not in objects.concrete_functions:
            continue
        bound = list(objects.concrete_functions[name].bound_inputs)
        given = [i.partition(":")[0] for i in node.input if not i.startswith("^")]
        if bound and len(bound) <= len(given):
            for argument, number in zip(given[-len(bound):], bound, strict=True):
                if number in keys and argument in nodes and nodes[argument].op == "VarHandleOp":
                    found[argument] = keys[number]
    return found
