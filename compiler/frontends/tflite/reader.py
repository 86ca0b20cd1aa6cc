"""From the bytes of a `.tflite` file to plain records; nothing here knows what an operator means."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.files import require
from compiler.frontends.tflite import tensors
from compiler.frontends.tflite.flat import Source, fields, root, table, tables, text, vector

#: Only this version was ever published; the file identifier says the same.
VERSION, IDENTIFIER = 3, b"TFL3"
_CUSTOM, _PLACEHOLDER = 32, 127  # BuiltinOperator.CUSTOM; what the older, narrower field says of newer operators
_MOST_RANK = 64


@dataclass(frozen=True)
class Quantisation:
    """real = scale * (stored - zero), a scale for all or for each index of `axis`."""

    scales: np.ndarray
    zeros: np.ndarray
    axis: int


@dataclass
class Tensor:
    """A tensor of a subgraph; a constant when it has `data`."""

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    dtype: str
    data: np.ndarray | None
    quantisation: Quantisation | None
    variable: bool
    sparsity: tensors.Sparsity | None
    where: str

    @cached_property
    def array(self) -> np.ndarray | None:
        """The constant, a view of the file where it can be one. Raises: as `tensors.array`."""
        if self.data is None:
            return None
        return tensors.array(self.data, self.dtype, self.shape, self.sparsity, self.where)


@dataclass(frozen=True)
class Operator:
    """One operator: its type as the schema or, for custom ones, the file names it."""

    type: str
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]
    custom_options: bytes
    version: int


@dataclass(frozen=True)
class Subgraph:
    """Tensors, which operators name by number, and operators in order of execution."""

    name: str
    tensors: list[Tensor]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: list[Operator]


@dataclass(frozen=True)
class Signature:
    """Names of a subgraph's inputs and outputs, by tensor number."""

    key: str
    subgraph: int
    inputs: dict[int, str]
    outputs: dict[int, str]


@dataclass(frozen=True)
class Model:
    """A whole file."""

    description: str
    subgraphs: list[Subgraph]
    signatures: list[Signature] = field(default_factory=list)


