"""Which data type each value is stored in and the PE multiplies in: `--auto-cast` and `--auto-cast-type` in one place.

none: what the model says (v1's PE has no fp32, so its operands are bf16 all the same). matmult: operands of matrix
products in the cast type; a float32 value that only feeds such operands, perhaps through operators that merely select
elements, is stored that way at once (rounding commutes with selection). all: every float32 value except model outputs.
"""
from __future__ import annotations

from collections.abc import Mapping

from compiler.ir import Graph, Node
from isa.target import Target

#: storage of the graph's element types on chip; 64-bit integers are range-checked by the host and ride as int32
STORAGE = {
    "float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp32", "int64": "int32", "int32": "int32",
    "int16": "int16", "int8": "int8", "uint8": "uint8", "uint16": "uint16", "uint32": "uint32", "uint64": "uint32",
    "bool": "uint8", "float8_e4m3fn": "fp8_e4m3", "float8_e5m2": "fp8_e5m2",
}
MATMULS = {"Conv": (0, 1), "ConvTranspose": (0, 1), "MatMul": (0, 1)}
#: operators whose results are elements of their first operand (or the constant fill), unrounded
SELECTIONS = {
    "MaxPool", "Relu", "Reshape", "Transpose", "Slice", "Concat", "Split", "Squeeze", "Unsqueeze", "Expand", "Flatten",
    "Gather",
}


class Precision:
    """Storage and matmul types of one graph under one cast policy."""

    def __init__(self, graph: Graph, target: Target, auto_cast: str = "none", cast_type: str = "bf16") -> None:
        self.graph = graph
        native = "fp32" in target.matmul_dtypes
        self.announce = ""
        if auto_cast == "none" and not native:
            self.announce = f"{target.generation} has no fp32 matmul: operands are rounded to bf16"
            auto_cast, cast_type = "matmult", "bf16"
        self.auto_cast = auto_cast
        self.cast_type = cast_type
        self._memo: dict[str, bool] = {}
        self._storage: dict[str, str] = {}
        for node in reversed(graph.nodes):  # readers first, so that no question goes deep
            for name in filter(None, node.outputs):
                self._only_operands(name)

    def storage(self, name: str) -> str:
        """isa data type in which a value is kept on chip."""
        if name not in self._storage:
            base = STORAGE[self.graph.dtype(name)]
            if base == "fp32" and self.graph.dtype(name) == "float32" and self._narrow(name):
                base = self.cast_type
            self._storage[name] = base
        return self._storage[name]

    def adopt(self, copies: Mapping[str, str]) -> None:
        """Values of other graphs, each of which holds what a value of this graph does, are stored as that one is."""
        self._storage |= {name: self.storage(value) for name, value in copies.items()}

    def matmul(self, dtype: str) -> str:
        """Type in which the PE multiplies operands stored as `dtype`."""
        if dtype in ("fp32", "int32", "uint32", "int16", "uint16"):
            return "fp32" if self.auto_cast == "none" else self.cast_type
        if dtype in ("int8", "uint8"):
            return "bf16"
        return dtype

    def _narrow(self, name: str) -> bool:
        if self.auto_cast == "none" or name in self.graph.outputs:
            return False
        return self.auto_cast == "all" or self._only_operands(name)

    def _only_operands(self, name: str) -> bool:
        if name in self._memo:
            return self._memo[name]
        self._memo[name] = False  # a cycle cannot occur; the entry only guards deep recursion
        users = self.graph.consumers(name)
        result = bool(users) and all(self._narrow_use(name, node) for node in users)
        self._memo[name] = result
        return result

    def _narrow_use(self, name: str, node: Node) -> bool:
        places = [i for i, n in enumerate(node.inputs) if n == name]
        if node.op in MATMULS:
            return all(i in MATMULS[node.op] for i in places)
        if node.op in SELECTIONS and not node.attrs.get("epilogue"):
            return all(o not in self.graph.outputs and self._only_operands(o) for o in node.outputs if o)
        return False
