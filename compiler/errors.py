"""Errors of the compiler; each has a code of its own."""
from __future__ import annotations

from collections.abc import Sequence

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
        nodes: names of the model's nodes behind the layer, where they are known.
    """

    code = "ALLOCATION"
    nodes: tuple[str, ...] = ()

    def __init__(self, memory: str, need: int, have: int, layer: str = "", help: str = "") -> None:
        self.memory, self.need, self.have, self.layer = memory, need, have, layer
        super().__init__(
            f"the tiles live at once do not fit {memory.upper()}", where=layer, limit=f"{have} bytes per partition",
            actual=f"{need} bytes per partition", help=help or "use smaller tiles, or cut the model over more cores",
        )

    def within(self, place: str, nodes: Sequence[str]) -> AllocationError:
        """The same error, of one stage of a pipeline. nodes: the model's, behind the layer."""
        found = AllocationError(self.memory, self.need, self.have, self.layer)
        found.where = f"{place}, layer {self.layer}" if self.layer else place
        found.nodes = tuple(nodes)
        return found


class PinError(CompileError):
    """Weights that cannot all stay in the SBUF of one core, though they are required to.

    Attributes:
        layers: names of the layers whose weights do not fit, largest first.
        limit: bytes the core has for weights beside what its layers need to run. actual: bytes of SBUF that its weights
            take, unused partitions included.
    """

    code = "PIN"

    def __init__(self, layers: Sequence[str], limit: int, actual: int, help: str = "") -> None:
        self.layers = tuple(layers)
        super().__init__(
            "the weights do not all fit the SBUF of their core", where=", ".join(self.layers[:3]), limit=limit,
            actual=actual, help=help or "cut the model over more cores, or let weights be fetched in every run",
        )


class ShardingError(CompileError):
    """A pipeline that the instance cannot have, or whose stages do not fit as demanded. No operator is to blame."""

    code = "SHARDING"
