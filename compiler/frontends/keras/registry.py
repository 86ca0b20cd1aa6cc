"""The table of layers that can be imported: what each one's variables are, and what builds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compiler.frontends.keras.network import Layer
from compiler.frontends.keras.weights import Variable

if TYPE_CHECKING:
    from compiler.frontends.keras.call import Call
    from compiler.frontends.keras.functions import Arguments

Builder = Callable[["Call"], Any]
FunctionBuilder = Callable[["Arguments"], Any]
#: "kernel bias?use_bias | moving_mean": names of variables in order, a flag of the configuration after "?" (true where
#: it is absent), and after the bar those that are never trained. Or a function that gives such a text.
Spec = str | Callable[[Layer], str]


@dataclass(frozen=True)
class Entry:
    """How one class of layers is read.

    Attributes:
        build: makes the operators of one call; returns a value, a `Tensor`, or a list of these.
        variables: see `Spec`.
        masks: whether the mask of the first input is that of the result.
    """

    build: Builder
    variables: Spec = ""
    masks: bool = False


@dataclass
class _Tables:
    layers: dict[str, Entry] = field(default_factory=dict)
    operations: dict[str, tuple[FunctionBuilder, tuple[str, ...]]] = field(default_factory=dict)
    functions: dict[str, tuple[FunctionBuilder, tuple[str, ...]]] = field(default_factory=dict)


TABLES = _Tables()


def layer(*names: str, variables: Spec = "", masks: bool = False) -> Callable[[Builder], Builder]:
    """Register a builder for classes of `keras.layers`."""

    def register(build: Builder) -> Builder:
        for name in names:
            TABLES.layers[name] = Entry(build, variables, masks)
        return build

    return register


def operation(*names: str, params: str) -> Callable[[FunctionBuilder], FunctionBuilder]:
    """Register a builder for classes of `keras.ops`; `params`: names of their arguments, in order."""
    return _registering(TABLES.operations, names, params)


def function(*names: str, params: str) -> Callable[[FunctionBuilder], FunctionBuilder]:
    """Register a builder for TensorFlow functions that tf.keras records as layers, by name without "tf."."""
    return _registering(TABLES.functions, names, params)


def _registering(table: dict[str, tuple[FunctionBuilder, tuple[str, ...]]], names: tuple[str, ...],
                 params: str) -> Callable[[FunctionBuilder], FunctionBuilder]:
    def register(build: FunctionBuilder) -> FunctionBuilder:
        for name in names:
            table[name] = (build, tuple(params.split()))
        return build

    return register


def variables(found: Layer) -> list[Variable]:
    """The variables of a layer itself, in the order in which it creates them."""
    entry = TABLES.layers.get(found.kind)
    if entry is None or found.network is not None:
        return []
    spec = entry.variables if isinstance(entry.variables, str) else entry.variables(found)
    trained, _, fixed = spec.partition("|")
    return [
        Variable(word.partition("?")[0], part is trained)
        for part in (trained, fixed)
        for word in part.split()
        if found.config.flag(word.partition("?")[2], True)
    ]
