"""Walks a subgraph operator by operator; converters, one for each operator type, register themselves here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from compiler.errors import CompileError, ModelError
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.tflite import quantised
from compiler.frontends.tflite.reader import Model, Operator, Tensor

#: What a tensor is in the graph: the name of a value or, for resources, an object of the converters' own.
Value = Any
Converter = Callable[["Call"], None]
#: Converters by operator type; custom operators by the name that files give them.
BUILTIN: dict[str, Converter] = {}
CUSTOM: dict[str, Converter] = {}
#: Elements of constants that converters make beside those of the file (masks, indices, fills).
_MOST_MADE = 1 << 26
#: Operators that multiply two scales.
_MULTIPLIED = frozenset({"BATCH_MATMUL", "FULLY_CONNECTED", "MUL", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"})
#: Calls of subgraphs inside subgraphs; converters make two or three.
_DEEPEST = 16


def converter(*types: str) -> Callable[[Converter], Converter]:
    """Register a converter for builtin operator types."""
    return _register(BUILTIN, types)


def custom(*types: str) -> Callable[[Converter], Converter]:
    """Register a converter for custom operators."""
    return _register(CUSTOM, types)


def _register(table: dict[str, Converter], types: Sequence[str]) -> Callable[[Converter], Converter]:
    def register(function: Converter) -> Converter:
        for name in types:
            assert name not in table, name
            table[name] = function
        return function

    return register


class Frame:
    """A subgraph being walked.

    Attributes:
        b: the graph under construction.
        model: the whole file, whose other subgraphs operators may call.
        graph: the subgraph.
        values: what each tensor is, by number, once it is computed.
        state: what lives longer than one subgraph (resource variables, tables), by name.
        depth: how many subgraphs this one is inside.
    """

    def __init__(self, b: GraphBuilder, model: Model, number: int, state: dict[str, Value], depth: int = 0) -> None:
        if depth > _DEEPEST:
            raise ModelError("subgraphs call each other too deeply", code="TFLITE_DEPTH", where=b.where,
                             limit=_DEEPEST)
        self.b, self.model, self.graph, self.state, self.depth = b, model, model.subgraphs[number], state, depth
        self.values: dict[int, Value] = {}
        self.reals: dict[tuple[str, bytes, bytes], str] = {}
        self._names: set[str] = set()

    def run(self, arguments: Sequence[Value]) -> list[Value]:
        """Convert every operator; returns the results for these inputs."""
        self.values.update(zip(self.graph.inputs, arguments))
        for number, op in enumerate(self.graph.operators):
            with self.b.layer(self._layer(op, number)), _guarded(self.b):
                table = CUSTOM if op.custom else BUILTIN
                table[op.type](Call(self, op))
        return [self.value(t) for t in self.graph.outputs]

    @cached_property
    def makers(self) -> dict[int, Operator]:
        """The operator that computes each tensor."""
        return {t: op for op in self.graph.operators for t in op.outputs}

    def value(self, number: int) -> Value:
        """What a tensor is in the graph. Raises: ModelError TFLITE_ORDER when nothing has computed it."""
        if number not in self.values:
            self.values[number] = self._constant(self.graph.tensors[number])
        return self.values[number]

    def _constant(self, tensor: Tensor) -> Value:
        if tensor.array is not None:
            return self.b.add(tensor.array, tensor.name or "const")
        if tensor.variable and tensor.dtype not in ("resource", "variant", "string"):
            self.b.note("states kept between runs start from zero in each")
            zero = quantised.zero_point(tensor) if tensor.quantisation is not None else 0
            return self.b.add(np.full(room(tensor.shape), zero, tensor.dtype), tensor.name or "state")
        raise ModelError(f"nothing computes the tensor {tensor.name!r} before it is read", code="TFLITE_ORDER",
                         where=self.b.where)

    def _layer(self, op: Operator, number: int) -> str:
        """The operator's name: its first result's, of which converters join several with semicolons."""
        stem = self.graph.tensors[op.outputs[0]].name.split(";")[0] if op.outputs and op.outputs[0] >= 0 else ""
        name = stem or op.type.lower()
        name = name if name not in self._names else f"{name}#{number}"
        self._names.add(name)
        return name


class Call:
    """One operator and where it stands: what a converter reads and where it puts results."""

    def __init__(self, frame: Frame, op: Operator) -> None:
        self.frame, self.op, self.b = frame, op, frame.b

    # ---- options and tensors ---------------------------------------------------------------------------------------

    def option(self, name: str, default: Any) -> Any:
        """An option of the operator; `default` is the schema's, for files that leave the table out."""
        found = self.op.options.get(name, default)
        return default if found is None else found

    def __len__(self) -> int:
        return len(self.op.inputs)

    def has(self, k: int) -> bool:
        """Whether operand k is given."""
        return k < len(self.op.inputs) and self.op.inputs[k] >= 0

    def tensor(self, k: int) -> Tensor:
        """What the file says of operand k."""
        if not self.has(k):
            raise ModelError(f"operand {k} of the operator is missing", code="TFLITE_OPERANDS", limit=k + 1,
                             actual=len(self.op.inputs))
        return self.frame.graph.tensors[self.op.inputs[k]]

    def result(self, k: int = 0) -> Tensor:
        """What the file says of result k."""
        if k >= len(self.op.outputs) or self.op.outputs[k] < 0:
            raise ModelError(f"result {k} of the operator is missing", code="TFLITE_OPERANDS", limit=k + 1,
                             actual=len(self.op.outputs))
        return self.frame.graph.tensors[self.op.outputs[k]]

    def wants(self, k: int) -> bool:
        """Whether the file names result k."""
        return k < len(self.op.outputs) and self.op.outputs[k] >= 0

    # ---- reading ---------------------------------------------------------------------------------------------------

    def stored(self, k: int) -> Value:
        """Operand k as it is in memory: integers where it is quantised."""
        self.tensor(k)
        return self.frame.value(self.op.inputs[k])

    def real(self, k: int) -> str:
        """Operand k as real numbers where it is quantised, else as it is."""
        return self.dequantised(self.stored(k), self.tensor(k))

    def dequantised(self, value: str, tensor: Tensor) -> str:
        """`real` of any stored value with the scales of `tensor`; computed once."""
        found = tensor.quantisation
        if found is None or not quantised.is_quantised(tensor):
            return value
        reals, key = self.frame.reals, (value, found.scales.tobytes(), found.zeros.tobytes())
        if key not in reals:
            reals[key] = quantised.dequantise(self.b, value, tensor)
        return reals[key]

    def const(self, k: int) -> np.ndarray | None:
        """Operand k as it is in memory when it is known already, else None."""
        return self.b.const(self.stored(k)) if self.has(k) else None

    def known(self, k: int, what: str) -> np.ndarray:
        """Operand k, which has to be known when the model is read. Raises: ModelError SHAPE_UNKNOWN."""
        found = self.const(k)
        if found is None:
            raise ModelError(f"{what} depends on data, and is needed to read the model", code="SHAPE_UNKNOWN",
                             actual=self.tensor(k).name, help="convert the model with fixed sizes")
        return found

    def ints(self, k: int, what: str) -> list[int]:
        """`known` as a list of numbers."""
        return [int(v) for v in self.known(k, what).reshape(-1)]

    def shape(self, k: int) -> tuple[int, ...]:
        """Shape of operand k."""
        return self.b.shape(self.stored(k))

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from 0. Raises: ModelError TFLITE_AXIS."""
        if not -rank <= axis < rank:
            raise ModelError("an operator works along an axis that its operand does not have", code="TFLITE_AXIS",
                             limit=rank, actual=axis)
        return axis % rank

    # ---- writing ---------------------------------------------------------------------------------------------------

    def store(self, value: Value, k: int = 0) -> None:
        """Result k as it is in memory."""
        self.result(k)
        self.frame.values[self.op.outputs[k]] = value

    def give(self, value: str, k: int = 0) -> None:
        """Result k as real numbers: the fused activation, then its scale, follow from options and tensor."""
        value = activated(self.b, value, self.option("fused_activation_function", 0))
        self.store(self.quantised(value, self.result(k), self._source()), k)

    def _source(self) -> Tensor | None:
        return self.tensor(0) if self.has(0) and self.op.type not in _MULTIPLIED else None

    def quantised(self, value: str, tensor: Tensor, source: Tensor | None = None) -> str:
        """Real numbers in the stored form of `tensor`; `source`: see `quantised.rounding`."""
        return quantised.quantise(self.b, value, tensor, source) if quantised.is_quantised(tensor) else value

    def moved(self, k: int, move: Callable[[str], str], result: int = 0) -> None:
        """Result by an operator that only moves elements: integers stay as they are where the scales do."""
        if quantised.same_scale(self.tensor(k), self.result(result)):
            self.store(move(self.stored(k)), result)
        else:
            self.give(move(self.real(k)), result)

    def requantised(self, k: int, tensor: Tensor) -> str:
        """Operand k in the stored form of `tensor`."""
        if quantised.same_scale(self.tensor(k), tensor):
            return self.stored(k)
        return self.quantised(self.real(k), tensor, self.tensor(k))


def activated(b: GraphBuilder, value: str, function: int) -> str:
    """A fused activation by its number in the schema."""
    if function == 0:
        return value
    if function == 1:
        return b.op("Relu", [value])
    limits = {2: (-1.0, 1.0), 3: (0.0, 6.0)}.get(function)
    if limits is not None:
        low, high = (np.array(v, b.dtype(value)) for v in limits)
        return b.op("Clip", [value, low, high])
    if function == 4:
        return b.op("Tanh", [value])
    raise ModelError(f"the fused activation number {function} has no kernel", code="TFLITE_ACTIVATION")


@contextmanager
def _guarded(b: GraphBuilder) -> Iterator[None]:
    """Operands and options that fit no operator, whatever they break in a converter, become a ModelError."""
    try:
        yield
    except CompileError as error:
        error.where = error.where or b._place()
        raise
    except (ArithmeticError, IndexError, KeyError, MemoryError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"an operator's operands or options do not fit it ({type(error).__name__}: {error})",
                         code="TFLITE_OPERANDS", where=b._place()) from error


def room(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a constant that a converter is about to make. Raises: ModelError TFLITE_SIZE for too large a one."""
    found = tuple(int(n) for n in shape)
    if min(found, default=0) < 0 or prod(found) > _MOST_MADE:
        raise ModelError("an operator needs a table that is too large", code="TFLITE_SIZE",
                         limit=f"{_MOST_MADE} elements", actual="x".join(map(str, found)))
    return found
