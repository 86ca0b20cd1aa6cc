"""Errors of the compiler; each has a code of its own."""
from __future__ import annotations

from isa.errors import NeuronError


class CompileError(NeuronError):
    """Anything that stops a compilation."""

    code = "COMPILE"


class ModelError(CompileError):
    """A model file that cannot be read or is not valid."""

    code = "MODEL"


class UnsupportedOp(CompileError):
    """An operator, or a form of it, that the compiler does not know.

    Attributes:
        op: the operator, with its domain unless it is ONNX's own.
        nodes: names of the model's nodes that use it.
    """

    code = "UNSUPPORTED_OP"
    op: str = ""
    nodes: tuple[str, ...] = ()


class ShapeError(CompileError):
    """A shape that is unknown or does not fit."""

    code = "SHAPE"


class VerifyError(CompileError):
    """A graph that contradicts itself after a pass: a defect of the compiler."""

    code = "VERIFY"


class AllocationError(CompileError):
    """A program whose live tiles do not fit a memory, spilling included.

    Attributes:
        memory: "sbuf" or "psum". need, have: bytes per partition. layer: the layer at the tightest place, or "".
    """

    code = "ALLOCATION"

    def __init__(self, memory: str, need: int, have: int, layer: str = "", help: str = "") -> None:
        self.memory, self.need, self.have, self.layer = memory, need, have, layer
        super().__init__(
            f"the tiles live at once do not fit {memory.upper()}", where=layer, limit=f"{have} bytes per partition",
            actual=f"{need} bytes per partition", help=help or "use smaller tiles, or cut the model over more cores",
        )
