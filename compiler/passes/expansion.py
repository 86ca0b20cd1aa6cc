"""Writing a subgraph like a formula, in front of the node that it replaces; shapes and types follow from operands."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.ir import Graph, Node, numpy_dtype
from compiler.passes.rewrite import before, int_const

_COMPARISONS = frozenset({"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"})

Operand = str | float


class Expansion:
    """Nodes in front of `node`, one method for each operator; every method returns the name of its result.

    Numbers among the operands become constants of the other operand's type. `finish` puts the results in the place of
    the node's outputs.
    """

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph = graph
        self.node = node
        self.made: set[str] = set()

    # ---- operands ------------------------------------------------------------------------------------------------

    def shape(self, x: str) -> tuple[int, ...]:
        """Shape of a value."""
        return self.graph.shape(x)

    def rank(self, x: str) -> int:
        """Number of axes of a value."""
        return len(self.graph.shape(x))

    def dtype(self, x: str) -> str:
        """Element type of a value."""
        return self.graph.dtype(x)

    def const(self, array: np.ndarray | Sequence[float] | float, like: str = "float32") -> str:
        """A constant; anything but an array takes the element type `like`."""
        values = array if isinstance(array, np.ndarray) else np.asarray(array).astype(numpy_dtype(like))
        return self.graph.add_const(values, f"{self.node.name}_const")

    # ---- operators -----------------------------------------------------------------------------------------------

    def op(self, op: str, inputs: Sequence[str], shape: Sequence[int], dtype: str = "", **attrs: Any) -> str:
        """Any operator with one result, of the first input's type unless said."""
        result = before(self.graph, self.node, op, inputs, shape, dtype or self.dtype(inputs[0]), attrs,
                        f"{self.node.name}_{op.lower()}")
        self.made.add(result)
        return result

    def unary(self, op: str, x: str, **attrs: Any) -> str:
        """An elementwise function."""
        return self.op(op, [x], self.shape(x), "bool" if op in ("IsNaN", "Not") else "", **attrs)

    def binary(self, op: str, a: Operand, b: Operand) -> str:
        """An elementwise function of two operands that are broadcast; comparisons give bool."""
        known = a if isinstance(a, str) else b
        assert isinstance(known, str)
        left, right = (x if isinstance(x, str) else self.const(x, self.dtype(known)) for x in (a, b))
        shape = np.broadcast_shapes(self.shape(left), self.shape(right))
        return self.op(op, [left, right], shape, "bool" if op in _COMPARISONS else "")

    def add(self, a: Operand, b: Operand) -> str:
        """a + b."""
        return self.binary("Add", a, b)

    def sub(self, a: Operand, b: Operand) -> str:
        """a - b."""
        return self.binary("Sub", a, b)

    def mul(self, a: Operand, b: Operand) -> str:
        """a * b."""
        return self.binary("Mul", a, b)

    def total(self, terms: Sequence[str]) -> str:
        """The sum of one or more values, from left to right."""
        out = terms[0]
        for term in terms[1:]:
            out = self.add(out, term)
        return out

    def where(self, condition: str, a: str, b: str) -> str:
        """a where the condition holds, else b."""
        shape = np.broadcast_shapes(*(self.shape(x) for x in (condition, a, b)))
        return self.op("Where", [condition, a, b], shape, self.dtype(a))

    def clip(self, x: str, low: float, high: float) -> str:
        """x, kept within bounds."""
        return self.op("Clip", [x, self.const(low, self.dtype(x)), self.const(high, self.dtype(x))], self.shape(x))

    def cast(self, x: str, dtype: str) -> str:
        """x in another element type (an existing type is left alone)."""
        from onnx import helper
        if self.dtype(x) == dtype:
            return x
        return self.op("Cast", [x], self.shape(x), dtype, to=helper.np_dtype_to_tensor_dtype(numpy_dtype(dtype)))

    def matmul(self, a: str, b: str, dtype: str = "") -> str:
        """[.., M, K] x [.., K, N]; the accumulator's float32 may be kept by `dtype`."""
        left, right = self.shape(a), self.shape(b)
        shape = (*np.broadcast_shapes(left[:-2], right[:-2]), left[-2], right[-1])
        return self.op("MatMul", [a, b], shape, dtype)

    def reduce(self, op: str, x: str, axes: Sequence[int]) -> str:
        """A reduction that keeps its axes with size 1."""
        shape = [1 if a in axes else n for a, n in enumerate(self.shape(x))]
        return self.op(op, [x, int_const(self.graph, axes, f"{self.node.name}_axes")], shape, keepdims=1,
                       noop_with_empty_axes=0)

    def softmax(self, x: str) -> str:
        """Softmax along the last axis."""
        return self.unary("Softmax", x, axis=self.rank(x) - 1)

    def transpose(self, x: str, perm: Sequence[int]) -> str:
        """The axes in another order; nothing when it is the present one."""
        if list(perm) == list(range(self.rank(x))):
            return x
        return self.op("Transpose", [x], [self.shape(x)[p] for p in perm], perm=list(perm))

    def swap(self, x: str) -> str:
        """The last two axes exchanged."""
        rank = self.rank(x)
        return self.transpose(x, [*range(rank - 2), rank - 1, rank - 2])

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """The same elements in another shape."""
        if tuple(shape) == self.shape(x):
            return x
        return self.op("Reshape", [x, int_const(self.graph, shape, f"{self.node.name}_shape")], shape, allowzero=0)

    def slice(self, x: str, axis: int, low: int, high: int, step: int = 1) -> str:
        """Elements low, low + step, .. < high of one axis; nothing when that is all of it."""
        shape = list(self.shape(x))
        axis %= len(shape)
        if (low, high, step) == (0, shape[axis], 1):
            return x
        shape[axis] = -(-(high - low) // step)
        bounds = [int_const(self.graph, [n], f"{self.node.name}_{what}")
                  for n, what in ((low, "starts"), (high, "ends"), (axis, "axes"), (step, "steps"))]
        return self.op("Slice", [x, *bounds], shape)

    def split(self, x: str, axis: int, parts: int) -> list[str]:
        """Equal parts of one axis."""
        size = self.shape(x)[axis] // parts
        return [self.slice(x, axis, k * size, (k + 1) * size) for k in range(parts)]

    def gather(self, x: str, indices: str, axis: int = 0) -> str:
        """Entries of one axis by index."""
        shape = self.shape(x)
        axis %= len(shape)
        return self.op("Gather", [x, indices], (*shape[:axis], *self.shape(indices), *shape[axis + 1:]), axis=axis)

    def concat(self, parts: Sequence[str], axis: int) -> str:
        """Parts joined along one axis."""
        if len(parts) == 1:
            return parts[0]
        shape = list(self.shape(parts[0]))
        axis %= len(shape)
        shape[axis] = sum(self.shape(p)[axis] for p in parts)
        return self.op("Concat", parts, shape, axis=axis)

    def expand(self, x: str, shape: Sequence[int]) -> str:
        """x broadcast to a shape; nothing when it has that already."""
        if tuple(shape) == self.shape(x):
            return x
        return self.op("Expand", [x, int_const(self.graph, shape, f"{self.node.name}_shape")], shape)

    # ---- the end -------------------------------------------------------------------------------------------------

    def used(self, index: int) -> bool:
        """Whether anybody reads output `index` of the node that is being replaced."""
        name = self.node.outputs[index] if index < len(self.node.outputs) else ""
        return bool(name) and (name in self.graph.outputs or bool(self.graph.consumers(name)))

    def finish(self, results: Sequence[str]) -> bool:
        """Let `results` be the node's outputs, in order, and take the node out. "" stands for a result nobody reads."""
        graph, node = self.graph, self.node
        outputs = list(node.outputs)
        named: dict[str, str] = {}
        graph.set_outputs(node, [])
        for output, result in zip(outputs, results, strict=False):
            if not output or not result:
                continue
            if result in self.made and result not in named:
                self._rename(result, output)
                named[result] = output
            else:
                self._copy(named.get(result, result), output)
        graph.remove(node)
        return True

    def _rename(self, result: str, output: str) -> None:
        producer = self.graph.producer(result)
        assert producer is not None
        self.graph.set_outputs(producer, [output])
        self.graph.replace_uses(result, output)
        del self.graph.values[result]

    def _copy(self, source: str, output: str) -> None:
        shape = int_const(self.graph, self.shape(output), f"{self.node.name}_shape")
        self.graph.insert_before(self.node, "Reshape", [source, shape], [output], {"allowzero": 0})


__all__ = ["Expansion", "Operand"]
