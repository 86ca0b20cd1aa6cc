"""Builds a graph operator by operator, for frontends whose files are not ONNX.

Every call of `op` folds what is constant and infers the rest at once, so that a frontend can ask for the shape, the
type or the value of anything it has built so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from onnx import helper

from compiler.errors import CompileError, ModelError
from compiler.frontends.inputs import Declared, Given, resolve
from compiler.frontends.onnx.check import raise_all
from compiler.frontends.onnx.claims import Claims
from compiler.frontends.onnx.export import to_model
from compiler.frontends.onnx.importer import Importer
from compiler.ir import OPSET, Graph

#: Version of ONNX's operators for trees and support vector machines that frontends write.
ML_OPSET = 3
_ML = "ai.onnx.ml"
#: More mistakes than these are not collected before they are reported.
_MOST_ERRORS = 20

Operand = str | np.ndarray | np.generic


class GraphBuilder:
    """A graph under construction. Operators mean what ONNX defines at `OPSET` (`ai.onnx.ml`: `ML_OPSET`).

    Attributes:
        graph: what is built so far; read it freely, change it through the builder.
        where: the model file, for messages.

    Args:
        name: of the model.
        where: as above.
    """

    def __init__(self, name: str, where: str = "") -> None:
        self.where = where
        versions = {"": OPSET, _ML: ML_OPSET}
        self._importer = Importer(versions, None, where, Claims(onnx.GraphProto()))
        self._scope: dict[str, str] = {}
        self._layer: list[str] = []
        self._begun: set[str] = set()  # layers that have a node
        self._errors: list[CompileError] = []
        self._consts: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self.graph.name = name or "graph"
        self.graph.opsets = {"": OPSET}

    @property
    def graph(self) -> Graph:
        return self._importer.graph

    # ---- reading -------------------------------------------------------------------------------------------------

    def shape(self, value: str) -> tuple[int, ...]:
        """Static shape of a value. Raises: ModelError SHAPE_UNKNOWN when it depends on data."""
        found = self.graph.value(value)
        if found.host:
            raise ModelError("a size that depends on data is needed to read the model", code="SHAPE_UNKNOWN",
                             where=self._place(), actual=value)
        return found.shape

    def rank(self, value: str) -> int:
        """Number of dimensions; raises as `shape`."""
        return len(self.shape(value))

    def dtype(self, value: str) -> str:
        """Element type, numpy spelling."""
        return self.graph.dtype(value)

    def const(self, value: str) -> np.ndarray | None:
        """The array of a value that is known already, else None."""
        return self.graph.const(value)

    def is_static(self, value: str) -> bool:
        """Whether shape and type are known, so that `shape` does not raise."""
        return not self.graph.value(value).host

    # ---- building ------------------------------------------------------------------------------------------------

    def inputs(self, declared: Sequence[Declared], given: Given) -> list[str]:
        """Define the model's inputs, with the shapes and types that file and user state; returns their names.

        Call it once, before the first operator. Raises: as `compiler.frontends.inputs.resolve`.
        """
        found, notes = resolve(declared, given)
        self.graph.notes += notes
        return [self.input(i.name, i.shape, i.dtype) for i in found]

    def input(self, name: str, shape: Sequence[int], dtype: str) -> str:
        """Define one input whose shape is known."""
        self._scope[name] = self.graph.add_input(name, shape, dtype)
        return name

    def add(self, array: np.ndarray | np.generic | Sequence[Any], name: str = "const") -> str:
        """Define a constant, kept and not copied; equal small ones are defined once."""
        array = np.asarray(array)
        small = array.nbytes <= 64 and array.dtype.kind != "O"
        key = (array.dtype.str, array.shape, array.tobytes()) if small else None
        if key is not None and key in self._consts:
            return self._consts[key]
        made = self.graph.add_const(array, name)
        self._scope[made] = made
        if key is not None:
            self._consts[key] = made
        return made

    def op(self, op_type: str, inputs: Sequence[Operand], *, domain: str = "", **attrs: Any) -> str:
        """Add an operator and return its first result; "" stands for an absent input, arrays become constants.

        Attributes that are None are left out. A result whose inputs are all known is known itself (`const`).
        Raises: CompileError (ShapeError ...) naming the layer, when operands do not fit the operator.
        """
        return self.ops(op_type, inputs, 1, domain=domain, **attrs)[0]

    def ops(self, op_type: str, inputs: Sequence[Operand], count: int, *, domain: str = "", **attrs: Any) -> list[str]:
        """`op` for an operator with `count` results."""
        names = [i if isinstance(i, str) else self.add(i) for i in inputs]
        stem = self._stem(op_type)
        outputs = [self.graph.fresh_name(f"{stem}:{k}") for k in range(count)]
        known = {k: v for k, v in attrs.items() if v is not None}
        proto = helper.make_node(op_type, names, outputs, stem, domain=domain, **known)
        if domain:
            self.graph.opsets.setdefault(domain, ML_OPSET if domain == _ML else 1)
        before = len(self.graph.nodes)
        self._scope.update({n: n for n in names if n})
        try:
            self._importer.add(proto, self._scope)
        except CompileError as error:
            error.where = self._place() + (f" ({op_type})" if self._layer else error.where)
            raise
        if self._layer:
            for node in self.graph.nodes[before:]:
                node.sources = [self._layer[-1]]
        return [self._scope[o] for o in outputs]

    def output(self, value: str, name: str = "") -> str:
        """Make a value a result of the model, under `name` (with a number if that is taken); returns the name."""
        name = name or value
        if name != value or name in self.graph.outputs:
            if name in self.graph.values:
                name = self.graph.fresh_name(name)
            found = self.graph.value(value)
            if found.host:
                self.graph.add_host_value(name, found.host, found.dtype)
            else:
                self.graph.add_value(name, found.shape, found.dtype)
            source = self.graph.producer(value)
            self.graph.add_node("Identity", [value], [name], sources=source.sources if source else (),
                                host=source.host if source is not None and found.host else "")
        self.graph.outputs.append(name)
        return name

    def nested(self, inputs: Sequence[tuple[str, Sequence[int], str]] = ()) -> GraphBuilder:
        """A builder for the body of a Loop, If or Scan: (name, shape, dtype) of what goes in; see `body`.

        A body here sees nothing of the outer graph but constants that are added again: pass values in as inputs (If and
        Loop bodies may also read outer values by name in ONNX; declare those as `inputs` and leave them out of `body`).
        """
        inner = GraphBuilder(self.graph.fresh_name("body"), self.where)
        inner._layer = list(self._layer)
        for name, shape, dtype in inputs:
            inner.input(name, shape, dtype)
        return inner

    def body(self, captured: Sequence[str] = ()) -> onnx.GraphProto:
        """The finished graph as the attribute of a Loop, If or Scan; `captured`: inputs that are the outer graph's."""
        self.graph.remove_dead()
        proto = to_model(self.graph).graph
        kept = [i for i in proto.input if i.name not in captured]
        del proto.input[:]
        proto.input.extend(kept)
        return proto

    def finish(self) -> Graph:
        """The graph, without what no output needs. Raises: the errors that `attempt` collected, all at once."""
        raise_all(self._errors)
        self.graph.remove_dead()
        return self.graph

    # ---- where we are --------------------------------------------------------------------------------------------

    @contextmanager
    def layer(self, name: str) -> Iterator[None]:
        """Everything added inside stands for the source model's layer (or node) of that name."""
        self._layer.append(name)
        try:
            yield
        finally:
            self._layer.pop()

    def note(self, text: str) -> None:
        """A sentence for the user about a choice that was made."""
        if text not in self.graph.notes:
            self.graph.notes.append(text)

    def fail(self, error: CompileError) -> None:
        """Remember a mistake, to be reported by `finish` with the others; raises at once after very many."""
        error.where = error.where or self._place()
        self._errors.append(error)
        if len(self._errors) >= _MOST_ERRORS:
            raise_all(self._errors)

    @property
    def failed(self) -> bool:
        """Whether `fail` was called."""
        return bool(self._errors)

    def _stem(self, op_type: str) -> str:
        if not self._layer:
            return self.graph.fresh_name(op_type.lower())
        layer = self._layer[-1]
        first = layer not in self._begun
        self._begun.add(layer)
        return self.graph.fresh_name(layer if first else f"{layer}/{op_type}")

    def _place(self) -> str:
        layer = f"layer {self._layer[-1]!r}" if self._layer else ""
        return ": ".join(p for p in (self.where, layer) if p)

