"""What the compiler does with every operator of ONNX on a target, read from its own tables."""
from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from typing import Any

from compiler.frontends.onnx.catalogue import Operator, element_types, operators, plural
from compiler.lowering import CONDITIONS, LOWERINGS
from compiler.partition.conditions import sentences
from compiler.passes import canonicalise, expand
from compiler.precision import STORAGE
from isa.target import Target

DEVICE, CONDITIONAL, CPU = "device", "device, with conditions", "cpu"
#: Known as soon as shapes are: nothing of them is left when the program runs.
COMPILE_TIME = frozenset({"Constant", "Shape", "Size"})
#: Element types the device holds as they are.
TYPES = frozenset(STORAGE) - {"float64"}
NOTES = (
    f"element types on the device: {', '.join(sorted(TYPES))}; all others run on the CPU",
    "tensors need static shapes and at least one element; integer arithmetic has to be proven exact",
)


@dataclass(frozen=True)
class Support:
    """One operator: `level` is "device", "device, with conditions" or "cpu"; `words` say by what means, or why not."""

    operator: str
    level: str
    words: list[str]

    def as_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return asdict(self)


def support(target: Target) -> list[Support]:
    """Every operator, in the catalogue's order."""
    found = [(o, _support(o, target)) for o in operators()]
    return [s for o, s in found if not o.deprecated or s.level != CPU]


def _support(operator: Operator, target: Target) -> Support:
    key = operator.key
    rule = expand.RULES.get(key)
    rewritten = not operator.domain and key in canonicalise.RULES
    reached = key in LOWERINGS or rule is not None or rewritten or (key in COMPILE_TIME and not operator.domain)
    why = _never(operator)
    if why or not reached:
        return Support(key, CPU, [why or "the device has no lowering for it"])
    limits = sentences(CONDITIONS[key], operator.name, target) if key in CONDITIONS else []
    if rule is not None and not rewritten and key not in LOWERINGS and "return False" in inspect.getsource(rule):
        limits.append("some forms cannot be expressed in operators of the device")
    return Support(key, CONDITIONAL if limits else DEVICE, limits or [_means(key, rewritten)])


def _never(operator: Operator) -> str:
    """Why no form of it can run on the device, "" where one might."""
    if operator.graphs:
        return "control flow"
    for kinds in (*operator.inputs[:1], *operator.outputs[:1]):
        if not element_types(kinds) & TYPES:
            return f"its values are {' or '.join(sorted({plural(k) for k in kinds}))}"
    return ""


def _means(key: str, rewritten: bool) -> str:
    if key in LOWERINGS:
        return "lowered"
    if key in COMPILE_TIME:
        return "known at compile time"
    return "rewritten as other operators" if rewritten else "expanded into other operators"
