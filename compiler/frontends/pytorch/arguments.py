"""The arguments of a TorchScript module's `forward`, flat, by the names and types that its graph proves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from compiler.errors import ShapeError
from compiler.frontends.inputs import Declared, Given
from compiler.frontends.pytorch.archive import Archive
from compiler.frontends.pytorch.pickled import Call, plain
from isa.errors import ErrorList

#: operator -> places of its operands that hold indices
_INDICES = {"aten::embedding": (1,), "aten::embedding_bag": (1, 2), "aten::one_hot": (0,), "aten::gather": (2,),
            "aten::index_select": (2,), "aten::scatter": (2,), "aten::scatter_add": (2,), "aten::take": (1,)}
#: operators whose result has the type and the elements of their first operand
_SAME = frozenset({"aten::view", "aten::reshape", "aten::slice", "aten::select", "aten::unsqueeze", "aten::squeeze",
                   "aten::expand", "aten::transpose", "aten::permute", "aten::contiguous", "aten::flatten",
                   "aten::clone", "aten::detach", "aten::expand_as", "aten::t"})
_STORAGES = {"FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16",
             "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16",
             "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool"}


@dataclass(frozen=True)
class Argument:
    """One argument of `forward`.

    Attributes:
        name: as the source code has it.
        keys: of the tensors in it: ("",) for a tensor itself, places in a list or tuple, keys of a dict.
        kind: "tensor", "list", "tuple", "dict", or "value" for what is no tensor.
        value: what a "value" is: the argument's default.
    """

    name: str
    keys: tuple[str, ...]
    kind: str
    value: Any = None

    @property
    def names(self) -> list[str]:
        """Of its tensors."""
        return [f"{self.name}_{k}" if k else self.name for k in self.keys]

    def build(self, tensors: Sequence[Any]) -> Any:
        """The argument made of its tensors."""
        if self.kind == "tensor":
            return tensors[0]
        if self.kind == "dict":
            return dict(zip(self.keys, tensors))
        return list(tensors) if self.kind == "list" else tuple(tensors)


def arguments(schema: Any, given: Given, recorded: Sequence[Any], where: str) -> list[Argument]:
    """What `forward` takes after the module itself.

    Args:
        schema: torch's `FunctionSchema` of it. recorded: what a trace was made with, see `recorded_inputs`.
    Raises: ShapeError INPUT_KIND naming every argument that no array can be given for.
    """
    found: list[Argument] = []
    errors: list[ShapeError] = []
    for place, argument in enumerate(schema.arguments[1:]):
        example = recorded[place] if place < len(recorded) else None
        made = _argument(argument, given, example)
        if isinstance(made, Argument):
            found.append(made)
        else:
            errors.append(ShapeError(made, code="INPUT_KIND", where=f"{where}: input {argument.name!r}",
                                     actual=str(argument.type),
                                     help="wrap the model in a module whose forward takes tensors only"))
    if errors:
        raise errors[0] if len(errors) == 1 else ErrorList(errors)
    return found


def _argument(argument: Any, given: Given, example: Any) -> Argument | str:
    name, kind = argument.name, argument.type.kind()
    stated = [*given.shapes, *given.dtypes]
    if kind == "OptionalType":
        inner = argument.type.getElementType().kind()
        if name not in stated or inner != "TensorType":
            return Argument(name, (), "value", argument.default_value if argument.has_default_value() else None)
        kind = inner
    if kind == "TensorType":
        return Argument(name, ("",), "tensor")
    if kind == "TupleType" and all(e.kind() == "TensorType" for e in argument.type.elements()):
        return Argument(name, tuple(str(k) for k in range(len(argument.type.elements()))), "tuple")
    if kind in ("ListType", "DictType"):
        element = argument.type.getElementType() if kind == "ListType" else argument.type.getValueType()
        if element.kind() == "TensorType":
            keys = list(dict.fromkeys(s[len(name) + 1 :] for s in stated if s.startswith(name + "_")))
            if not keys and isinstance(example, list | dict):
                keys = list(example) if isinstance(example, dict) else [str(k) for k in range(len(example))]
            if keys:
                return Argument(name, tuple(keys), "list" if kind == "ListType" else "dict")
            return f"how many tensors go into the argument is not stated; give shapes for {name}_0, or {name}_<key>"
    if argument.has_default_value():
        return Argument(name, (), "value", argument.default_value)
    return "an argument that is no tensor has no default"


def constants(graph: Any) -> list[Any]:
    """Tensors in the graph itself, as `torch.jit.freeze` makes weights."""
    found = [n for n in graph.findAllNodes("prim::Constant") if n.output().type().kind() == "TensorType"]
    return [n.t("value") for n in found if n.hasAttribute("value")]


def recorded_inputs(archive: Archive) -> list[Any]:
    """What a trace of `forward` was made with: (shape, dtype) for each tensor, in the nesting they were given in."""
    if "traced_inputs.pkl" not in archive:
        return []
    found = plain(archive.read("traced_inputs.pkl"), str(archive.path))
    return [_recorded(v) for v in found.get("forward", [])] if isinstance(found, dict) else []


def _recorded(value: Any, depth: int = 0) -> Any:
    if isinstance(value, Call) and value.name.startswith("torch._utils._rebuild_tensor"):
        storage = value.args[0].args
        return tuple(int(d) for d in value.args[2]), _STORAGES.get(str(storage[1]).rsplit(".", 1)[-1], "")
    if depth < 8 and isinstance(value, list | tuple):
        return [_recorded(v, depth + 1) for v in value]
    if depth < 8 and isinstance(value, dict):
        return {str(k): _recorded(v, depth + 1) for k, v in value.items()}
    return None


def declared(found: Sequence[Argument], recorded: Sequence[Any], integers: Sequence[bool], default: str,
             given: Given) -> tuple[list[Declared], list[str]]:
    """The model's inputs as the file states them, and sentences on what the example inputs of the trace were used for.

    Args:
        integers: for each argument, whether the graph uses it as indices. default: type of the others.
    """
    result, notes = [], []
    for place, argument in enumerate(found):
        example = recorded[place] if place < len(recorded) else None
        for name, key in zip(argument.names, argument.keys):
            shape, dtype = _example(example, key, argument.kind)
            dims = None
            if shape is not None and name not in given.shapes and given.batch is None:
                dims = shape
                notes.append(f"input {name!r} has the shape that the model was traced with: "
                             f"{'x'.join(map(str, shape))}")
            kind = dtype or ("int64" if place < len(integers) and integers[place] else "")
            result.append(Declared(name, dims if shape is None or dims else (None,) * len(shape),
                                   given.dtypes.get(name) or kind, default))
    return result, notes


def _example(example: Any, key: str, kind: str) -> tuple[tuple[int, ...] | None, str]:
    if kind == "dict" and isinstance(example, dict):
        example = example.get(key)
    elif kind in ("list", "tuple") and isinstance(example, list) and key.isdigit() and int(key) < len(example):
        example = example[int(key)]
    return example if kind and isinstance(example, tuple) else (None, "")


def index_arguments(graph: Any) -> list[bool]:
    """For each argument after the module itself, whether the (inlined) graph uses it as indices.

    The element type of an argument is not part of a TorchScript file; indices must be int64.
    """
    return [_is_index(v, 0) for v in list(graph.inputs())[1:]]


def _is_index(value: Any, depth: int) -> bool:
    for use in value.uses():
        kind = use.user.kind()
        if use.offset in _INDICES.get(kind, ()):
            return True
        if depth < 32 and kind in _SAME and use.offset == 0 and _is_index(use.user.output(), depth + 1):
            return True
    return False
