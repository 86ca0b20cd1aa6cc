"""Seeded random graphs: chains of operators that move elements about, and small convolutional networks."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.compiler.evaluate import make
from tests.compiler.random_operators import Model, Random, broadcastable, floats, node, one_of, shape

MOST = 20000  # elements


class Chain:
    """A chain of operators; each method adds one to the current value, or leaves it when it does not apply."""

    def __init__(self, r: Random) -> None:
        self.r = r
        self.full = shape(r, 1, 5)
        self.inputs: dict[str, list[int]] = {"x": self.full}
        self.weights: dict[str, np.ndarray] = {}
        self.nodes: list[Any] = []
        self.current = "x"

    def add(self, op: str, full: list[int], *more: Any, **attrs: Any) -> None:
        out = f"v{len(self.nodes)}"
        names = [self.current]
        for k, value in enumerate(more):
            if isinstance(value, str):
                names.append(value)
            else:
                self.weights[f"{out}.{k}"] = np.asarray(value)
                names.append(f"{out}.{k}")
        self.nodes.append(node(op, names, [out], **attrs))
        self.current, self.full = out, [int(n) for n in full]

    def axis(self) -> int:
        return int(self.r.integers(len(self.full)))

    def reshape(self) -> None:
        left, out = int(np.prod(self.full)), [1] * int(self.r.integers(1, 5))
        for prime in (2, 3, 5, 7, 11, 13):
            while left % prime == 0:
                left //= prime
                out[int(self.r.integers(len(out)))] *= prime
        out[0] *= left
        self.add("Reshape", out, out)

    def transpose(self) -> None:
        perm = [int(a) for a in self.r.permutation(len(self.full))]
        self.add("Transpose", [self.full[a] for a in perm], perm=perm)

    def slice(self) -> None:
        axis = self.axis()
        n, step = self.full[axis], int(one_of(self.r, 1, 1, 2, 3, -1, -2))
        low = int(self.r.integers(n))
        high = int(self.r.integers(low + 1, n + 1))
        begin, end = (low, high) if step > 0 else (high - 1, low - 1 if low else -n - 1)
        size = len(range(low, high, step) if step > 0 else range(high - 1, low - 1, step))
        full = [size if a == axis else m for a, m in enumerate(self.full)]
        self.add("Slice", full, [begin], [end], [axis], [step])

    def concat(self) -> None:
        axis, kind = self.axis(), one_of(self.r, "constant", "input", "self")
        other = list(self.full)
        name: Any = self.current
        if kind != "self":
            other[axis] = int(self.r.integers(1, 40))
        if kind == "constant":
            name = floats(self.r, *other)
        elif kind == "input":
            name = f"i{len(self.nodes)}"
            self.inputs[name] = other
        full = list(self.full)
        full[axis] += other[axis]
        self.add("Concat", full, name, axis=axis - len(full))

    def pad(self) -> None:
        mode = one_of(self.r, "constant", "reflect", "edge")
        pads = [int(self.r.integers(-1, 3)) for _ in range(2 * len(self.full))]
        ends = list(zip(self.full, pads, pads[len(self.full) :], strict=False))
        if any(n + min(a, 0) + min(b, 0) < 1 for n, a, b in ends):
            return
        if mode == "reflect" and any(max(a, b) >= n + min(a, 0) + min(b, 0) for n, a, b in ends):
            mode = "edge"
        if mode != "constant":
            pads = [abs(p) if mode == "edge" else max(p, 0) for p in pads]
        full = [n + a + b for n, a, b in zip(self.full, pads, pads[len(self.full) :], strict=False)]
        self.add("Pad", full, pads, *([np.float32(1.5)] if mode == "constant" else []), mode=mode)

    def expand(self) -> None:
        full = [int(one_of(self.r, 1, 2, 5, 33)) if n == 1 else n for n in self.full]
        if np.prod(full) < MOST:
            self.add("Expand", full, full)

    def split(self) -> None:
        axis = self.axis()
        if self.full[axis] < 2:
            return
        first = int(self.r.integers(1, self.full[axis]))
        full = [first if a == axis else n for a, n in enumerate(self.full)]
        self.add("Split", full, [first, self.full[axis] - first], axis=axis)
        self.nodes[-1].output.append(f"{self.current}.rest")

    def gather(self) -> None:
        axis = self.axis()
        index = self.r.integers(-self.full[axis], self.full[axis], size=one_of(self.r, (), (2,), (3,), (2, 2)))
        full = [*self.full[:axis], *np.shape(index), *self.full[axis + 1 :]]
        self.add("Gather", full, np.asarray(index), axis=axis)

    def add_other(self) -> None:
        size = broadcastable(self.r, self.full)
        name = f"i{len(self.nodes)}"
        if self.r.random() < 0.5:
            self.inputs[name] = size
            self.add("Add", self.full, name)
        else:
            self.add("Add", self.full, floats(self.r, *size))

    def relu(self) -> None:
        self.add(one_of(self.r, "Relu", "Tanh"), self.full)

    def softmax(self) -> None:
        self.add("Softmax", self.full, axis=self.axis())

    def matmul(self) -> None:
        if len(self.full) > 1:
            width = int(one_of(self.r, 1, 5, 33, 130))
            self.add("MatMul", [*self.full[:-1], width], floats(self.r, self.full[-1], width))

    def reduce(self) -> None:
        axis, keep = self.axis(), int(self.r.integers(2))
        full = [*self.full[:axis], *([1] if keep else []), *self.full[axis + 1 :]]
        self.add(one_of(self.r, "ReduceSum", "ReduceMax", "ReduceMean"), full, [axis], keepdims=keep)


STEPS = ("reshape", "transpose", "slice", "concat", "pad", "expand", "split", "gather", "add_other", "relu", "softmax",
         "matmul", "reduce")


def chain(r: Random) -> Model:
    """One to four operators, most of which only move elements."""
    made = Chain(r)
    for _ in range(int(r.integers(1, 5))):
        if made.full and len(made.full) < 6:
            getattr(made, one_of(r, *STEPS))()
    return make(made.nodes, made.inputs, [made.current], made.weights) if made.nodes else None


class Network:
    """A convolutional network; every method adds a layer to a value (name, channels, height, width)."""

    def __init__(self, r: Random) -> None:
        self.r = r
        self.batch = int(one_of(r, 1, 1, 2, 3))
        size = int(one_of(r, 1, 3, 4, 16, 33)), int(one_of(r, 8, 11, 16, 20)), int(one_of(r, 8, 9, 13, 20))
        self.values = [("x", *size)]
        self.input = [self.batch, *self.values[0][1:]]
        self.weights: dict[str, np.ndarray] = {}
        self.nodes: list[Any] = []

    def pick(self) -> tuple[str, int, int, int]:
        return self.values[-1] if self.r.random() < 0.75 else self.values[int(self.r.integers(len(self.values)))]

    def weight(self, values: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(values)
        return name

    def add(self, op: str, inputs: list[str], c: int, h: int, w: int, visible: bool = True, **attrs: Any) -> str:
        out = f"t{len(self.nodes)}"
        self.nodes.append(node(op, inputs, [out], **attrs))
        if visible:
            self.values.append((out, c, h, w))
        return out

    def conv(self) -> None:
        name, c, h, w = self.pick()
        k, s = int(one_of(self.r, 1, 1, 3, 3, 5)), int(one_of(self.r, 1, 1, 1, 2))
        out = int(one_of(self.r, 3, 8, 17, 48, 130))
        p = k // 2 if self.r.random() < 0.8 else 0
        if h + 2 * p < k or w + 2 * p < k:
            return
        kernel = self.weight(floats(self.r, out, c, k, k) / np.float32((c * k * k) ** 0.5))
        full = out, (h + 2 * p - k) // s + 1, (w + 2 * p - k) // s + 1
        made = self.add("Conv", [name, kernel, self.weight(floats(self.r, out))], *full, strides=[s, s], pads=[p] * 4)
        if self.r.random() < 0.5:
            self.add("Relu", [made], *full)

    def depthwise(self) -> None:
        name, c, h, w = self.pick()
        self.add("Conv", [name, self.weight(floats(self.r, c, 1, 3, 3) / 3)], c, h, w, pads=[1] * 4, group=c)

    def transposed(self) -> None:
        name, c, h, w = self.pick()
        if h < 24 and w < 24:
            kernel = self.weight(floats(self.r, c, 5, 2, 2) / np.float32(c**0.5))
            self.add("ConvTranspose", [name, kernel], 5, 2 * h, 2 * w, strides=[2, 2])

    def activation(self) -> None:
        name, *full = self.pick()
        self.add(one_of(self.r, "Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid"), [name], *full)

    def clip(self) -> None:
        name, *full = self.pick()
        self.add("Clip", [name, self.weight(np.float32(0)), self.weight(np.float32(6))], *full)

    def pool(self) -> None:
        name, c, h, w = self.pick()
        k, p, s = int(one_of(self.r, 2, 3)), int(one_of(self.r, 0, 1)), int(one_of(self.r, 1, 2))
        if h + 2 * p >= k and w + 2 * p >= k:
            full = c, (h + 2 * p - k) // s + 1, (w + 2 * p - k) // s + 1
            op = one_of(self.r, "MaxPool", "AveragePool")
            self.add(op, [name], *full, kernel_shape=[k, k], strides=[s, s], pads=[p] * 4)

    def residual(self) -> None:
        name, *full = self.pick()
        same = [v[0] for v in self.values if list(v[1:]) == full]
        made = self.add("Add", [name, one_of(self.r, *same)], *full)
        if self.r.random() < 0.5:
            self.add("Relu", [made], *full)

    def concat(self) -> None:
        name, c, h, w = self.pick()
        same = [v for v in self.values if v[2:] == (h, w)]
        parts = [*(one_of(self.r, *same) for _ in range(int(self.r.integers(1, 3)))), (name, c, h, w)]
        if sum(p[1] for p in parts) < 400:
            self.add("Concat", [p[0] for p in parts], sum(p[1] for p in parts), h, w, axis=1)

    def norm(self) -> None:
        name, c, h, w = self.pick()
        parts = [self.weight(floats(self.r, c)) for _ in range(3)]
        spread = self.weight(np.abs(floats(self.r, c)) + np.float32(0.5))
        self.add("BatchNormalization", [name, *parts, spread], c, h, w)

    def gate(self) -> None:
        name, c, h, w = self.pick()
        mean = self.add("GlobalAveragePool", [name], c, 1, 1, visible=False)
        kernel = self.weight(floats(self.r, c, c, 1, 1) / np.float32(c**0.5))
        mixed = self.add("Conv", [mean, kernel], c, 1, 1, visible=False)
        self.add("Mul", [name, self.add("Sigmoid", [mixed], c, 1, 1, visible=False)], c, h, w)

    def larger(self) -> None:
        name, c, h, w = self.pick()
        if h < 24 and w < 24:
            scales = self.weight(np.array([1, 1, 2, 2], np.float32))
            self.add("Resize", [name, "", scales], c, 2 * h, 2 * w, mode=one_of(self.r, "nearest", "linear"))

    def split(self) -> None:
        name, c, h, w = self.pick()
        if c > 1:
            self.add("Split", [name, self.weight([c // 2, c - c // 2])], c // 2, h, w, axis=1)
            self.nodes[-1].output.append(f"{self.nodes[-1].output[0]}.rest")
            self.values.append((self.nodes[-1].output[1], c - c // 2, h, w))

    def shuffle(self) -> None:
        name, c, h, w = self.pick()
        if c % 2 == 0:
            apart = self.add("Reshape", [name, self.weight([self.batch, 2, c // 2, h, w])], c, h, w, visible=False)
            turned = self.add("Transpose", [apart], c, h, w, visible=False, perm=[0, 2, 1, 3, 4])
            self.add("Reshape", [turned, self.weight([self.batch, c, h, w])], c, h, w)

    def lrn(self) -> None:
        name, *full = self.pick()
        self.add("LRN", [name], *full, size=5)

    def pad(self) -> None:
        name, c, h, w = self.pick()
        self.add("Pad", [name, self.weight([0, 0, 1, 0, 0, 0, 1, 2])], c, h + 2, w + 2)

    def crop(self) -> None:
        name, c, h, w = self.pick()
        if h > 2:
            self.add("Slice", [name, self.weight([1]), self.weight([h]), self.weight([2])], c, h - 1, w)

    def head(self) -> None:
        """Global average or the whole image to ten classes."""
        name, c, h, w = self.values[-1]
        width = c
        if self.r.random() < 0.5:
            name = self.add("GlobalAveragePool", [name], c, 1, 1, visible=False)
        else:
            width = c * h * w
        flat = self.add("Flatten", [name], c, 1, 1, visible=False)
        dense = self.add("Gemm", [flat, self.weight(floats(self.r, width, 10) / np.float32(width**0.5))], 1, 1, 1)
        self.add("Softmax", [dense], 1, 1, 1)


LAYERS = ("conv", "conv", "conv", "depthwise", "transposed", "activation", "clip", "pool", "residual", "concat",
          "concat", "norm", "gate", "larger", "split", "shuffle", "lrn", "pad", "crop")


def network(r: Random) -> Model:
    """Three to twelve layers; every value that nothing reads is an output."""
    made = Network(r)
    for _ in range(int(r.integers(3, 12))):
        getattr(made, one_of(r, *LAYERS))()
    if r.random() < 0.5 and len(made.values) > 1:
        made.head()
    used = {name for n in made.nodes for name in n.input}
    outputs = [v[0] for v in made.values[1:] if v[0] not in used]
    return make(made.nodes, {"x": made.input}, outputs, made.weights) if outputs else None


FAMILIES: dict[str, Callable[[Random], Model]] = {f.__name__: f for f in (chain, network)}
