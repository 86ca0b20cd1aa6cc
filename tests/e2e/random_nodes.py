"""The operators of random models: each function adds a node to a sketch, or nothing when no value fits."""
from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from tests.e2e.random_sketch import SIZES, Known, Sketch

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
