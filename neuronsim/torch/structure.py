"""How a module is called and what it returns: nested tuples, lists and dicts of tensors, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch.utils import _pytree as pytree

from neuronsim.errors import InputError

#: Leaves that are part of the program and no input of it.
_FIXED = (int, float, bool, str, type(None))


@dataclass(frozen=True)
class CallStructure:
    """The face of a traced module.

    Attributes:
        inputs: for each leaf of (args, kwargs) the name of an input, or None where `fixed` has its value.
        fixed: values of leaves that are no tensors.
        outputs: for each leaf of the result the name of an output, or None where `constants` has its value.
        constants: values of leaves of the result that are no tensors.
        in_spec, out_spec: the nesting, as torch writes it.
    """

    inputs: tuple[str | None, ...]
    fixed: tuple[Any, ...]
    outputs: tuple[str | None, ...]
    constants: tuple[Any, ...]
    in_spec: str
    out_spec: str

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        return {"inputs": list(self.inputs), "fixed": list(self.fixed), "outputs": list(self.outputs),
                "constants": list(self.constants), "in_spec": self.in_spec, "out_spec": self.out_spec}

    @classmethod
    def of_record(cls, values: Mapping[str, Any]) -> CallStructure:
        """The other way."""
        return cls(tuple(values["inputs"]), tuple(values["fixed"]), tuple(values["outputs"]),
                   tuple(values["constants"]), str(values["in_spec"]), str(values["out_spec"]))

    def arrays(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Arrays by input name for a call. Raises: InputError (INPUT_STRUCTURE, INPUT_VALUE)."""
        leaves, spec = pytree.tree_flatten((tuple(args), dict(kwargs)))
        wanted = pytree.treespec_loads(self.in_spec)
        if len(leaves) != len(self.inputs) or spec != wanted:
            raise InputError("the module was traced with other arguments", code="INPUT_STRUCTURE",
                             limit=str(wanted), actual=str(spec))
        found: dict[str, np.ndarray] = {}
        for leaf, name, value in zip(leaves, self.inputs, self.fixed, strict=True):
            if name is not None:
                found[name] = to_array(leaf)
            elif leaf != value:
                raise InputError("an argument that is no tensor has another value than in the trace",
                                 code="INPUT_VALUE", limit=value, actual=leaf,
                                 help="trace the module again with this value")
        return found

    def result(self, arrays: Mapping[str, Any]) -> Any:
        """What the module returns, from arrays by output name."""
        leaves = [value if name is None else to_tensor(arrays[name])
                  for name, value in zip(self.outputs, self.constants, strict=True)]
        return pytree.tree_unflatten(leaves, pytree.treespec_loads(self.out_spec))


def specification(value: Any) -> tuple[list[Any], str]:
    """Leaves of nested containers, and the nesting as JSON. Raises: InputError for classes that JSON cannot hold."""
    leaves, spec = pytree.tree_flatten(value)
    try:
        text = pytree.treespec_dumps(spec)
    except NotImplementedError as error:
        raise InputError("a result or argument is of a class that cannot be saved", code="INPUT_STRUCTURE",
                         actual=str(error),
                         help="wrap the module in one that takes and returns tuples and dicts") from None
    for leaf in leaves:
        if not isinstance(leaf, (torch.Tensor, *_FIXED)):
            raise InputError("a result or argument is neither a tensor nor a plain value", code="INPUT_STRUCTURE",
                             actual=type(leaf).__name__, help="wrap the module in one that takes and returns tensors")
    return leaves, text


def to_array(value: Any) -> np.ndarray:
    """A tensor as an array, bfloat16 and the like included, without a copy where it lies in memory as arrays do."""
    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    plain = value.detach().cpu().contiguous()
    name = str(plain.dtype).removeprefix("torch.")
    if hasattr(ml_dtypes, name):
        bits = torch.int8 if plain.element_size() == 1 else torch.int16
        return plain.view(bits).numpy().view(getattr(ml_dtypes, name))
    found: np.ndarray = plain.numpy()
    return found


def to_tensor(value: Any) -> torch.Tensor:
    """An array as a tensor."""
    array = np.ascontiguousarray(value).reshape(np.shape(value))
    if hasattr(ml_dtypes, array.dtype.name):
        bits = np.int8 if array.dtype.itemsize == 1 else np.int16
        return torch.from_numpy(array.view(bits).copy()).view(getattr(torch, array.dtype.name))
    return torch.from_numpy(array if array.flags.writeable else array.copy())
