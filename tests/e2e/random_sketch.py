"""A random model under construction, with the numbers each of its nodes gives."""
from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

OPSET = 20
#: elements of one value, and magnitudes beyond which rounding errors say nothing
MOST_ELEMENTS, LARGEST, SMALLEST = 4096, 1e3, 1e-3
SIZES = (1, 1, 2, 3, 4, 5, 8, 17, 33, 64, 130)


@dataclass
class Known:
    """A value of the model under construction: its numbers, and whether they carry no rounding error."""

    array: np.ndarray
    exact: bool


@dataclass
class Sketch:
    """A model under construction; every choice comes from `rng`."""

    rng: np.random.Generator
    known: dict[str, Known] = field(default_factory=dict)
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    def choose(self, *options: Any) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def flag(self) -> bool:
        return bool(self.rng.integers(2))

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def input(self, shape: tuple[int, ...]) -> str:
        """A new float input, or now and then a constant."""
        array = self.rng.standard_normal(shape).astype(np.float32)
        name = f"i{len(self.inputs) + len(self.weights)}"
        (self.inputs if self.flag() or not self.inputs else self.weights)[name] = array
        self.known[name] = Known(array, True)
        return name

    def weight(self, array: np.ndarray) -> str:
        name = f"w{len(self.inputs) + len(self.weights)}"
        self.weights[name] = array
        return name

    def pick(self, kind: str = "f", rank: int = 0, exact: bool = False) -> str | None:
        """A value of a numpy kind with at least `rank` dimensions, the newer the likelier; None when there is none."""
        fit = [n for n, v in self.known.items()
               if v.array.dtype.kind == kind and v.array.dtype.itemsize != 8 * (kind == "f") and v.array.ndim >= rank
               and (v.exact or not exact)]
        if not fit:
            return None
        back = self.integer(0, min(3, len(fit) - 1))
        return fit[-1 - back]

    def node(self, op: str, inputs: list[str], outputs: int = 1, exact: bool = False, **attrs: Any) -> list[str]:
        """Add a node when it is valid and its numbers are moderate; returns the names of its results, or nothing."""
        names = [f"v{len(self.nodes)}_{k}" for k in range(outputs)]
        proto = helper.make_node(op, inputs, names, name=f"{op}_{len(self.nodes)}", **attrs)
        feeds = {n: self.weights[n] if n in self.weights else self.known[n].array for n in inputs if n}
        results = evaluate(proto, feeds)
        if results is None or not all(_moderate(r) for r in results):
            return []
        self.nodes.append(proto)
        exact = exact and all(self.known[n].exact for n in inputs if n in self.known)
        for name, result in zip(names, results, strict=True):
            self.known[name] = Known(result, exact or result.dtype.kind != "f")
        return names


def evaluate(proto: onnx.NodeProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray] | None:
    """What onnx's evaluator makes of one node; None when it refuses."""
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
             for n, a in feeds.items()]
    outputs = [helper.make_tensor_value_info(n, TensorProto.UNDEFINED, None) for n in proto.output]
    model = helper.make_model(helper.make_graph([proto], "node", infos, outputs),
                              opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return [np.asarray(r) for r in ReferenceEvaluator(model).run(None, feeds)]
        except Exception:  # the evaluator has no error type of its own for operands that do not fit
            return None


def _moderate(array: np.ndarray) -> bool:
    if array.size == 0 or array.size > MOST_ELEMENTS:
        return False
    if array.dtype.kind != "f":
        return True
    size = np.abs(array.astype(np.float64))
    return bool(np.isfinite(size).all() and SMALLEST < size.max() < LARGEST)