def read(path: Path) -> Model:
    """Read a model file. Raises: ModelError MODEL_MISSING, EXTRA_MISSING, MODEL_FORMAT, TFLITE_*."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            data = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b""
    except OSError as error:
        raise ModelError(f"the file cannot be read: {error.strerror}", code="MODEL_MISSING", where=str(path)) from None
    return parse(memoryview(data), str(path))


def parse(data: memoryview, where: str) -> Model:
    """`read` for the content of a file; constants stay views of `data`."""
    schema = require("tflite", "tflite", "to read TensorFlow Lite files")
    if len(data) < 8 or bytes(data[4:8]) != IDENTIFIER:
        raise ModelError("not a TensorFlow Lite file: bytes 4 to 8 are not its identifier", code="MODEL_FORMAT",
                         where=where, limit=repr(IDENTIFIER), actual=repr(bytes(data[4:8])))
    return _Reader(schema, Source(data, where)).model()


class _Reader:
    def __init__(self, schema: ModuleType, source: Source) -> None:
        self.schema, self.source, self.where = schema, source, source.where
        kinds = schema.BuiltinOptions.BuiltinOptions if hasattr(schema.BuiltinOptions, "BuiltinOptions") \
            else schema.BuiltinOptions
        self.kinds = {v: k for k, v in vars(kinds).items() if isinstance(v, int)}
        self.types = operator_numbers(schema)

    def model(self) -> Model:
        found = root(_class(self.schema, "Model"), self.source)
        if found.Version() != VERSION:
            raise ModelError("an unknown version of the TensorFlow Lite format", code="TFLITE_VERSION",
                             where=self.where, limit=VERSION, actual=found.Version())
        self.buffers = [self._buffer(b) for b in tables(found, "Buffers", self.source)]
        self.codes = [self._code(c) for c in tables(found, "OperatorCodes", self.source)]
        graphs = [self._subgraph(g) for g in tables(found, "Subgraphs", self.source)]
        if not graphs:
            raise self.source.damaged("the model has no subgraph")
        signatures = [self._signature(s, graphs) for s in tables(found, "SignatureDefs", self.source)]
        return Model(text(found.Description()), graphs, signatures)

    def _buffer(self, found: Any) -> np.ndarray:
        """The bytes of a buffer: inside the tables, or after them where the model is too large for 32-bit offsets."""
        start, size = int(found.Offset()), int(found.Size())
        if start > 1:  # 0 and 1 stand for none
            if start + size > len(self.source.data):
                raise self.source.damaged("a buffer lies outside of the file", start)
            return np.frombuffer(self.source.data, np.uint8, size, start)
        inside = found.DataAsNumpy()
        return np.zeros(0, np.uint8) if isinstance(inside, int) else inside

    def _code(self, found: Any) -> tuple[str, bool, int]:
        number = found.BuiltinCode()
        if number == 0 or found.DeprecatedBuiltinCode() not in (0, _PLACEHOLDER):
            number = max(number, found.DeprecatedBuiltinCode())
        if number == _CUSTOM:
            return text(found.CustomCode()), True, found.Version()
        return self.types.get(number, f"operator number {number}"), False, found.Version()

    def _subgraph(self, found: Any) -> Subgraph:
        made = [self._tensor(t) for t in tables(found, "Tensors", self.source)]
        inputs, outputs = (self._numbers(found, f, len(made), -1) for f in ("Inputs", "Outputs"))
        if any(i < 0 for i in (*inputs, *outputs)):
            raise self.source.damaged("a subgraph names a tensor that it does not have")
        operators = [self._operator(o, len(made)) for o in tables(found, "Operators", self.source)]
        return Subgraph(text(found.Name()), made, inputs, outputs, operators)

    def _tensor(self, found: Any) -> Tensor:
        name = text(found.Name())
        where = f"{self.where}: tensor {name!r}"
        shape = tuple(vector(found, "Shape", self.source).tolist())
        signature = tuple(vector(found, "ShapeSignature", self.source).tolist()) or shape
        if len(shape) > _MOST_RANK or len(signature) != len(shape) or any(d < -1 for d in (*shape, *signature)):
            raise ModelError("a tensor has an impossible shape", code="TENSOR_SHAPE", where=where, actual=shape)
        if found.Buffer() >= max(len(self.buffers), 1):
            raise ModelError("a tensor names a buffer that the file does not have", code="TFLITE_DAMAGED", where=where,
                             limit=len(self.buffers), actual=found.Buffer())
        if found.Type() not in tensors.DTYPES:
            raise ModelError(f"element type number {found.Type()} is unknown", code="TENSOR_DTYPE", where=where)
        dtype = tensors.DTYPES[found.Type()]
        data = self.buffers[found.Buffer()] if self.buffers else np.zeros(0, np.uint8)
        known = data.size > 0 or (0 in shape and found.Buffer() > 0)
        return Tensor(name, shape, signature, dtype, data if known else None, self._quantisation(found, shape, where),
                      bool(found.IsVariable()), self._sparsity(found), where)

    def _quantisation(self, found: Any, shape: tuple[int, ...], where: str) -> Quantisation | None:
        stated = table(found.Quantization(), self.source)
        if stated is None:
            return None
        scales, zeros = (vector(stated, f, self.source) for f in ("Scale", "ZeroPoint"))
        if not scales.size:
            return None
        axis = stated.QuantizedDimension() if scales.size > 1 else 0
        fits = scales.size == 1 or (0 <= axis < len(shape) and shape[axis] == scales.size)
        zeros = np.broadcast_to(zeros if zeros.size else np.int64(0), scales.shape) if zeros.size <= 1 else zeros
        if not fits or zeros.size != scales.size or not (np.isfinite(scales) & (scales >= 0)).all():
            raise ModelError("scales or zero points do not fit the tensor", code="TENSOR_QUANTISATION", where=where,
                             limit=shape, actual=f"{scales.size} scales, {zeros.size} zero points on axis {axis}")
        return Quantisation(scales.astype(np.float32), zeros.astype(np.int64), axis)

    def _sparsity(self, found: Any) -> tensors.Sparsity | None:
        stated = table(found.Sparsity(), self.source)
        if stated is None:
            return None
        order, blocks = (tuple(vector(stated, f, self.source).tolist()) for f in ("TraversalOrder", "BlockMap"))
        levels = tuple(self._level(m) for m in tables(stated, "DimMetadata", self.source))
        return tensors.Sparsity(order, blocks, levels) if order else None

    def _level(self, found: Any) -> tensors.Level:
        if found.Format() == 0:
            return tensors.Level(found.DenseSize())
        return tensors.Level(found.DenseSize(), self._index(found.ArraySegmentsType(), found.ArraySegments()),
                             self._index(found.ArrayIndicesType(), found.ArrayIndices()))

    def _index(self, kind: int, found: Any) -> np.ndarray:
        """A vector of the union SparseIndexVector: 1 int32, 2 uint16, 3 uint8."""
        name = {1: "Int32Vector", 2: "Uint16Vector", 3: "Uint8Vector"}.get(kind)
        if name is None or found is None:
            raise self.source.damaged("a sparse tensor without indices")
        return vector(table(found, self.source, _class(self.schema, name)), "Values", self.source)

    def _operator(self, found: Any, count: int) -> Operator:
        number = found.OpcodeIndex()
        if number >= len(self.codes):
            raise self.source.damaged(f"operator type {number} of {len(self.codes)}")
        kind, custom, version = self.codes[number]
        inputs, outputs = (self._numbers(found, f, count, -1) for f in ("Inputs", "Outputs"))
        start, size = int(found.LargeCustomOptionsOffset()), int(found.LargeCustomOptionsSize())
        own = vector(found, "CustomOptions", self.source).tobytes()
        if start > 1:
            if start + size > len(self.source.data):
                raise self.source.damaged("options lie outside of the file", start)
            self.source.spend(size)
            own = bytes(self.source.data[start : start + size])
        return Operator(kind, custom, inputs, outputs, self._options(found), own, version)

    def _options(self, found: Any) -> dict[str, Any]:
        name = self.kinds.get(found.BuiltinOptionsType(), "NONE")
        options = found.BuiltinOptions() if name != "NONE" else None
        if options is None:
            return {}
        return fields(table(options, self.source, _class(self.schema, name)), self.source)

    def _numbers(self, found: Any, name: str, count: int, least: int) -> tuple[int, ...]:
        numbers = tuple(vector(found, name, self.source).tolist())
        if any(not least <= n < count for n in numbers):
            raise self.source.damaged("an operator or subgraph names a tensor that the subgraph does not have")
        return numbers

    def _signature(self, found: Any, graphs: list[Subgraph]) -> Signature:
        number = found.SubgraphIndex()
        if number >= len(graphs):
            raise self.source.damaged(f"signature of subgraph {number} of {len(graphs)}")
        names = [{m.TensorIndex(): text(m.Name()) for m in tables(found, part, self.source)}
                 for part in ("Inputs", "Outputs")]
        return Signature(text(found.SignatureKey()), number, *names)


def operator_numbers(schema: ModuleType) -> dict[int, str]:
    """Name of every builtin operator of the schema by its number."""
    found = vars(_class(schema, "BuiltinOperator"))
    return {v: k for k, v in found.items() if isinstance(v, int) and not k.startswith("_")}


def _class(schema: ModuleType, name: str) -> Any:
    """A class of the schema's package, which has a module of the same name for each."""
    found = getattr(schema, name)
    return found if isinstance(found, type) else getattr(found, name)
