"""One node while it is converted: its attributes, its operands as values or constants, and the builder."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from compiler.errors import ModelError, UnsupportedOp
from compiler.frontends.builder import GraphBuilder, Operand
from compiler.frontends.tensorflow.tensors import dims_of, dtype_name
from compiler.frontends.tensorflow.values import Sparse, Value

if TYPE_CHECKING:
    from compiler.frontends.tensorflow.importer import Importer
    from compiler.frontends.tensorflow.scope import Scope


class Call:
    """A node with its operands.

    Attributes:
        node: the NodeDef. args: values of its data inputs. scope: the graph or function it is in.
        importer: the import it is part of.
    """

    def __init__(self, importer: Importer, scope: Scope, node: Any, args: Sequence[Value]) -> None:
        self.importer, self.scope, self.node, self.args = importer, scope, node, args

    @property
    def b(self) -> GraphBuilder:
        """The graph that is built."""
        return self.importer.b

    @property
    def where(self) -> str:
        """The node, for messages."""
        return f"{self.importer.source.where}: node {self.node.name!r} ({self.node.op})"

    # ---- attributes ----------------------------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Whether the node states an attribute."""
        return name in self.node.attr

    def whole(self, name: str, default: int = 0) -> int:
        """An attribute that is a whole number."""
        return int(self.node.attr[name].i) if self.has(name) else default

    def real(self, name: str, default: float = 0.0) -> float:
        """An attribute that is a real number."""
        return float(self.node.attr[name].f) if self.has(name) else default

    def flag(self, name: str, default: bool = False) -> bool:
        """An attribute that is true or false."""
        return bool(self.node.attr[name].b) if self.has(name) else default

    def text(self, name: str, default: str = "") -> str:
        """An attribute that is text."""
        return self.node.attr[name].s.decode("utf-8", "replace") if self.has(name) else default

    def texts(self, name: str) -> list[str]:
        """An attribute that is a list of texts."""
        return [s.decode("utf-8", "replace") for s in self.node.attr[name].list.s] if self.has(name) else []

    def numbers(self, name: str) -> list[int]:
        """An attribute that is a list of whole numbers, [] where it is absent."""
        return list(self.node.attr[name].list.i) if self.has(name) else []

    def kind(self, name: str, default: int = 1) -> str:
        """An attribute that is an element type, numpy spelling. Raises: UnsupportedOp ELEMENT_TYPE."""
        return dtype_name(self.node.attr[name].type if self.has(name) else default, self.where)

    def dims(self, name: str) -> tuple[int | None, ...] | None:
        """An attribute that is a shape."""
        return dims_of(self.node.attr[name].shape) if self.has(name) else None

    # ---- operands ------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.args)

    def x(self, index: int = 0) -> str:
        """An operand as a value of the builder. Raises: ModelError MODEL_INVALID; UnsupportedOp for no tensor."""
        if index >= len(self.args):
            raise ModelError(f"the node has {len(self.args)} inputs, and one more is needed", code="MODEL_INVALID",
                             where=self.where)
        found = self.args[index]
        if isinstance(found, Sparse):
            return self.entries(found)
        if not isinstance(found, str):
            raise self.refuse("its input is no tensor")
        return found

    def entries(self, of: Sparse) -> str:
        """What is kept as a dense tensor, as the tensor that TensorFlow has; its size depends on data."""
        if of.kind not in ("places", "values"):
            raise self.refuse("its input is part of a sparse tensor in a form that is not supported")
        places = self.op("Transpose", [self.op("NonZero", [of.mask])], perm=[1, 0])
        return places if of.kind == "places" else self.op("GatherND", [of.dense, places])

    def xs(self, start: int = 0, end: int | None = None) -> list[str]:
        """Several operands."""
        return [self.x(k) for k in range(start, len(self.args) if end is None else end)]

    def const(self, index: int) -> np.ndarray:
        """An operand that has to be known. Raises: UnsupportedOp when it is computed at run time."""
        found = self.b.const(self.x(index))
        if found is None:
            raise self.refuse(f"input {index}, which says what it does, is computed at run time")
        return found

    def known(self, index: int) -> np.ndarray | None:
        """An operand where it is known, else None."""
        found = self.args[index] if index < len(self.args) else None
        return self.b.const(found) if isinstance(found, str) else None

    def ints(self, index: int) -> list[int]:
        """A known operand as whole numbers, flat."""
        return [int(v) for v in self.const(index).reshape(-1)]

    def scalar(self, index: int) -> Any:
        """A known operand's one number. Raises: ModelError MODEL_INVALID."""
        found = self.const(index)
        if found.size != 1:
            raise ModelError(f"input {index} has {found.size} elements where one is needed", code="MODEL_INVALID",
                             where=self.where)
        return found.reshape(-1)[0]

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Sizes of an operand."""
        return self.b.shape(self.x(index))

    def rank(self, index: int = 0) -> int:
        """Number of dimensions of an operand, whose sizes may depend on data."""
        value = self.b.graph.value(self.x(index))
        known = onnx.TypeProto.FromString(value.host).tensor_type if value.host else None
        return len(known.shape.dim) if known is not None and known.HasField("shape") else len(self.shape(index))

    def dtype(self, index: int = 0) -> str:
        """Element type of an operand, numpy spelling."""
        return self.b.dtype(self.x(index))

    def is_float(self, index: int = 0) -> bool:
        """Whether an operand's elements are real numbers."""
        return "float" in self.dtype(index)

    def axis(self, value: int, rank: int) -> int:
        """A dimension's number, counted from the front. Raises: ModelError MODEL_INVALID."""
        if not -rank <= value < rank:
            raise ModelError(f"dimension {value} of a tensor with {rank}", code="MODEL_INVALID", where=self.where)
        return value % rank

    # ---- building ------------------------------------------------------------------------------------------------

    def op(self, op_type: str, inputs: Sequence[Operand], **attrs: Any) -> str:
        """Add an ONNX operator; see `GraphBuilder.op`."""
        return self.b.op(op_type, inputs, **attrs)

    def number(self, value: Any, like: str) -> np.ndarray:
        """A scalar of the type that another value has."""
        from compiler.ir import numpy_dtype

        return np.array(value).astype(numpy_dtype(self.b.dtype(like)))

    def reshape(self, value: str, shape: Sequence[int]) -> str:
        """A value in another shape; itself when it has it."""
        if self.b.is_static(value) and self.b.shape(value) == tuple(shape) and -1 not in shape:
            return value
        return self.op("Reshape", [value, np.array(list(shape), np.int64)], allowzero=1 if 0 in shape else None)

    def transpose(self, value: str, perm: Sequence[int]) -> str:
        """A value with its dimensions in another order."""
        return value if list(perm) == sorted(perm) else self.op("Transpose", [value], perm=list(perm))

    def cast(self, value: str, dtype: str) -> str:
        """A value with another element type."""
        from compiler.frontends.onnx.types import tensor_type

        return value if self.b.dtype(value) == dtype else self.op("Cast", [value], to=tensor_type(dtype))

    def refuse(self, why: str, help: str = "") -> UnsupportedOp:
        """The error of an operator, or of a form of it, that cannot be converted."""
        error = UnsupportedOp(f"{self.node.op}: {why}", where=self.where, help=help)
        error.op, error.nodes = self.node.op, (self.node.name,)
        return error
