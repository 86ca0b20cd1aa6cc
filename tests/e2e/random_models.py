"""Random models as a hypothesis strategy: graphs of many operators, some of which only the host can run.

A draw keeps the numbers each node gives (from onnx's reference evaluator), so that every node it adds is valid. Values
whose every bit is defined are told from those that carry a rounding error: steps (Floor, Greater, ArgMax ...) are only
put on the former, since a last bit decides there.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Draw = Callable[[st.SearchStrategy[Any]], Any]
Feeds = dict[str, np.ndarray]

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


# ---- operators: each function adds one node, or nothing when no value fits -------------------------------------------

EXACT_UNARY = ("Relu", "Neg", "Abs", "Identity")
UNARY = ("Sigmoid", "Tanh", "Exp", "Erf", "Softplus", "Elu", "Selu", "HardSwish", "Mish", "Gelu", "Sin", "Cos",
         "Softsign", "Celu", "HardSigmoid", "LeakyRelu", "ThresholdedRelu", "Atan", "Asinh")
STEPS = ("Floor", "Ceil", "Round", "Sign")
REDUCTIONS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare",
              "ReduceLogSumExp")


def unary(s: Sketch) -> None:
    exact = s.flag()
    x = s.pick()
    if x:
        s.node(s.choose(*(EXACT_UNARY if exact else UNARY)), [x], exact=exact)


def step(s: Sketch) -> None:
    x = s.pick(exact=True)
    if x:
        s.node(s.choose(*STEPS), [x], exact=True)


def positive(s: Sketch) -> None:
    """Functions of positive numbers only."""
    x = s.pick()
    if x:
        grown = s.node("Abs", [x], exact=True) and s.node("Add", [f"v{len(s.nodes) - 1}_0", s.weight(np.float32([1]))])
        if grown:
            s.node(s.choose("Sqrt", "Log", "Reciprocal"), grown)


def _partner(s: Sketch, x: str) -> str:
    """A second operand that broadcasts with `x`: another value or a new one."""
    shape = s.known[x].array.shape
    if s.flag():
        for name in reversed(list(s.known)):
            other = s.known[name].array
            if other.dtype == s.known[x].array.dtype and name != x and _broadcasts(other.shape, shape):
                return name
    kept = tuple(1 if s.integer(0, 3) == 0 else n for n in shape)
    return s.input(kept[s.integer(0, len(kept)):] if s.integer(0, 3) == 0 else kept)


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(a[::-1], b[::-1], strict=False))


def binary(s: Sketch) -> None:
    x = s.pick()
    if x:
        op = s.choose("Add", "Sub", "Mul", "Max", "Min")
        pair = [x, _partner(s, x)]
        s.node(op, pair[::-1] if s.flag() else pair, exact=op in ("Max", "Min"))


def compare(s: Sketch) -> None:
    x = s.pick(exact=True)
    if x:
        other = s.input(s.known[x].array.shape)
        found = s.node(s.choose("Greater", "Less", "LessOrEqual", "GreaterOrEqual", "Equal"), [x, other])
        if found and s.flag():
            s.node("Where", [*found, x, other], exact=True)


def logic(s: Sketch) -> None:
    a = s.pick("b")
    if a:
        fit = [n for n, v in s.known.items() if v.array.dtype.kind == "b" and v.array.shape == s.known[a].array.shape]
        s.node(s.choose("And", "Or", "Xor"), [a, s.choose(*fit)]) if s.flag() else s.node("Not", [a])


def cast(s: Sketch) -> None:
    x = s.pick(s.choose("f", "i", "b"), exact=True)
    if x:
        to = s.choose(TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL)
        s.node("Cast", [x], to=to, exact=True)


def reshape(s: Sketch) -> None:
    x = s.pick(s.choose("f", "f", "i", "b"))
    if x:
        left, out = s.known[x].array.size, [1] * s.integer(1, 4)
        for prime in (2, 3, 5, 7, 11, 13):
            while left % prime == 0:
                left //= prime
                out[s.integer(0, len(out) - 1)] *= prime
        out[0] *= left
        s.node("Reshape", [x, s.weight(np.array(out))], exact=True)


def transpose(s: Sketch) -> None:
    x = s.pick(s.choose("f", "f", "i", "b"), 2)
    if x:
        s.node("Transpose", [x], perm=s.rng.permutation(s.known[x].array.ndim).tolist(), exact=True)


def slice_(s: Sketch) -> None:
    x = s.pick(s.choose("f", "f", "i"), 1)
    if x:
        axis = s.integer(0, s.known[x].array.ndim - 1)
        n = s.known[x].array.shape[axis]
        low, high, by = s.integer(-n, n - 1), s.integer(-n, n), s.choose(1, 1, 2, -1)
        s.node("Slice", [x, *(s.weight(np.array([k])) for k in (low, high, axis, by))], exact=True)


def concat(s: Sketch) -> None:
    x = s.pick("f", 1)
    if x:
        axis = s.integer(0, s.known[x].array.ndim - 1)
        shape = list(s.known[x].array.shape)
        shape[axis] = s.choose(*SIZES[:6])
        s.node("Concat", [x, s.input(tuple(shape)) if s.flag() else x], axis=axis, exact=True)


def split(s: Sketch) -> None:
    x = s.pick("f", 1)
    if x:
        axis = s.integer(0, s.known[x].array.ndim - 1)
        n = s.known[x].array.shape[axis]
        if n > 1:
            first = s.integer(1, n - 1)
            s.node("Split", [x, s.weight(np.array([first, n - first]))], 2, axis=axis, exact=True)


def pad(s: Sketch) -> None:
    x = s.pick("f", 1)
    if x:
        rank = s.known[x].array.ndim
        pads = [s.integer(0, 2) for _ in range(2 * rank)]
        modes = ("constant", "edge", "reflect")[: 3 if min(s.known[x].array.shape) > 2 else 2]
        s.node("Pad", [x, s.weight(np.array(pads))], mode=s.choose(*modes), exact=True)


def tile(s: Sketch) -> None:
    x = s.pick("f", 1)
    if x:
        repeats = [s.integer(1, 2) for _ in s.known[x].array.shape]
        s.node("Tile", [x, s.weight(np.array(repeats))], exact=True)


def gather(s: Sketch) -> None:
    x = s.pick("f", 1)
    if x:
        axis = s.integer(0, s.known[x].array.ndim - 1)
        n = s.known[x].array.shape[axis]
        index = s.rng.integers(-n, n, size=s.choose((), (2,), (3, 2)))
        s.node("Gather", [x, s.weight(index)], axis=axis, exact=True)


def reduce(s: Sketch) -> None:
    x = s.pick("f", 1)
    if x:
        rank = s.known[x].array.ndim
        axes = s.rng.permutation(rank)[: s.integer(1, rank)]
        op = s.choose(*REDUCTIONS)
        s.node(op, [x, s.weight(axes)], keepdims=s.integer(0, 1), exact=op in ("ReduceMax", "ReduceMin"))


def arg_reduce(s: Sketch) -> None:
    x = s.pick("f", 1, exact=True)
    if x:
        axis = s.integer(0, s.known[x].array.ndim - 1)
        s.node(s.choose("ArgMax", "ArgMin"), [x], axis=axis, keepdims=s.integer(0, 1))


def top_k(s: Sketch) -> None:
    x = s.pick("f", 1, exact=True)
    if x:
        axis = s.integer(0, s.known[x].array.ndim - 1)
        k = s.integer(1, min(9, s.known[x].array.shape[axis]))
        s.node("TopK", [x, s.weight(np.array([k]))], 2, axis=axis, largest=s.integer(0, 1), exact=True)


def running_sum(s: Sketch) -> None:
    x = s.pick("f", 1)
    if x:
        axis = s.weight(np.array(s.integer(0, s.known[x].array.ndim - 1)))
        s.node("CumSum", [x, axis], exclusive=s.integer(0, 1), reverse=s.integer(0, 1))


def normalise(s: Sketch) -> None:
    x = s.pick("f", 2)
    if x:
        rank = s.known[x].array.ndim
        op = s.choose("Softmax", "LogSoftmax", "LayerNormalization", "LpNormalization")
        axis = s.integer(1, rank - 1)
        if op == "LayerNormalization":
            shape = s.known[x].array.shape[axis:]
            s.node(op, [x, s.input(shape), s.input(shape)], axis=axis)
        else:
            s.node(op, [x], axis=axis)


def matmul(s: Sketch) -> None:
    x = s.pick("f", 2)
    if x:
        shape = s.known[x].array.shape
        s.node("MatMul", [x, s.input((shape[-1], s.choose(*SIZES)))])


def gemm(s: Sketch) -> None:
    fit = [n for n, v in s.known.items() if v.array.dtype == np.float32 and v.array.ndim == 2]
    if fit:
        x = s.choose(*fit)
        a, b = s.integer(0, 1), s.integer(0, 1)
        inner, n = s.known[x].array.shape[1 - a], s.choose(*SIZES)
        s.node("Gemm", [x, s.input((n, inner) if b else (inner, n)), s.input((n,))], transA=a, transB=b)


def conv(s: Sketch) -> None:
    fit = [n for n, v in s.known.items() if v.array.dtype == np.float32 and v.array.ndim in (3, 4)]
    if fit:
        x = s.choose(*fit)
        channels, rank = s.known[x].array.shape[1], s.known[x].array.ndim - 2
        group = channels if s.integer(0, 3) == 0 else 1
        out = group * s.choose(1, 2) if group > 1 else s.choose(*SIZES[:9])
        kernel = [s.integer(1, 3) for _ in range(rank)]
        weight = s.rng.standard_normal((out, channels // group, *kernel)).astype(np.float32)
        s.node("Conv", [x, s.weight(weight / np.float32(np.sqrt(weight[0].size)))], group=group,
               pads=[s.integer(0, 2) for _ in range(2 * rank)], strides=[s.integer(1, 2) for _ in range(rank)])


def pool(s: Sketch) -> None:
    fit = [n for n, v in s.known.items() if v.array.dtype == np.float32 and v.array.ndim in (3, 4)]
    if fit:
        x = s.choose(*fit)
        rank = s.known[x].array.ndim - 2
        op = s.choose("MaxPool", "AveragePool")
        s.node(op, [x], kernel_shape=[s.integer(1, 3) for _ in range(rank)], strides=[s.integer(1, 2)] * rank,
               exact=op == "MaxPool")


# ---- what only the host can run --------------------------------------------------------------------------------------


def double(s: Sketch) -> None:
    """A function in float64."""
    x = s.pick()
    if x:
        wide = s.node("Cast", [x], to=TensorProto.DOUBLE, exact=True)
        done = wide and s.node(s.choose("Sin", "Sigmoid", "Neg"), wide)
        if done:
            s.node("Cast", done, to=TensorProto.FLOAT)


def selected(s: Sketch) -> None:
    """The elements at run-time places, of which nobody knows the number before, summed up."""
    x = s.pick("f", 1, exact=True)
    if x:
        places = s.node("NonZero", [x])
        turned = places and s.node("Transpose", places)
        found = turned and s.node("GatherND", [x, *turned])
        if found:
            s.node("ReduceSum", found, keepdims=1)


def branch(s: Sketch) -> None:
    """An If whose condition comes from the data."""
    x = s.pick()
    if x:
        low = s.node("ReduceMin", [x, s.weight(np.arange(s.known[x].array.ndim))], keepdims=0)
        where = low and s.known[low[0]].exact and s.node("Less", [*low, s.weight(np.float32(0))])
        if where:
            dtype, shape = TensorProto.FLOAT, s.known[x].array.shape
            graphs = [helper.make_graph([helper.make_node(op, [x], [f"{op}_{len(s.nodes)}"])], op, [], [
                helper.make_tensor_value_info(f"{op}_{len(s.nodes)}", dtype, shape)]) for op in ("Neg", "Tanh")]
            array = s.known[x].array
            result = -array if s.known[where[0]].array else np.tanh(array)
            name = f"v{len(s.nodes)}_0"
            s.nodes.append(helper.make_node("If", where, [name], name=f"If_{len(s.nodes)}", then_branch=graphs[0],
                                            else_branch=graphs[1]))
            s.known[name] = Known(result.astype(np.float32), False)


DEVICE = (unary, unary, step, positive, binary, binary, compare, logic, cast, reshape, transpose, slice_, concat, split,
          pad, tile, gather, reduce, arg_reduce, top_k, running_sum, normalise, matmul, gemm, conv, pool)
HOST = (double, selected, branch)


@st.composite
def models(draw: Draw, least: int = 1, most: int = 12) -> tuple[onnx.ModelProto, Feeds]:
    """A model of about `least` to `most` operators with one or more outputs, and numbers for its inputs.

    Each operator follows from one drawn number and what is there already, so that a failing model shrinks by whole
    operators.
    """
    seeds = draw(st.lists(st.integers(0, 2**32 - 1), min_size=least + 1, max_size=most + 1))
    s = Sketch(np.random.default_rng(seeds[0]))
    for _ in range(s.integer(1, 2)):
        s.input(tuple(s.choose(*SIZES[:9]) for _ in range(s.integer(1, 4))))
    for seed in seeds[1:]:
        s.rng = np.random.default_rng(seed)
        s.choose(*DEVICE, *HOST)(s)
    read = {i for n in s.nodes for i in n.input}
    made = [o for n in s.nodes for o in n.output]
    outputs = [o for o in made if o not in read] or list(s.inputs)[:1]
    return _model(s, outputs), s.inputs


def _model(s: Sketch, outputs: list[str]) -> onnx.ModelProto:
    nodes = list(s.nodes)
    if not nodes:
        nodes = [helper.make_node("Identity", [outputs[0]], ["same"], name="Identity")]
        s.known["same"], outputs = s.known[outputs[0]], ["same"]
    info = {n: helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in {**s.inputs, **{o: s.known[o].array for o in outputs}}.items()}
    used = {i for n in nodes for i in n.input}
    graph = helper.make_graph(nodes, "random", [info[n] for n in s.inputs], [info[o] for o in outputs],
                              [numpy_helper.from_array(a, n) for n, a in s.weights.items() if n in used])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
