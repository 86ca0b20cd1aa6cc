"""The operators ONNX has, as far as a list of what is supported needs to know them."""
from __future__ import annotations

import re
from dataclasses import dataclass

import onnx
from onnx import defs

DOMAINS = ("", "ai.onnx.ml")
_TENSOR = re.compile(r"tensor\((\w+)\)")


@dataclass(frozen=True)
class Operator:
    """One operator of the newest operator set.

    Attributes:
        name, domain: "" is ONNX's own domain.
        inputs, outputs: the ONNX types that each may have, such as "tensor(float)" and "seq(tensor(int64))".
        graphs: whether it holds subgraphs.
        deprecated: whether the newest version says so; models of older versions have it.
    """

    name: str
    domain: str
    inputs: tuple[frozenset[str], ...]
    outputs: tuple[frozenset[str], ...]
    graphs: bool
    deprecated: bool

    @property
    def key(self) -> str:
        """Name with the domain in front unless it is ONNX's own, as in the compiler's tables."""
        return f"{self.domain}::{self.name}" if self.domain else self.name


def operators() -> list[Operator]:
    """Every operator at its newest version, ONNX's own first, by name."""
    newest = {(s.domain, s.name): s for s in defs.get_all_schemas()}
    found = []
    for (domain, name), schema in sorted(newest.items(), key=lambda entry: entry[0]):
        if domain in DOMAINS:
            kinds = {a.type for a in schema.attributes.values()}
            found.append(Operator(name, domain, tuple(frozenset(i.types) for i in schema.inputs),
                                  tuple(frozenset(o.types) for o in schema.outputs),
                                  defs.OpSchema.AttrType.GRAPH in kinds, schema.deprecated))
    return found


def element_types(kinds: frozenset[str]) -> frozenset[str]:
    """Element types, spelled as `Value.dtype`, of the tensors among ONNX types such as "tensor(float)"."""
    names = (found.group(1) for found in map(_TENSOR.fullmatch, kinds) if found)
    return frozenset(_SPELLING[n] for n in names)


def plural(kind: str) -> str:
    """What values of an ONNX type are called."""
    words = {"seq": "sequences", "map": "maps", "optional": "optional values", "tensor(string)": "strings"}
    return words.get(kind) or words.get(kind.split("(")[0]) or f"{kind} values"


_SPELLING: dict[str, str] = {
    onnx.TensorProto.DataType.Name(number).lower(): onnx.helper.tensor_dtype_to_np_dtype(number).name
    for number in onnx.TensorProto.DataType.values() if number
}
