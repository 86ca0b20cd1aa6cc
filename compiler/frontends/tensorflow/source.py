"""What a TensorFlow model says, whatever file it came from: nodes, functions, variables, inputs and results."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compiler.frontends.tensorflow.variables import Variables


@dataclass(frozen=True)
class Face:
    """An input or a result: the user's name for it, the graph's reference ("node:0"), and what is stated of it.

    Attributes:
        dims: None per open size; None altogether for an unknown rank.
        dtype: type number, 0 where it is not stated.
    """

    name: str
    ref: str
    dims: tuple[int | None, ...] | None = None
    dtype: int = 0


@dataclass(frozen=True)
class Source:
    """A whole model.

    Attributes:
        name: of the model. where: its file, for messages.
        nodes: NodeDef by name. functions: FunctionDef by name.
        inputs, outputs: its face.
        variables: what the variables' nodes hold.
        frozen: whether the face was found by looking at the graph, no signature stating it.
    """

    name: str
    where: str
    nodes: Mapping[str, Any]
    functions: Mapping[str, Any]
    inputs: tuple[Face, ...]
    outputs: tuple[Face, ...]
    variables: Variables = field(default_factory=Variables)
    frozen: bool = False
